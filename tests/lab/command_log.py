"""Set-up commands whose output nobody wants to see unless one fails: kept in one file, its end shown on failure."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TAIL_LINES = 30


class CommandFailed(Exception):
    """A set-up command failed; the message has the command, its exit code and the end of what it printed."""


@dataclass(frozen=True, slots=True)
class CommandLog:
    """Runs commands one after the other, adding what each printed to one file."""

    path: Path

    def run(
        self,
        *argv: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout_seconds: float = 600,
    ) -> None:
        """Run a command to its end. Raises CommandFailed on any exit code but 0, and on the timeout."""
        words = [str(word) for word in argv]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as output:
            output.write(f"+ {' '.join(words)}\n".encode())
            output.flush()
            try:
                done = subprocess.run(
                    words,
                    cwd=cwd,
                    env=None if env is None else dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=timeout_seconds,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise CommandFailed(f"{words[0]}: {error}{self._tail()}") from error
        if done.returncode != 0:
            raise CommandFailed(f"{_short(words)}: exit {done.returncode}{self._tail()}")

    def _tail(self) -> str:
        lines = self.path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "".join(f"\n    | {line}" for line in lines) + f"\n    (all of it: {self.path})"


def _short(words: Sequence[str]) -> str:
    return " ".join(word for word in words if not word.startswith("-o"))
