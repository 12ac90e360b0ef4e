"""The demo as a person runs it: in a cluster of its own, from nothing to the last step."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.lab.container import PROJECT
from tests.lab.namespaces import INSIDE

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


def test_every_step_of_the_demo_holds() -> None:
    # Without the mark of being inside already, the demo makes itself a network that no other lab is in.
    environment = {name: value for name, value in os.environ.items() if name != INSIDE}

    demo = subprocess.run(
        [sys.executable, "-m", "tests.lab.enter", "--", sys.executable, "-m", "tests.demo"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert demo.returncode == 0, demo.stdout[-6000:] + demo.stderr[-2000:]
    assert "All 11 steps hold" in demo.stdout
