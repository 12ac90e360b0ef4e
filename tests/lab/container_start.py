"""`python -m tests.lab.container_start START COMMAND...`: become a container's program, within its limits.

START is a `Start` as JSON. Called in the container's network namespace, with the container's environment. What goes
wrong is said on standard error, and the exit code is 128, as a container runtime does it.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from tests.lab import privileges
from tests.lab.mounts import MS_MOVE, MS_RDONLY, bind, in_new_namespace, read_only, read_only_below, writable
from tests.lab.namespaces import mount
from tests.lab.seccomp import SeccompFilter

CANNOT_START = 128
_KEEP = Path("/run/admitlb-keep")
_ROOT = Path("/run/admitlb-root")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_SHARED_MEMORY = Path("/dev/shm")
_NETWORK_FILES = ("/etc/hosts", "/etc/resolv.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a container sees the world. Paths are strings, because all of it travels as JSON.

    `mounts` are (source, target, writable), outer targets first. `shown` are folders of the machine that no volume
    may hide and everybody may reach; `covered` are the folders around them that not everybody may enter, of which the
    container sees nothing else. With `root`, the folders of an image's layers, it sees these and not the machine.
    `seccomp` is the file of a profile.
    """

    hostname: str
    mounts: list[tuple[str, str, bool]]
    shown: list[str]
    covered: list[str]
    root: str | None
    read_only_root: bool
    user: int
    group: int
    groups: list[int]
    capabilities: list[str] | None
    ambient: list[str]
    no_new_privileges: bool
    seccomp: str | None = None

    def command(self, words: Sequence[str]) -> list[str]:
        """Return the command line that starts `words` so."""
        own = [sys.executable, "-E", "-s", "-m", "tests.lab.container_start"]
        return [*own, json.dumps(asdict(self)), *words]


def main(arguments: Sequence[str]) -> NoReturn:
    """Do what the first argument says and become the rest."""
    fields: dict[str, Any] = json.loads(arguments[0])
    start = Start(**fields)
    try:
        # Before the machine's files are out of sight.
        profile = SeccompFilter(Path(start.seccomp), start.capabilities or ()) if start.seccomp else None
        in_new_namespace()
        _set_hostname(start.hostname)
        if start.root is None:
            _see_the_machine(start)
        else:
            _see_the_image(start, start.root)
        privileges.give_up(
            user=start.user,
            group=start.group,
            groups=start.groups,
            capabilities=start.capabilities,
            ambient=start.ambient,
            no_new_privileges=start.no_new_privileges,
        )
        privileges.die_with_parent()
        os.chdir("/")
        if profile is not None:
            profile.load()
        os.execvp(arguments[1], list(arguments[1:]))
    except OSError as error:
        print(f"cannot start {arguments[1]}: {error}", file=sys.stderr)
        sys.exit(CANNOT_START)


def _set_hostname(name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.sethostname(name.encode(), len(name.encode())) != 0:
        raise OSError(ctypes.get_errno(), "sethostname")


def _see_the_machine(start: Start) -> None:
    # The mount namespace was copied from one that belongs to another network namespace, and so was its /sys.
    mount("sysfs", "/sys", "sysfs")
    if _SHARED_MEMORY.is_dir():
        mount("tmpfs", str(_SHARED_MEMORY), "tmpfs", data="mode=1777,size=64m")
    for folder in start.covered:
        with _still_shown(start.shown, below=Path(folder)):
            mount("tmpfs", folder, "tmpfs", data="mode=0755")
    for _, target, _ in start.mounts:
        with _still_shown(start.shown, below=Path(target)):
            _mount_volume(start, target, at=Path(target))
    if start.read_only_root:
        read_only_below(Path("/"))
        for path in (Path("/proc"), _SHARED_MEMORY):
            if path.is_dir():
                writable(path)
        for _, target, is_writable in start.mounts:
            if is_writable:
                writable(Path(target))


@contextmanager
def _still_shown(paths: Sequence[str], *, below: Path) -> Iterator[None]:
    """Let the block hide a folder, and show those of these paths that lie in it there again."""
    hidden = [Path(path) for path in paths if below in (Path(path), *Path(path).parents)]
    kept = [(_KEEP / str(number), path) for number, path in enumerate(hidden)]
    for place, path in kept:
        place.mkdir(parents=True, exist_ok=True)
        bind(path, place)
    yield
    for place, path in kept:
        path.mkdir(parents=True, exist_ok=True)
        bind(place, path)


def _see_the_image(start: Start, layers: str) -> None:
    """Make the image's files the root, with a layer of the container's own above them, as a runtime does."""
    _ROOT.mkdir(exist_ok=True)
    mount("tmpfs", str(_ROOT), "tmpfs")
    upper, work, root = (_ROOT / name for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        folder.mkdir()
    mount("overlay", str(root), "overlay", data=f"lowerdir={layers},upperdir={upper},workdir={work}")
    for name in ("proc", "sys", "dev"):
        (root / name).mkdir(exist_ok=True)
    bind(Path("/proc"), root / "proc")
    mount("sysfs", str(root / "sys"), "sysfs", flags=MS_RDONLY)
    mount("tmpfs", str(root / "dev"), "tmpfs", data="mode=0755")
    for name in _DEVICES:
        (root / "dev" / name).touch()
        bind(Path("/dev") / name, root / "dev" / name)
    (root / "dev/shm").mkdir()
    mount("tmpfs", str(root / "dev/shm"), "tmpfs", data="mode=1777,size=64m")
    (root / "dev/fd").symlink_to("/proc/self/fd")
    for name in _NETWORK_FILES:
        if Path(name).exists():
            (root / name[1:]).touch()
            bind(Path(name), root / name[1:])
    for _, target, _ in start.mounts:
        _mount_volume(start, target, at=root / target[1:])
    if start.read_only_root:
        # Not what is mounted below it: each of those is writable or not by its own right.
        read_only(root)
    os.chdir(root)
    mount(".", "/", flags=MS_MOVE)
    os.chroot(".")


def _mount_volume(start: Start, target: str, *, at: Path) -> None:
    source, is_writable = next((source, right) for source, place, right in start.mounts if place == target)
    if Path(source).is_dir():
        at.mkdir(parents=True, exist_ok=True)
    elif not at.exists():
        at.parent.mkdir(parents=True, exist_ok=True)
        at.touch()
    bind(Path(source), at)
    if not is_writable:
        read_only_below(at)


if __name__ == "__main__":
    main(sys.argv[1:])
