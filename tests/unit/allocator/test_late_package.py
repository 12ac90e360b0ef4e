"""A package whose own code waits until something of it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = {
    "__init__.py": "from heavy.rest import thing\nvalue = 7\n",
    "rest.py": "thing = 'thing'\n",
    "light.py": "from heavy import sibling\nname = 'light'\n",
    "sibling.py": "",
    "inner/__init__.py": "import heavy.rest\nother = 8\n",
    "inner/leaf.py": "name = 'leaf'\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in PACKAGE.items():
        path = tmp_path / "heavy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def run(folder: Path, *lines: str) -> list[str]:
    """Run a program of these lines with the package at hand; return what it printed."""
    program = ["import sys", "from allocator.process.late_package import initialise_late", *lines]
    path = [str(folder), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([f"import sys; sys.path[:] = {path!r}", *program])],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_submodule_is_imported_without_the_rest(folder: Path) -> None:
    assert run(
        folder,
        "initialise_late('heavy')",
        "initialise_late('heavy.inner')",
        "from heavy.light import name",
        "from heavy.inner.leaf import name as leaf",
        "import heavy.inner",
        "print(name, leaf, heavy.inner.leaf is sys.modules['heavy.inner.leaf'], 'heavy.rest' in sys.modules)",
    ) == ["light", "leaf", "True", "False"]


def test_whoever_asks_for_more_gets_it(folder: Path) -> None:
    assert run(
        folder,
        "initialise_late('heavy')",
        "initialise_late('heavy.inner')",
        "from heavy.light import name",
        "from heavy import value, thing",
        "from heavy.inner import other",
        "print(value, thing, other, name)",
    ) == ["7", "thing", "8", "light"]


def test_what_is_nowhere_is_an_error_as_ever(folder: Path) -> None:
    assert run(
        folder,
        "initialise_late('heavy')",
        "import heavy",
        "print(hasattr(heavy, 'nothing'))",
        "try: initialise_late('no_such_package')",
        "except ModuleNotFoundError as error: print(error.name)",
    ) == ["False", "no_such_package"]


def test_a_package_that_is_there_already_is_left_alone(folder: Path) -> None:
    assert run(folder, "import heavy", "initialise_late('heavy')", "print(heavy.value)") == ["7"]


def test_the_speaker_loads_no_oauth(folder: Path) -> None:
    heavy = "{'requests', 'oauthlib', 'kubernetes.informer', 'sqlite3'}"
    assert run(folder, "import speaker.main", f"print(*sorted({heavy} & sys.modules.keys()), '-')") == ["-"]
