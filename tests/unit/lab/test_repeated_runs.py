"""What a run of the tests leaves for the next: how long each file took, and which tests passed only when repeated."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.durations import LATEST, known, read
from tests.flaky import RECORD
from tests.side_by_side import ALONE, LABS, SHARING, order

ROOT = Path(__file__).parents[3]
TESTS = """
from pathlib import Path

def test_is_sound():
    pass

def test_fails_at_first():
    seen = Path(__file__).with_name("seen")
    before = seen.exists()
    seen.touch()
    assert before

def test_is_broken():
    assert False
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_three.py").write_text(TESTS)
    return tmp_path


def run(folder: Path, *arguments: str) -> str:
    """Run the tests in `folder` as `make test` does, and return what pytest prints; some of them fail."""
    plugins = ("-p", "xdist", "-p", "tests.failures", "-p", "tests.durations", "--numprocesses", "1")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_what_passes_when_repeated_is_named_and_written_down_and_the_summary_stays_last(folder: Path) -> None:
    printed = run(folder).splitlines()
    first_of_the_end = next(number for number, line in enumerate(printed) if " FAILURES " in line)
    assert [line for line in printed[:first_of_the_end] if line.startswith("FAILED")] == [
        "FAILED test_three.py::test_fails_at_first (gw0 call): assert False",
        "FAILED test_three.py::test_is_broken (gw0 call): assert False",
    ], "each is named when it fails"
    taken = read(folder / LATEST)
    assert taken.keys() == {"test_three.py"}
    assert known(folder)["test_three.py"] == taken["test_three.py"]
    (folder / LATEST).write_text("12.0 test_three.py\n")

    printed = run(folder, "-p", "tests.flaky", "--last-failed").splitlines()

    (line,) = (folder / RECORD).read_text().splitlines()
    assert line.split(maxsplit=1)[1] == "test_three.py::test_fails_at_first"
    (title,) = (number for number, line in enumerate(printed) if "flaky: 1 failed in the first run" in line)
    assert printed[title + 1] == "test_three.py::test_fails_at_first"
    assert "1 failed, 1 passed" in printed[-1]
    # Part of a file says nothing about how long the whole takes.
    assert read(folder / LATEST) == {"test_three.py": 12.0}


def test_what_is_alone_comes_first_then_the_labs_then_the_longest_files_then_what_computes() -> None:
    seconds = {"tests/cluster/test_a.py": 3.0, "tests/cluster/test_b.py": 30.0, f"{ALONE[1]}": 60.0}
    in_order = [
        f"{ALONE[0]}::test_1",
        f"{ALONE[1]}::test_1",
        f"{LABS[0]}test_lab.py::test_1",
        f"{LABS[1]}test_demo.py::test_1",
        "tests/cluster/test_b.py::test_2",
        "tests/cluster/test_b.py::test_1",
        "tests/frr/test_unknown.py::test_1",
        "tests/cluster/test_a.py::test_1",
        "tests/unit/core/test_unknown.py::test_1",
    ]
    given = [in_order[number] for number in (6, 0, 3, 1, 8, 7, 4, 2, 5)]
    assert sorted(given, key=lambda nodeid: order(nodeid, seconds)) == in_order, "what is alone stays as it is given"


def test_whatever_is_named_is_there() -> None:
    sharing = [file for files in SHARING.values() for file in files]
    assert [path for path in (*ALONE, *LABS, *sharing) if not (ROOT / path).exists()] == []
    assert len(sharing) == len(set(sharing))
