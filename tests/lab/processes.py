"""Long-running programs under test: started, killed, frozen and thawed, and gone when their owner is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from tests.lab.waiting import wait_until

T = TypeVar("T")

_TAIL_BYTES = 4000

# Linux delivers the parent-death signal when the *thread* that forked ends, not its process: were programs
# started from whichever thread asked, the end of a short-lived one would kill them. This one thread starts all.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn")


def _pass_niceness_on(pid: int) -> None:
    """Have a new session yield as this process does: where sessions share by sched_autogroup, niceness ends there."""
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    if niceness > 0:
        # It may have ended, and a kernel without autogroups knows of the niceness already.
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


class ProcessDied(AssertionError):
    """A program ended while something was expected of it; the message carries the end of its log."""


class Process:
    """One running program with a log file, in a session and process group of its own.

    It is killed by the kernel when this Python process ends, however it ends (the few milliseconds before the
    program itself runs excepted: those are the lab's process namespace's to clear up). Signals go to the whole
    group, so that a program's own children never outlive a SIGKILL meant for it.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        netns: str | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start `argv`, appending its output to `log`.

        `env` is its whole environment (this process's own where None); `netns` a network namespace as made by
        `ip netns add`. A program that does not exist ends with 127 and says so in its log.
        """
        self.argv = [str(word) for word in argv]
        self.name = name or Path(self.argv[0]).name
        self.log = log
        command = ["setpriv", "--pdeathsig", "SIGKILL"]
        if netns is not None:
            # Not `ip netns exec`: that mounts a new /sys as well, at 10 times the price.
            command += ["nsenter", f"--net=/run/netns/{netns}"]
        self._swept = False
        self._popen = _spawner.submit(self._spawn, [*command, "--", *self.argv], env, cwd).result()

    def _spawn(self, command: list[str], env: Mapping[str, str] | None, cwd: Path | None) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            started = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        _pass_niceness_on(started.pid)
        return started

    @property
    def pid(self) -> int:
        """The program's process id, which is also its process group's."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether the program still runs (a frozen one does)."""
        return self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def sigkill(self) -> None:
        """Kill the program and its children at once, and take in their end."""
        self._signal(signal.SIGKILL)
        self._popen.wait()

    def sigstop(self) -> None:
        """Freeze the program: its sockets stay open, it answers nothing."""
        self._signal(signal.SIGSTOP)

    def sigcont(self) -> None:
        """Thaw a frozen program."""
        self._signal(signal.SIGCONT)

    def terminate(self, grace_seconds: float = 10.0) -> int:
        """Ask the program to end, kill what is left of its group after the grace, and return its exit code."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(grace_seconds)
        self.sigkill()
        return self._popen.wait()

    def wait(self, timeout_seconds: float) -> int:
        """Return the exit code once the program has ended. Raises NeverHappened."""
        wait_until(lambda: not self.alive, timeout_seconds, f"{self.name} ends")
        return self._popen.wait()

    def wait_until(
        self,
        predicate: Callable[[], T | None],
        timeout_seconds: float,
        what: str,
        *,
        retry_on: tuple[type[Exception], ...] = (),
    ) -> T:
        """Wait as `waiting.wait_until`, but give up at once with ProcessDied when the program ends."""

        def alive_and_true() -> T | None:
            if not self.alive:
                raise ProcessDied(
                    f"{self.name} ended with {self.returncode} before {what}\n{self.log}:\n{self.log_tail()}"
                )
            return predicate()

        return wait_until(alive_and_true, timeout_seconds, what, retry_on=retry_on)

    def log_tail(self) -> str:
        """The end of the program's log."""
        with self.log.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _TAIL_BYTES))
            return stream.read().decode(errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        if self._swept:
            return  # the number may be another process's by now
        self._swept = number == signal.SIGKILL
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def kill_all(processes: Sequence[Process]) -> float:
    """SIGKILL every process as close to one instant as one thread can; return that instant on CLOCK_MONOTONIC."""
    instant = time.monotonic()
    for process in processes:
        process._signal(signal.SIGKILL)
    for process in processes:
        process._popen.wait()
    return instant
