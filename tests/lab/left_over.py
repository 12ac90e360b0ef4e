"""`python -m tests.lab.left_over -- COMMAND`: run COMMAND with what all other programs leave of the processors.

It never has them wait, and may itself have to wait for as long as they are busy.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

NICEST = 19


def main(arguments: list[str]) -> None:
    """Become the command."""
    if arguments[:1] != ["--"] or not arguments[1:]:
        sys.exit("usage: python -m tests.lab.left_over -- COMMAND")
    # Where sessions share by sched_autogroup, a policy holds within one: this one is nice as a whole.
    with suppress(OSError):
        os.setsid()
        Path("/proc/self/autogroup").write_text(str(NICEST))
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.execvp(arguments[1], arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
