"""Every file and folder of the project that the documentation names is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.reference.kinds import ROOT
from tests.unit.reference.test_links import PAGES

_CODE = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```.*?^```", re.M | re.S)
_FOLDERS = "allocator|webhook|speaker|tests|docs|manifests|kustomize"
_PATH = re.compile(rf"(?:{_FOLDERS})/[\w./*-]*|[\w./*-]+\.py")


def paths(page: Path) -> Iterator[str]:
    """Yield what looks like a path of the project, by a folder at its top or as a module; `*` stands for any text."""
    for text in _CODE.findall(_FENCE.sub("", page.read_text())):
        if match := _PATH.fullmatch(text.partition("::")[0]):
            yield match[0]


def is_there(path: str) -> bool:
    """Whether a path, or the bare name of a module, leads to something."""
    return any(ROOT.glob(path.rstrip("/") if "/" in path else f"[!.]*/**/{path}"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_is_there(page: Path) -> None:
    assert [path for path in paths(page) if not is_there(path)] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_pages_for_developers_name_files(page: str) -> None:
    assert len(set(paths(ROOT / page))) > 15


@pytest.mark.parametrize("path", ["allocator/core/no_such.py", "no_such.py", "tests/no_such/"])
def test_what_is_not_there_is_noticed(path: str) -> None:
    assert not is_there(path)
