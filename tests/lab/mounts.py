"""What a process of the lab sees of the file system, changed without touching the machine's.

Only callable in a private mount namespace (`tests.lab.enter` makes one); all of it ends with that namespace.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.lab.namespaces import MS_BIND, MS_REC, mount

MS_MOVE = 8192
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8


def writable_copy(directory: Path, *, without: frozenset[str] = frozenset()) -> None:
    """Cover `directory` with a tmpfs that shows the same entries, except those named in `without`.

    New entries can then be made in it (a mount point, a lock file) that the machine never sees. Existing entries
    are bind mounts: readable and writable as before, but not removable.
    """
    with tempfile.TemporaryDirectory(prefix="admitlb-mount-") as staging_name:
        staging = Path(staging_name)
        mount("tmpfs", staging_name, "tmpfs", data="mode=0755")
        for entry in sorted(directory.iterdir()):
            # The machine's own staging of another lab may come and go under /tmp meanwhile.
            if entry.name in without or entry == staging or not (entry.exists() or entry.is_symlink()):
                continue
            shown = staging / entry.name
            if entry.is_symlink():
                shown.symlink_to(entry.readlink())
                continue
            if entry.is_dir():
                shown.mkdir()
            else:
                shown.touch()
            # Recursive, because a user namespace may not uncover what another mount covers.
            mount(str(entry), str(shown), flags=MS_BIND | MS_REC)
        mount(staging_name, str(directory), flags=MS_MOVE)


def ensure_mount_point(path: Path, *, file: bool = False) -> None:
    """Make sure something can be mounted on `path`, covering its nearest existing parent where need be."""
    if path.exists():
        return
    parent = next(candidate for candidate in path.parents if candidate.is_dir())
    if not str(path).startswith("/run/"):
        writable_copy(parent)
    (path.parent if file else path).mkdir(parents=True, exist_ok=True)
    if file:
        path.touch()
