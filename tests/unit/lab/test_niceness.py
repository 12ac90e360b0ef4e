"""Who yields to whom in `make test`: all that the workers beside the first start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.side_by_side import LEFT_OVER, NICENESS, pytest_cmdline_main

ROOT = Path(__file__).parents[3]
NICEST = 19
"""As nice as a process can be, also where the whole run is."""
START = """
import os, sys
from pathlib import Path
from tests.lab.processes import Process

process = Process(["sleep", "60"], log=Path(sys.argv[1]))
autogroup = Path(f"/proc/{process.pid}/autogroup")
print(os.getpriority(os.PRIO_PROCESS, process.pid), autogroup.read_text() if autogroup.exists() else "none")
process.sigkill()
"""


def test_a_session_of_its_own_yields_as_who_started_it(tmp_path: Path) -> None:
    done = subprocess.run(
        ["nice", f"--adjustment={NICENESS}", sys.executable, "-c", START, str(tmp_path / "log")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    niceness, autogroup = done.stdout.split(maxsplit=1)
    assert int(niceness) == min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, NICEST)
    assert autogroup.strip() == "none" or autogroup.split() == [autogroup.split()[0], "nice", niceness]


def test_every_worker_but_the_first_is_nice_and_one_has_what_is_left() -> None:
    option = SimpleNamespace(tx=[], dist="no", loadscopereorder=True, usepdb=True)
    config: Any = SimpleNamespace(getoption=lambda _: 3, option=option)

    pytest_cmdline_main(config)

    commands = [one.partition("python=")[2] for one in option.tx]
    assert ["nice" in one.split()[0] for one in commands] == [False, True, True, False]
    assert ["left_over" in one for one in commands] == [False, False, False, True]


def test_what_has_the_rest_has_no_other_program_wait() -> None:
    asking = "import os; print(os.sched_getscheduler(0) == os.SCHED_IDLE, os.getsid(0) == os.getpid())"

    done = subprocess.run(
        [*LEFT_OVER, sys.executable, "-c", asking], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout == "True True\n"
