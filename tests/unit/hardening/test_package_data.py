"""What is installed is all that runs: templates, schemas and type markers, not only what the source tree has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.manifests.documents import ROOT

PACKAGES = ("allocator", "webhook", "speaker")
RENDER = """
import sys
sys.path.insert(0, sys.argv[1])
import allocator
from datetime import UTC, datetime
from allocator.status_page.html import render
from allocator.status_page.picture import Picture
assert allocator.__file__.startswith(sys.argv[1]), allocator.__file__
at = datetime(2026, 1, 1, tzinfo=UTC)
empty = dict(problems=(), pools=(), addresses=(), waiting=(), moves=())
print(render(Picture(at=at, leading=True, **empty)))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages as a wheel has them."""
    work = tmp_path_factory.mktemp("build")
    command: list[str | Path] = [
        sys.executable,
        "setup.py",
        "-q",
        "egg_info",
        "--egg-base",
        work,
        "build_py",
        "--build-lib",
        work / "lib",
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return work / "lib"


def files(root: Path) -> set[str]:
    """Everything of the packages but what Python writes beside it."""
    return {
        str(path.relative_to(root))
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_every_file_of_the_packages_and_every_manifest_and_overlay_is_installed(installed: Path) -> None:
    beside = {
        f"allocator/shipped/{path.relative_to(ROOT)}"
        for folder in ("manifests", "kustomize")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    assert {Path(name).parts[2] for name in beside} == {"manifests", "kustomize"}
    assert files(installed) == files(ROOT) | beside


def test_the_status_page_is_rendered_from_what_is_installed(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RENDER, installed], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.lstrip().lower().startswith("<!doctype html>")
