"""Figures: what was measured, beside what it is compared with and what it must reach; kept as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number. `target` is the most it may be, or the least where `at_least` is set."""

    section: str
    what: str
    value: float
    unit: str
    baseline: str
    """What the baseline is, in words."""
    baseline_value: float
    target: float | None = None
    at_least: bool = False
    remark: str = ""
    samples: tuple[float, ...] = ()
    """Everything it was made from, in the order measured, where that is worth keeping."""

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


class Report:
    """Takes figures in as they come: each is a JSON line of the file at once, and a row of the table at the end."""

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines
        self._figures: list[Figure] = []

    @classmethod
    @contextmanager
    def to(cls, path: Path) -> Iterator[Report]:
        """Write the JSON lines to a file, over what it holds."""
        with path.open("w", encoding="utf-8") as lines:
            yield cls(lines)

    def add(self, figure: Figure) -> None:
        """Take in one figure."""
        self._figures.append(figure)
        self._lines.write(json.dumps({**asdict(figure), "reached": figure.reached}) + "\n")
        self._lines.flush()

    def show(self, console: Console) -> None:
        """Print the table."""
        table = Table(show_lines=False, header_style="bold")
        table.add_column("")
        table.add_column("what")
        table.add_column("measured", justify="right")
        table.add_column("must reach", justify="right")
        table.add_column("baseline", justify="right")
        table.add_column("which baseline")
        section = ""
        for figure in self._figures:
            if figure.section != section:
                section = figure.section
                table.add_section()
                table.add_row("", f"[bold]{section}[/]")
            mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: ""}[figure.reached]
            bound = "≥" if figure.at_least else "≤"
            target = "" if figure.target is None else f"{bound} {_number(figure.target)} {figure.unit}"
            what = f"{figure.what} [dim]({figure.remark})[/]" if figure.remark else figure.what
            table.add_row(
                mark,
                what,
                f"{_number(figure.value)} {figure.unit}",
                target,
                _number(figure.baseline_value) if figure.baseline else "",
                f"[dim]{figure.baseline}[/]",
            )
        console.print(table)


def quantile(samples: list[float], share: float) -> float:
    """Return the sample below which `share` of the others lie (nearest rank)."""
    ordered = sorted(samples)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
