"""What is imported is declared, and what is declared is imported: nothing comes along by somebody else's grace."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("allocator", "webhook", "speaker")
PROGRAMS = {"import-linter", "mypy", "pytest-timeout", "ruff", "setuptools", "types-PyYAML", "types-jsonschema"}
"""What is run, or loaded by what is run, and imported by nobody."""


def declared(extra: str | None = None) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return {normal(re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0]) for requirement in listed}


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def imported(*folders: str) -> dict[str, str]:
    """Return every top-level module that is imported and not ours or Python's, with a file that does it."""
    found: dict[str, str] = {}
    for module, path in (each for folder in folders for each in tops_of(folder).items()):
        if module not in sys.stdlib_module_names and module not in (*PACKAGES, "tests", "release"):
            found.setdefault(module, path)
    return found


@cache
def tops_of(folder: str) -> dict[str, str]:
    """Return the top-level modules that a folder imports, each with the first file that does it."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for module in modules_of(ast.parse(path.read_text())):
            found.setdefault(module.partition(".")[0], str(path.relative_to(ROOT)))
    return found


def modules_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def distributions(modules: dict[str, str]) -> dict[str, str]:
    known = packages_distributions()
    return {normal(known[module][0]): f"{where} imports {module}" for module, where in modules.items()}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_of_a_package_is_declared(package: str) -> None:
    needed = distributions(imported(package))
    assert {why for name, why in needed.items() if name not in declared()} == set()


def test_every_import_of_a_test_is_declared() -> None:
    needed = distributions(imported("tests"))
    assert {why for name, why in needed.items() if name not in declared() | declared("dev")} == set()


def test_nothing_is_declared_that_nobody_imports() -> None:
    assert declared() - distributions(imported(*PACKAGES, "tests")).keys() == set()
    assert declared("dev") - distributions(imported("tests")).keys() == {normal(name) for name in PROGRAMS}
