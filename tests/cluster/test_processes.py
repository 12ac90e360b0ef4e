"""Programs under test: what their handle says happens to them, and to what they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.lab.processes import Process, ProcessDied, kill_all
from tests.lab.waiting import NeverHappened, wait_until

WITH_A_CHILD = ["sh", "-c", 'sleep 600 & echo "child $!"; wait']
DEAF = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"]


def start(tmp_path: Path, *argv: str, name: str | None = None) -> Process:
    return Process(argv, log=tmp_path / "log", name=name)


def running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def state(process: Process) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def child_of(process: Process) -> int:
    process.wait_until(lambda: "child" in process.log_tail(), 10, "it has its child")
    return int(process.log_tail().split()[1])


def test_a_sigkill_takes_the_children_along(tmp_path: Path) -> None:
    process = start(tmp_path, *WITH_A_CHILD)
    child = child_of(process)

    process.sigkill()

    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: not running(child), 10, "the child is gone")


def test_a_polite_end_takes_the_children_along(tmp_path: Path) -> None:
    process = start(tmp_path, *WITH_A_CHILD)
    child = child_of(process)

    process.terminate()

    assert process.returncode == -signal.SIGTERM
    wait_until(lambda: not running(child), 10, "the child is gone")


def test_who_does_not_end_within_the_grace_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, *DEAF)
    process.wait_until(lambda: "deaf" in process.log_tail(), 10, "it ignores SIGTERM")

    assert process.terminate(grace_seconds=0.2) == -signal.SIGKILL


def test_a_frozen_program_ends_when_asked_to(tmp_path: Path) -> None:
    process = start(tmp_path, "sleep", "600")
    process.sigstop()
    wait_until(lambda: state(process) == "T", 10, "it is frozen")
    assert process.alive

    assert process.terminate() == -signal.SIGTERM


def test_a_frozen_program_goes_on_when_thawed(tmp_path: Path) -> None:
    process = start(tmp_path, "sleep", "600")
    process.sigstop()
    wait_until(lambda: state(process) == "T", 10, "it is frozen")

    process.sigcont()

    wait_until(lambda: state(process) == "S", 10, "it sleeps again")
    process.sigkill()


def test_waiting_ends_at_once_when_the_program_does_and_shows_its_log(tmp_path: Path) -> None:
    process = start(tmp_path, "sh", "-c", "echo cannot bind; exit 7", name="server")

    with pytest.raises(ProcessDied, match=r"server ended with 7 before it answers\n.*/log:\ncannot bind"):
        process.wait_until(lambda: False, 600, "it answers")


def test_waiting_in_vain_says_for_what(tmp_path: Path) -> None:
    process = start(tmp_path, "sleep", "600")

    with pytest.raises(NeverHappened, match=r"it answers: not within 0\.1 s \(last seen: False\)"):
        process.wait_until(lambda: False, 0.1, "it answers")
    process.sigkill()


def test_several_are_killed_together(tmp_path: Path) -> None:
    processes = [start(tmp_path, *WITH_A_CHILD) for _ in range(5)]

    kill_all(processes)

    assert not any(process.alive for process in processes)


def test_it_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    made: list[Process] = []
    thread = threading.Thread(target=lambda: made.append(start(tmp_path, "sleep", "600")), name="starter")
    thread.start()
    thread.join()
    # The kernel would kill it with the thread; give it the chance by asking for another start meanwhile.
    start(tmp_path, "true").wait(10)

    assert made[0].alive
    made[0].sigkill()


def test_it_does_not_outlive_the_python_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.lab.processes import Process\n"
        "process = Process(['sleep', '600'], log=Path(sys.argv[1])); print(process.pid, flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", 10, "the program itself runs")

    os.kill(owner.pid, signal.SIGKILL)

    owner.wait()
    wait_until(lambda: not running(pid), 10, "it is gone with its owner")


def test_a_program_that_does_not_exist_says_so(tmp_path: Path) -> None:
    process = start(tmp_path, "no-such-program")

    assert process.wait(10) == 127
    assert "no-such-program" in process.log_tail()
