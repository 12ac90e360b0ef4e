"""Network namespaces of the calling thread: make a named one, step into it and back.

A thread (not the whole process) enters a namespace, so sockets opened between entering and leaving belong to
that namespace for ever, whichever thread uses them later: no helper process is needed to speak from a node.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

CLONE_NEWNET = 0x40000000
MS_BIND = 4096
MS_REC = 16384
MNT_DETACH = 2
NAMED = Path("/run/netns")
"""Where `ip netns` keeps its names; inside the lab this is a private tmpfs."""

INSIDE = "ADMITLB_LAB_INSIDE"
"""Set by `python -m tests.lab.enter`; what changes the machine refuses to run without it."""

_libc = ctypes.CDLL(None, use_errno=True)

Result = TypeVar("Result")


class NotInside(RuntimeError):
    """The caller runs in the machine's own namespaces, which the lab must never change."""


def require_inside() -> None:
    """Raise NotInside unless the process was started through `tests.lab.enter`."""
    if os.environ.get(INSIDE) != "1":
        raise NotInside("this needs the lab's own namespaces; start it with `python -m tests.lab.enter -- COMMAND`")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2) with Python's errors. `target` must exist."""
    arguments = [None if value is None else value.encode() for value in (source, target, kind)]
    _checked(_libc.mount(*arguments, ctypes.c_ulong(flags), None if data is None else data.encode()), target)


def unmount(target: str) -> None:
    """Detach what is mounted on `target`, also while it is in use."""
    _checked(_libc.umount2(target.encode(), MNT_DETACH), target)


def create(name: str, prepare: Callable[[], None] = lambda: None) -> Path:
    """Make the network namespace `name`, run `prepare` inside it, and return the path that holds it open."""
    require_inside()
    NAMED.mkdir(exist_ok=True)
    path = NAMED / name
    path.touch(exist_ok=False)

    def make() -> None:
        _checked(_libc.unshare(CLONE_NEWNET), name)
        prepare()
        mount("/proc/thread-self/ns/net", str(path), flags=MS_BIND)

    in_own_thread(make, f"netns-{name}")
    return path


def remove(path: Path) -> None:
    """Drop the name; the namespace itself goes with its last process and socket."""
    unmount(str(path))
    path.unlink()


@contextmanager
def entered(path: Path) -> Iterator[None]:
    """Put the calling thread into the namespace for the length of the block."""
    with Path("/proc/thread-self/ns/net").open("rb") as home, path.open("rb") as there:
        _checked(_libc.setns(there.fileno(), CLONE_NEWNET), str(path))
        try:
            yield
        finally:
            _checked(_libc.setns(home.fileno(), CLONE_NEWNET), "the thread's first namespace")


def in_own_thread(work: Callable[[], Result], name: str) -> Result:
    """Run `work` on a thread of its own and return (or raise) what it does: its namespaces end with it."""
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name=name)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def kill_inside(paths: Collection[Path]) -> int:
    """SIGKILL every process in one of these network namespaces (never the caller); return how many there were."""
    wanted = {identity for path in paths if (identity := _identity(path))}
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        if _identity(entry / "ns/net") in wanted:
            with suppress(ProcessLookupError):
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
    return killed


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what is equal for two paths exactly when they hold one namespace; None where there is none (more)."""
    try:
        status = path.stat()
    except (FileNotFoundError, ProcessLookupError):
        # A zombie has no namespaces, and either kind of path may go while it is looked at.
        return None
    return status.st_dev, status.st_ino


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
