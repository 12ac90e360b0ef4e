"""The page can be read: in light and dark, and on a narrow screen, where each cell names its column itself."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from allocator.status_page.html import render
from allocator.status_page.style import STYLE
from tests.unit.status_page.test_page import _full

LEAST_CONTRAST = 4.5
"""WCAG 2.1, 1.4.3, for text of this size."""
ON_PAGE = ("text", "dim", "link", "bad", "warn", "good")


def colours(dark: bool) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.S)
    assert len(blocks) == 2
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[0]))
    return found | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[1])) if dark else {})


def luminance(colour: str) -> float:
    """WCAG 2.1, relative luminance."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out_from_its_background(dark: bool) -> None:
    known = colours(dark)
    for name in ON_PAGE:
        assert contrast(known[name], known["back"]) >= LEAST_CONTRAST, name
    assert contrast(known["alarm-text"], known["alarm-back"]) >= LEAST_CONTRAST


def test_both_modes_set_every_colour() -> None:
    assert colours(dark=True).keys() == colours(dark=False).keys()
    dark = re.findall(r":root \{(.*?)\}", STYLE, re.S)[1]
    assert set(re.findall(r"--([\w-]+):", dark)) == colours(dark=False).keys()
    assert set(re.findall(r"var\(--([\w-]+)\)", STYLE)) == colours(dark=False).keys()
    assert not re.search(r"#[0-9a-f]{3,8}", STYLE.partition("body {")[2]), "a colour outside the two lists"


class _Columns(HTMLParser):
    """For each table, its headings, and the labels of each row's cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[tuple[list[str], list[list[str | None]]]] = []
        self._in_heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_heading = tag == "th"
        if tag == "table":
            self.tables.append(([], []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag == "td":
            self.tables[-1][1][-1].append(dict(attrs).get("data-label"))

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.tables[-1][0].append(data)
            self._in_heading = False


def test_every_cell_carries_the_name_of_its_column() -> None:
    parser = _Columns()
    parser.feed(render(_full("x")))
    assert len(parser.tables) == 7
    for headings, rows in parser.tables:
        assert len(rows) >= 2, headings
        assert all(row == headings for row in rows[1:]), headings
