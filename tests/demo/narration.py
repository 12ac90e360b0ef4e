"""How the demo speaks: numbered steps, commands with what they printed, checks, measurements."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class DoesNotHold(Exception):
    """Something the demo promises is not so; the message says what was expected and what was found."""


class Narrator:
    """Prints as things happen; one line never waits for the next. Owned by the thread that tells the story."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._number = 0
        self._begun = time.monotonic()
        self._measured: list[tuple[str, str]] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Tell one step. Whatever goes wrong inside is reported as this step's failure, and raised as DoesNotHold."""
        self._number += 1
        self._line("")
        self._line(f"{self._number}. {title}", style="bold")
        try:
            yield
        except Exception as error:
            self._line(f"   ✗ step {self._number} does not hold: {error}", style="bold red")
            raise DoesNotHold(f"step {self._number} ({title}): {error}") from error

    def tell(self, text: str) -> None:
        """Say what happens and why it matters."""
        self._line(f"   {text}")

    def command(self, line: str, output: str) -> None:
        """Show a command as a person would type it, and what it printed."""
        self._line(f"   $ {line}", style="cyan")
        for printed in output.rstrip().splitlines():
            self._line(f"     {printed}")

    def holds(self, text: str) -> None:
        """State something that has just been checked."""
        self._line(f"   ✓ {text}", style="green")

    def measured(self, what: str, value: str) -> None:
        """State a measurement; all of them are repeated at the end."""
        self._measured.append((what, value))
        self._line(f"   ✓ {what}: {value}", style="green")

    def summary(self) -> None:
        """Repeat what was measured, and say that everything held."""
        width = max(len(what) for what, _ in self._measured)
        self._line("")
        self._line("Measured", style="bold")
        for what, value in self._measured:
            self._line(f"   {what:<{width}}  {value}")
        self._line("")
        seconds = time.monotonic() - self._begun
        self._line(f"All {self._number} steps hold ({seconds:.0f} s).", style="bold green")

    def plain(self, text: str) -> None:
        """Print a text as it is."""
        self._line(text)

    def _line(self, text: str, *, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def expect(condition: object, otherwise: str) -> None:
    """Raise DoesNotHold with `otherwise` unless the condition is true."""
    if not condition:
        raise DoesNotHold(otherwise)
