"""Kubernetes' own release binaries, where their site answers: seconds instead of minutes."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.lab.progress import Progress

SITE = "https://dl.k8s.io/release"


@dataclass(frozen=True, slots=True)
class Release:
    """A version of Kubernetes that the tests are run with."""

    version: str
    etcd: tuple[int, int]
    """The oldest etcd that it was run with."""


RELEASES = {
    "oldest": Release("v1.20.2", (3, 4)),
    "default": Release("v1.36.3", (3, 4)),
    "newest": Release("v1.36.3", (3, 4)),
}
"""What ADMITLB_KUBERNETES may name. Debian 12 has etcd 3.4.23: late releases recommend 3.5 and run on it."""
CHOICE = "ADMITLB_KUBERNETES"

_ANSWER_SECONDS = 2.0
_READ_SECONDS = 60.0
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class NoRelease(Exception):
    """The release site does not answer, or what it sent is not what its checksum says."""


def chosen() -> Release | None:
    """Return the release that ADMITLB_KUBERNETES names, None where it is not set. Raises NoRelease."""
    word = os.environ.get(CHOICE)
    if not word:
        return None
    if word not in RELEASES:
        raise NoRelease(f"{CHOICE}={word}: must be one of {', '.join(RELEASES)}")
    return RELEASES[word]


def download(names: tuple[str, ...], into: Path, progress: Progress, *, version: str) -> None:
    """Put the programs `names` of `version` into the folder `into`, each checked against its published SHA-256.

    Raises NoRelease, within 2 s where the site cannot be reached.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise NoRelease(f"no release is known for {machine}")
    base = f"{SITE}/{version}/bin/linux/{_ARCHITECTURES[machine]}"
    try:
        # All checksums first: the first of them tells whether the site is there at all.
        sums = {name: _read(f"{base}/{name}.sha256").decode().split()[0] for name in names}
        for name in names:
            progress(f"downloading {name} {version}")
            _fetch(f"{base}/{name}", into / name, sums[name])
    except (OSError, IndexError, UnicodeDecodeError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise NoRelease(f"{base}: {reason}") from error


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS) as answer:
        return bytes(answer.read(1024))


def _fetch(url: str, target: Path, sha256: str) -> None:
    with urllib.request.urlopen(url, timeout=_READ_SECONDS) as answer, target.open("wb") as file:
        shutil.copyfileobj(answer, file)
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        target.unlink()
        raise NoRelease(f"{url}: SHA-256 is {found}, should be {sha256}")
    target.chmod(0o755)
