"""Pages, manifests, messages, docstrings and comments use the terms of CONTRIBUTING.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.reference.kinds import ROOT
from tests.unit.reference.words import ALLOWED, BANNED, CODE, PROSE, banned_words


@pytest.mark.parametrize("folder", ["pages and manifests", "allocator", "speaker", "webhook"])
def test_no_banned_word_is_used(folder: str) -> None:
    read = PROSE if folder == "pages and manifests" else [path for path in CODE if (ROOT / folder) in path.parents]
    assert len(read) > 10
    assert [found for path in read for found in banned_words(path)] == []


def test_every_exception_is_needed_and_explained() -> None:
    used = {(path, word) for path, word in ALLOWED if word in (ROOT / path).read_text().lower()}
    assert used == set(ALLOWED)
    assert all(ALLOWED.values())


@pytest.mark.parametrize(
    ("text", "banned"),
    [
        ('"""What the Service wishes for."""\n', 1),
        ("# Nobody tells it.\n", 1),
        ("raise ValueError(f'{name} stands in the way')\n", 1),
        ("told = 1  # a name is no prose\n", 0),
        ("# The attribute `told`.\n", 0),
        ("# A node that stands in for another.\n", 0),
        ("# kubernetes.io/config.mirror is a name.\n", 0),
    ],
)
def test_comments_docstrings_and_messages_are_read_and_names_are_not(
    text: str, banned: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.reference.words.ROOT", tmp_path)
    module = tmp_path / "module.py"
    module.write_text(text)
    assert len(list(banned_words(module))) == banned


def test_a_page_is_read_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.reference.words.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("## Is AdmitLB itself well?\n")
    assert list(banned_words(page)) == ["page.md:1: 'itself well': healthy"]


def test_for_each_banned_word_there_is_another() -> None:
    assert all(BANNED.values())
