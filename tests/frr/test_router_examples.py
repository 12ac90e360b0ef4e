"""The examples of docs/bgp-routers.md that are not another vendor's: BIRD and FRR take them as they are printed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.lab.frr_programs import find_bird, find_frr

PAGE = Path(__file__).parents[2] / "docs" / "bgp-routers.md"
AROUND = "log stderr all;\nrouter id 203.0.113.1;\nprotocol device {{}}\n{}"


def example(vendor: str) -> str:
    """Return the block below a heading."""
    _, _, rest = PAGE.read_text().partition(f"## {vendor}\n")
    (first, *_) = re.findall(r"```\n(.*?)```", rest, re.DOTALL)
    return str(first)


def test_bird_takes_its_example(tmp_path: Path) -> None:
    root = find_bird()
    if root is None:
        pytest.skip("BIRD is not here; `python -m tests.lab.frr_programs` fetches it from Debian")
    (tmp_path / "bird.conf").write_text(AROUND.format(example("BIRD 2")))

    done = run(root.command("/usr/sbin/bird", "-p", "-c", "/run/bird/bird.conf", binds={tmp_path: "/run/bird"}))

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("broken", [False, True])
def test_frr_takes_its_example(tmp_path: Path, broken: bool) -> None:
    root = find_frr("10.3")
    if root is None:
        pytest.skip("FRR is not here; `python -m tests.lab.frr_programs` fetches it from Debian")
    text = example("FRR")
    (tmp_path / "frr.conf").write_text(text.replace("maximum-paths", "maximum-path-count") if broken else text)

    done = run(root.command("/usr/lib/frr/bgpd", "-S", "-C", "-f", "/run/frr/frr.conf", binds={tmp_path: "/run/frr"}))

    # It ends with 0 either way.
    assert ("No such command" in done.stdout + done.stderr) is broken, done.stdout + done.stderr


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
