"""One container of a Pod as a process on a node: in the Pod's network, with its own view of the file system."""

from __future__ import annotations

import compileall
import functools
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from allocator.kube.client import Object
from allocator.process.logs import EventLog
from tests.lab.container_limits import limits
from tests.lab.container_spec import Mount, Unsupported, expanded
from tests.lab.container_start import Start
from tests.lab.images import Image, name_without_tag
from tests.lab.mounts import ensure_mount_point
from tests.lab.privileges import can_be_anybody
from tests.lab.prober import Prober
from tests.lab.processes import Process

PROJECT = Path(__file__).resolve().parents[2]
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN_PACKAGES = ("allocator", "webhook", "speaker", "tests/lab")

log = EventLog("lab.container")


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
    start_of_process: tuple[Start, dict[str, str], str] | None = None
    """How the present process was started, its environment, and its network namespace; for `execute`."""

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

    def start(
        self,
        pod_spec: Object,
        *,
        netns: str,
        hostname: str,
        env: Mapping[str, str],
        mounts: Sequence[Mount],
        images: Mapping[str, Image],
    ) -> None:
        """Start the process. Raises Unsupported where only an image that is not there would know the program."""
        image = images.get(name_without_tag(str(self.spec.get("image"))))
        command = [expanded(word, env) for word in self.spec.get("command") or (image.entrypoint if image else ())]
        command += [expanded(word, env) for word in self.spec.get("args") or []]
        if not command:
            raise Unsupported(f"container {self.name} without a command (the lab has no such image)")
        allowed = limits(self.spec, pod_spec, image_user=image.user if image else (0, 0))
        filtered = allowed.default_seccomp and allowed.no_new_privileges
        start = Start(
            hostname=hostname,
            mounts=[
                (str(mount.source), str(mount.target), mount.writable)
                for mount in sorted(mounts, key=lambda each: len(each.target.parts))
            ],
            shown=[] if image else [str(path) for path in _needed_paths()],
            covered=[] if image else [str(path) for path in private_folders(_needed_paths())],
            root=image.layers if image else None,
            read_only_root=allowed.read_only_root,
            user=allowed.user,
            group=allowed.group,
            groups=list(allowed.groups),
            capabilities=None if allowed.capabilities is None else sorted(allowed.capabilities),
            ambient=[] if image else needed_to_read([*_needed_paths(), Path(__file__)]),
            no_new_privileges=allowed.no_new_privileges,
            seccomp=str(image.seccomp) if image and image.seccomp and filtered else None,
        )
        if image is None:
            _compile_once()
        if allowed.user != 0 and not can_be_anybody():
            log.warning(
                "container.as_root", container=self.name, wanted=allowed.user, reason="no other user is mapped"
            )
        environment = {**(image.environment if image else base_environment()), **env}
        self.process = Process(
            start.command(command), name=self.name, log=self.log, env=environment, netns=netns, cwd=PROJECT
        )
        self.pidfd = os.pidfd_open(self.process.pid)
        self.start_of_process = start, environment, netns

    def execute(self, command: Sequence[str], *, with_input: bool) -> subprocess.Popen[bytes]:
        """Start a program beside the container's own, under the same limits and with the same view of files.

        It has pipes for its output and, if asked, its input, and ends with the thread that called.
        """
        if self.start_of_process is None:
            raise RuntimeError(f"container {self.name} was not started")
        start, environment, netns = self.start_of_process
        return subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{netns}", "--", *start.command(command)],
            stdin=subprocess.PIPE if with_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=PROJECT,
        )

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
    return {"PATH": f"{Path(sys.prefix) / 'bin'}:{_SYSTEM_PATH}", "HOME": "/", "LANG": "C.UTF-8"}


def prepare_mount_points(mounts: Sequence[Mount]) -> None:
    """Make the mount points that no other mount of the list provides, outside the container's own view."""
    for mount in mounts:
        if not any(other.target in mount.target.parents for other in mounts):
            ensure_mount_point(mount.target, file=mount.source.is_file())


def private_folders(paths: Sequence[Path]) -> list[Path]:
    """Return the outermost folders around these paths that not everybody may pass through."""
    private = {folder for path in paths for folder in path.parents if not folder.stat().st_mode & stat.S_IXOTH}
    return sorted(folder for folder in private if not any(other in folder.parents for other in private))


def needed_to_read(paths: Sequence[Path]) -> list[str]:
    """Return the capabilities without which not every user can read these files and folders.

    The lab's containers run the programs of this checkout, which may be its owner's alone to read. An image's files
    are everybody's, so that a container that has one needs nothing of the kind.
    """
    return [] if all(path.stat().st_mode & stat.S_IROTH for path in paths) else ["DAC_READ_SEARCH"]


@functools.cache
def _compile_once() -> None:
    """Bring the bytecode of our own packages up to date: containers that may write nowhere would each do it again."""
    for package in _OWN_PACKAGES:
        compileall.compile_dir(PROJECT / package, quiet=2)


def _needed_paths() -> list[Path]:
    """What must stay visible under a volume: with a checkout below /tmp, an emptyDir at /tmp would hide it."""
    paths = {PROJECT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    return sorted(path for path in paths if not any(other in path.parents for other in paths))
