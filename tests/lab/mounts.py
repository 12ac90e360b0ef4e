"""What a process of the lab sees of the file system, changed without touching the machine's.

Only callable in a private mount namespace (`tests.lab.enter` makes one); all of it ends with that namespace.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import tempfile
import threading
from pathlib import Path

from tests.lab.namespaces import MS_BIND, MS_REC, mount

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_MOVE = 8192

# mount_setattr(2), of Linux 5.12, has the same number on every architecture.
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_ATTR_RDONLY = 1

_covering = threading.Lock()
"""Held while a folder is covered by a copy: of two made at once, by Pods that start, one hides the other."""

_libc = ctypes.CDLL(None, use_errno=True)


def in_new_namespace() -> None:
    """Give the calling process mounts, and a host name, that nobody else sees change."""
    _checked(_libc.unshare(CLONE_NEWNS | CLONE_NEWUTS), "unshare")


def bind(source: Path, target: Path) -> None:
    """Show `source`, with all that is mounted in it, at `target`, which must exist."""
    mount(str(source), str(target), flags=MS_BIND | MS_REC)


def read_only(path: Path) -> None:
    """Make the one mount at `path` read-only for this mount namespace."""
    mount("none", str(path), flags=MS_REMOUNT | MS_BIND | MS_RDONLY)


def read_only_below(path: Path) -> None:
    """Make the mount at `path` and all below it read-only; before Linux 5.12, only the one at `path`."""
    if not _set_attributes(path, flags=_AT_RECURSIVE, set_bits=_ATTR_RDONLY):
        read_only(path)


def writable(path: Path) -> None:
    """Make the one mount at `path` writable again after `read_only_below` of one above it."""
    _set_attributes(path, flags=0, clear_bits=_ATTR_RDONLY)


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
    with _covering:
        if path.exists():
            return
        parent = next(candidate for candidate in path.parents if candidate.is_dir())
        if not str(path).startswith("/run/"):
            writable_copy(parent)
        (path.parent if file else path).mkdir(parents=True, exist_ok=True)
        if file:
            path.touch()


def _set_attributes(path: Path, *, flags: int, set_bits: int = 0, clear_bits: int = 0) -> bool:
    """Change attributes of mounts; tell whether this kernel knows how to."""
    attributes = struct.pack("4Q", set_bits, clear_bits, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        str(path).encode(),
        ctypes.c_uint(flags),
        attributes,
        ctypes.c_size_t(len(attributes)),
    )
    if result != 0 and ctypes.get_errno() == errno.ENOSYS:
        return False
    _checked(result, f"mount_setattr {path}")
    return True


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
