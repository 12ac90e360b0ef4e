"""One container of a Pod as a process on a node: in the Pod's network, with its own view of the file system."""

from __future__ import annotations

import os
import select
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from allocator.cluster import Object
from tests.lab.container_spec import Mount, Unsupported, expanded, privilege_arguments
from tests.lab.mounts import ensure_mount_point
from tests.lab.prober import Prober
from tests.lab.processes import Process

PROJECT = Path(__file__).resolve().parents[2]
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEEP = Path("/run/admitlb-keep")


@dataclass(slots=True)
class Container:
    """A container's present process and its history; owned by its Pod's thread, except for `process`.

    `process` is replaced by the Pod's thread and read by whoever kills components.
    """

    spec: Object
    log: Path
    restarts: int = 0
    process: Process | None = None
    pidfd: int = -1
    started_at: str = ""
    launched_at: float = 0.0
    waiting_reason: str = "ContainerCreating"
    waiting_message: str = ""
    last_exit: Object | None = None
    start_again_at: float = 0.0
    quick_failures: int = 0
    prober: Prober | None = None

    @property
    def name(self) -> str:
        """The container's name within its Pod."""
        return str(self.spec["name"])

    @property
    def ready(self) -> bool:
        """Whether it runs and its readiness probe, if any, says so."""
        return self.running and self.prober is not None and self.prober.ready

    @property
    def running(self) -> bool:
        """Whether a process is there that has not ended."""
        return self.process is not None and self.process.alive

    def start(self, *, netns: str, hostname: str, env: Mapping[str, str], mounts: Sequence[Mount]) -> None:
        """Start the process. Raises Unsupported where only an image would know the program."""
        command = [expanded(word, env) for word in self.spec.get("command") or []]
        command += [expanded(word, env) for word in self.spec.get("args") or []]
        if not command:
            raise Unsupported(f"container {self.name} without a command (the lab has no images)")
        script = f"hostname {shlex.quote(hostname)}\n{_mount_script(mounts, privilege_arguments(self.spec))}"
        self.process = Process(
            ["unshare", "--mount", "--uts", "sh", "-ec", script, "container", *command],
            name=self.name,
            log=self.log,
            env={**base_environment(), **env},
            netns=netns,
            cwd=Path("/"),
        )
        self.pidfd = os.pidfd_open(self.process.pid)

    def forget_process(self) -> int:
        """Take in the end of the process and return its exit code."""
        process = self.process
        if process is None:
            return 0
        # Also what its own children left running.
        process.sigkill()
        os.close(self.pidfd)
        self.pidfd = -1
        return process.returncode or 0

    def ask_to_end(self) -> None:
        """SIGTERM the main process alone, as a container runtime does."""
        if self.running:
            signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)

    def wait_end(self, timeout_seconds: float) -> bool:
        """Tell whether the main process ended within the time."""
        if not self.running:
            return True
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout_seconds) * 1000))


def base_environment() -> dict[str, str]:
    """What an image would set: a PATH on which the project's own commands come first."""
    return {"PATH": f"{Path(sys.prefix) / 'bin'}:{_SYSTEM_PATH}", "HOME": "/root", "LANG": "C.UTF-8"}


def prepare_mount_points(mounts: Sequence[Mount]) -> None:
    """Make the mount points that no other mount of the list provides, outside the container's own view."""
    for mount in mounts:
        if not any(other.target in mount.target.parents for other in mounts):
            ensure_mount_point(mount.target, file=mount.source.is_file())


def _mount_script(mounts: Sequence[Mount], privileges: Sequence[str]) -> str:
    """Return the shell script that mounts, drops privileges and becomes the container's command."""
    # The mount namespace was copied from one that belongs to another network namespace, and so was its /sys.
    lines = ["mount -t sysfs sysfs /sys"]
    for mount in sorted(mounts, key=lambda each: len(each.target.parts)):
        hidden = [path for path in _needed_paths() if mount.target in (path, *path.parents)]
        kept = [(_KEEP / str(number), path) for number, path in enumerate(hidden)]
        lines += [f"mkdir -p {place} && mount --rbind {shlex.quote(str(path))} {place}" for place, path in kept]
        target = shlex.quote(str(mount.target))
        lines.append(f"test -e {target} || mkdir -p {target}")
        lines.append(f"mount --bind {shlex.quote(str(mount.source))} {target}")
        for place, path in kept:
            shown = shlex.quote(str(path))
            lines.append(f"mkdir -p {shown} && mount --rbind {place} {shown}")
    lines.append(f'exec setpriv {shlex.join(privileges)} -- "$@"' if privileges else 'exec "$@"')
    return "\n".join(lines)


def _needed_paths() -> list[Path]:
    """What must stay visible under a volume: with a checkout below /tmp, an emptyDir at /tmp would hide it."""
    paths = {PROJECT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    return sorted(path for path in paths if not any(other in path.parents for other in paths))
