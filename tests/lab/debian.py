"""Debian's archive for someone who changes nothing on the machine: private lists and cache, unpacked packages."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from tests.lab.command_log import CommandLog
from tests.lab.system_programs import which

SUITE = "bookworm"
"""Debian 12: the last with the whole tree of Kubernetes as a source package, and the Go that builds it."""

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class NoDebianArchive(Exception):
    """This machine's apt names no Debian archive to take packages from."""


@dataclass(frozen=True, slots=True)
class DebianArchive:
    """One suite of the Debian archive this machine's own apt uses, read through apt with its signatures checked.

    Needs no root: nothing is installed, the machine's lists and sources stay as they are.
    """

    directory: Path
    log: CommandLog
    suite: str = SUITE

    def open(self) -> None:
        """Fetch the lists of packages and of source packages. Raises NoDebianArchive, CommandFailed."""
        mirror = archive_mirror()
        signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
        for folder in ("lists/partial", "cache/archives/partial"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        lines = [f"{kind} {signed}{mirror} {self.suite} main\n" for kind in ("deb", "deb-src")]
        (self.directory / "sources.list").write_text("".join(lines))
        self._apt("update")

    def source(self, package: str) -> Path:
        """Download a source package; return the folder its files are in."""
        folder = self.directory / "source" / package
        folder.mkdir(parents=True, exist_ok=True)
        self._apt("source", "--download-only", package, cwd=folder)
        return folder

    def unpack(self, packages: list[str], root: Path) -> None:
        """Download binary packages and unpack their files below `root`; no script of theirs runs."""
        folder = self.directory / "packages"
        folder.mkdir(parents=True, exist_ok=True)
        self._apt("download", *packages, cwd=folder)
        for package in packages:
            for archive in folder.glob(f"{package}_*.deb"):
                self.log.run("dpkg-deb", "--extract", archive, root)

    def unpack_whole(self, packages: list[str], root: Path) -> None:
        """Unpack packages with all that they depend on, C library included, into a folder to `chroot` to."""
        (self.directory / "status").touch()
        nothing_installed = {"Dir::State::status": self.directory / "status", "Debug::NoLocking": "1"}
        options = [f"-o{key}={value}" for key, value in nothing_installed.items()]
        self._apt(*options, "--yes", "--download-only", "--no-install-recommends", "install", *packages)
        root.mkdir(parents=True, exist_ok=True)
        for archive in sorted((self.directory / "cache" / "archives").glob("*.deb")):
            self.log.run("dpkg-deb", "--extract", archive, root)
        for name in ("bin", "sbin", "lib", "lib64"):
            # From Debian 13 on packages have their files below usr/ only, and rely on these links.
            if not (root / name).exists() and (root / "usr" / name).exists():
                (root / name).symlink_to(f"usr/{name}")

    def _apt(self, *words: str, cwd: Path | None = None) -> None:
        options = {
            "Dir::Etc::SourceList": self.directory / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State::Lists": self.directory / "lists",
            "Dir::Cache": self.directory / "cache",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            # The sandbox user of apt run by root could not write into our folders.
            "APT::Sandbox::User": "root",
            "APT::Default-Release": self.suite,
        }
        settings = [f"-o{key}={value}" for key, value in options.items()]
        self.log.run("apt-get", "-q", *settings, *words, cwd=cwd or self.directory)


def archive_mirror() -> str:
    """Return the URI of the Debian archive in the machine's own apt configuration. Raises NoDebianArchive."""
    if which("apt-get") is None:
        raise NoDebianArchive("there is no apt-get on this machine")
    answer = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    for uri in answer.stdout.split():
        if urlparse(uri).path.rstrip("/").endswith("/debian"):
            return uri
    raise NoDebianArchive("apt's sources name no Debian archive")
