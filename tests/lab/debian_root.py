"""Programs of one Debian suite with all they need, C library included, in a folder of the cache to `chroot` to.

Any machine with apt can so run daemons of another release than its own, and no service of the machine's changes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.binaries import cache_folder
from tests.lab.command_log import CommandFailed, CommandLog
from tests.lab.debian import DebianArchive, NoDebianArchive
from tests.lab.progress import Progress

_MOUNT_POINTS = ("dev", "proc", "run", "var/tmp", "tmp")


class NoDebianRoot(Exception):
    """The packages are not to be had; the message says why."""


@dataclass(frozen=True, slots=True)
class DebianRoot:
    """A folder that holds a root file system. It is shared by all runs: nothing may write into it."""

    path: Path

    def command(self, program: str, *arguments: str, binds: Mapping[Path, str]) -> list[str]:
        """Return the command line that runs a program in the root; `binds` are folders to be seen there.

        It makes a mount namespace of its own and replaces itself by the program, so that its process id stays.
        """
        script = [
            "set -e",
            'root="$1"',
            "shift",
            'mount --rbind /dev "$root/dev"',
            'mount --rbind /proc "$root/proc"',
            'for folder in run var/tmp tmp; do mount -t tmpfs tmpfs "$root/$folder"; done',
        ]
        for source, target in binds.items():
            script.append(f'mkdir -p "$root{target}"; mount --bind "{source}" "$root{target}"')
        script.append('exec chroot "$root" "$@"')
        return ["unshare", "--mount", "sh", "-c", "\n".join(script), "sh", str(self.path), program, *arguments]


def find_root(suite: str, packages: Sequence[str]) -> DebianRoot | None:
    """Return what an earlier `make_root` left, or None."""
    path = _path(suite, packages)
    return DebianRoot(path) if path.is_dir() else None


def make_root(suite: str, packages: Sequence[str], *, groups: Sequence[str], progress: Progress) -> DebianRoot:
    """Return the root of these packages, fetched into the cache where it is not there yet (some 30 MB, once).

    `groups` are the groups that their daemons look up. Raises NoDebianRoot.
    """
    found = find_root(suite, packages)
    if found is not None:
        return found
    progress(f"fetching {', '.join(packages)} of Debian {suite}")
    path = _path(suite, packages)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=path.parent) as work:
            archive = DebianArchive(Path(work) / "debian", CommandLog(cache_folder() / "setup.log"), suite)
            archive.open()
            root = Path(work) / "root"
            archive.unpack_whole(list(packages), root)
            _complete(root, groups)
            root.rename(path)
    except (NoDebianArchive, CommandFailed, OSError) as error:
        raise NoDebianRoot(f"{', '.join(packages)} of Debian {suite}: {error}") from error
    return DebianRoot(path)


def _path(suite: str, packages: Sequence[str]) -> Path:
    return cache_folder() / "roots" / "-".join((suite, *packages))


def _complete(root: Path, groups: Sequence[str]) -> None:
    """Do what the packages' scripts would: users, links, and places to mount upon."""
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    # A plain user's namespaces have one group only, so that all of them are root's.
    (root / "etc" / "group").write_text("".join(f"{name}:x:0:\n" for name in ("root", *groups)))
    (root / "etc" / "nsswitch.conf").write_text("passwd: files\ngroup: files\n")
    for name in _MOUNT_POINTS:
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(root / "var" / "run", ignore_errors=True)
    (root / "var" / "run").symlink_to("../run")
