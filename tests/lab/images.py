"""Container images as the lab knows them: folders of files with an environment and a user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An unpacked image. `entrypoint` runs when the container has no command of its own.

    The files of `layer`, where there is one, come above those of `root`, which may then be shared with others.
    `seccomp` is the file with the profile that its containers get which ask for the runtime's default and give up new
    privileges; without one they run under none.
    """

    root: Path
    environment: Mapping[str, str]
    entrypoint: tuple[str, ...]
    user: tuple[int, int]
    seccomp: Path | None = None
    layer: Path | None = None

    @property
    def layers(self) -> str:
        """What overlayfs takes as `lowerdir`: folders, the uppermost first."""
        return f"{self.layer}:{self.root}" if self.layer else str(self.root)


def name_without_tag(image: str) -> str:
    """Return `registry:5000/admitlb` for `registry:5000/admitlb:1.2@sha256:...`."""
    name = image.split("@", maxsplit=1)[0]
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.split(':', maxsplit=1)[0]}"
