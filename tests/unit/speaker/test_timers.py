"""The tables of timers in docs/architecture.md name exactly the constants in the speaker's code, and their values."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
MOST_TIMERS = 10
TIMER = re.compile(r"^(_?[A-Z][A-Z0-9_]*_(?:SECONDS|INTERVALS|PER_SECOND))\b[^=\n]*=[^=]", re.MULTILINE)
NAMED = re.compile(r"`(\w+)\.(_?[A-Z][A-Z0-9_]*)` = ((?:[\d.]+, )*[\d.]+)")
Timers = dict[tuple[str, str], str]


def in_code() -> Timers:
    """Every constant of the speaker's modules, and of what renders for FRR, that is a time or a pace in numbers."""
    found: Timers = {}
    for path in sorted(path for folder in ("speaker", "allocator/bgp") for path in (ROOT / folder).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name in TIMER.findall(path.read_text()):
            value = getattr(importlib.import_module(module), name)
            if isinstance(value, int | float | tuple):
                key = (path.stem, name)
                assert key not in found, f"two modules have {key}"
                numbers = value if isinstance(value, tuple) else (value,)
                found[key] = ", ".join(f"{number:g}" for number in numbers)
    return found


def is_number(stem: str, name: str) -> bool:
    """Return whether a constant is written as a number, rather than by another one."""
    (written,) = [
        node.value
        for path in (ROOT / "speaker").rglob(f"{stem}.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign)
        and any(isinstance(each, ast.Name) and each.id == name for each in node.targets)
    ]
    return not any(isinstance(node, ast.Name) for node in ast.walk(written))


def in_tables() -> list[list[Timers]]:
    """What each row of the two tables names."""
    section = (ROOT / "docs/architecture.md").read_text().partition("## Timers\n")[2].partition("\n## ")[0]
    tables = [block for block in section.split("\n\n") if block.startswith("|")]
    return [
        [{(module, name): value for module, name, value in NAMED.findall(row)} for row in table.splitlines()[2:]]
        for table in tables
    ]


def test_every_constant_is_in_one_row_with_its_value() -> None:
    named = [item for table in in_tables() for row in table for item in row.items()]
    assert dict(named) == in_code()
    assert len(named) == len(dict(named)), "one is named twice"


def test_no_more_than_ten_timers_change_detection_election_or_announcing() -> None:
    decisive, _ = in_tables()
    assert len(decisive) <= MOST_TIMERS
    numbers = [
        [name for module, name in row if name.endswith("_SECONDS") and is_number(module, name)] for row in decisive
    ]
    assert all(len(row) == 1 for row in numbers), f"the others of a row follow from one: {numbers}"
