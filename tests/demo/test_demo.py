"""Each demo as a person runs it: in a cluster of its own, from nothing to the last step."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.lab.container import PROJECT
from tests.lab.debian_root import find_root
from tests.lab.frr_image import PACKAGES, SUITE
from tests.lab.namespaces import INSIDE

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


@pytest.mark.parametrize(("module", "steps"), [("tests.demo", 11), ("tests.demo.bgp", 8)])
def test_every_step_of_a_demo_holds(module: str, steps: int) -> None:
    if module == "tests.demo.bgp" and find_root(SUITE, PACKAGES) is None:
        pytest.skip("FRR's image is not here; `python -m tests.lab.frr_programs` fetches it from Debian")
    # Without the mark of being inside already, the demo makes itself a network that no other lab is in.
    environment = {name: value for name, value in os.environ.items() if name != INSIDE}

    demo = subprocess.run(
        [sys.executable, "-m", "tests.lab.enter", "--", sys.executable, "-m", module],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert demo.returncode == 0, demo.stdout[-6000:] + demo.stderr[-2000:]
    assert f"All {steps} steps hold" in demo.stdout
