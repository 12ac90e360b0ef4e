"""The image, built as anybody could without a registry: by Buildah, on a base that debootstrap makes of packages.

Everything is kept in one folder of this user's cache; the machine's own images and storage are left alone. It needs
root, because debootstrap does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab.binaries import cache_folder
from tests.lab.command_log import CommandLog
from tests.lab.container import PROJECT
from tests.lab.debian import SUITE, archive_mirror
from tests.lab.images import Image
from tests.lab.progress import Progress
from tests.lab.system_programs import MissingPrograms, install_missing

NEEDED = {"buildah": "buildah", "debootstrap": "debootstrap"}
NAME = "localhost/admitlb"
BASE = "localhost/admitlb-base"
# Any fixed time will do: what is built twice of the same sources is the same.
TIMESTAMP = "1735689600"

_SECONDS = 540
_PIP_SETTINGS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds in `folder`; `log` gets what the tools print."""

    folder: Path
    log: CommandLog

    @classmethod
    def in_cache(cls) -> Builder:
        """Return the builder whose folder is kept from one run to the next."""
        folder = cache_folder() / "image"
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, CommandLog(folder / "build.log"))

    def base(self, progress: Progress) -> None:
        """Have the base image there: a Debian with Python, made once."""
        if os.geteuid() != 0:
            raise MissingPrograms("debootstrap needs root; run this as root")
        install_missing(progress, self.log, also=NEEDED)
        if self._buildah("images", "--quiet", BASE, check=False).stdout.strip():
            return
        progress("making a Debian with Python as the base (a minute, once)")
        root = self.folder / "base"
        shutil.rmtree(root, ignore_errors=True)
        packages = "--include=python3,python3-venv"
        self.log.run("debootstrap", "--variant=minbase", packages, SUITE, root, archive_mirror())
        container = self._buildah("from", "scratch").stdout.strip()
        self.log.run("cp", "--archive", f"{root}/.", self._buildah("mount", container).stdout.strip())
        self._buildah("commit", "--rm", container, BASE)
        shutil.rmtree(root)

    def sources(self) -> Path:
        """Copy what the image is built from, as .dockerignore lists it: nobody is to change it between two builds."""
        copy = self.folder / "sources"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        listed = (PROJECT / ".dockerignore").read_text().splitlines()
        for name in ("Dockerfile", ".dockerignore", *(line[1:] for line in listed if line.startswith("!"))):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            if (PROJECT / name).is_dir():
                shutil.copytree(PROJECT / name, copy / name)
            else:
                shutil.copy2(PROJECT / name, copy / name)
        return copy

    def build(self, sources: Path, tag: str, progress: Progress) -> Image:
        """Build the image, without any earlier layer, and return it unpacked."""
        progress(f"building {NAME}:{tag} (log: {self.log.path})")
        self.log.run(
            *self._command,
            "build",
            "--isolation=chroot",
            "--network=host",
            "--no-cache",
            f"--timestamp={TIMESTAMP}",
            f"--build-arg=BASE_IMAGE={BASE}",
            *_package_index(),
            f"--tag={NAME}:{tag}",
            sources,
            timeout_seconds=_SECONDS,
        )
        container = self._buildah("from", f"{NAME}:{tag}").stdout.strip()
        return self._unpacked(tag, Path(self._buildah("mount", container).stdout.strip()))

    def _unpacked(self, tag: str, root: Path) -> Image:
        config = json.loads(self._buildah("inspect", "--type=image", f"{NAME}:{tag}").stdout)["OCIv1"]["config"]
        user, group = (int(number) for number in config["User"].split(":"))
        return Image(
            root=root,
            environment=dict(variable.split("=", 1) for variable in config["Env"]),
            entrypoint=tuple(config["Entrypoint"]),
            user=(user, group),
        )

    @property
    def _command(self) -> list[str]:
        # Of all storage drivers, `vfs` alone needs nothing of the machine's kernel and gives plain folders.
        return ["buildah", "--storage-driver=vfs", f"--root={self.folder}/store", f"--runroot={self.folder}/run"]

    def _buildah(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._command, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=check
        )

    def forget_builds(self) -> None:
        """Remove every container and image but the base."""
        self._buildah("rm", "--all", check=False)
        images = json.loads(self._buildah("images", "--all", "--json").stdout)
        for image in images:
            if not any(name.startswith(f"{BASE}:") for name in image.get("names") or ()):
                self._buildah("rmi", "--force", image["id"], check=False)


def _package_index() -> list[str]:
    """Return the arguments that make pip, inside the build, use the package index that this machine's pip uses."""
    arguments = []
    for name in _PIP_SETTINGS:
        # What is a folder of this machine cannot be seen from inside.
        value = " ".join(url for url in os.environ.get(name, "").split() if not url.startswith("file:"))
        if value:
            arguments.append(f"--build-arg={name}={value}")
    if certificates := os.environ.get("PIP_CERT"):
        arguments += [f"--build-arg=PIP_CERT={certificates}", f"--volume={certificates}:{certificates}:ro"]
    return arguments
