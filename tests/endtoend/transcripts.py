"""The documentation's console sessions, as commands to run and output to compare.

A block fenced as `console` is a session: a line that begins with `$ ` is a command (with the lines of its here
document and of its backslashes), the lines after it are what it prints. `[...]` stands for any text, and a last line
`[exit code 1]` says that the command fails. Line breaks count as white space; what differs from run to run (ages,
times, Pod names, node names, cluster IPs) matches its like. A command without output may print anything.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from tests.lab.control_plane import ControlPlane

PROJECT = Path(__file__).parents[2]

_ANY = "[...]"
_NONE: Mapping[str, str] = MappingProxyType({})
_EXIT = re.compile(r"\[exit code (\d+)\]")
_HEREDOC = re.compile(r"<<-?'?(\w+)'?")
_PATIENCE_SECONDS = 30.0
_COMMAND_SECONDS = 120.0
_ASKS = re.compile(r"(?:\w+=\S+ )*(?:kubectl (?:-n \S+ )?(?:get|describe|logs|admitlb|explain)|admitlb|curl)\b")
"""Commands that change nothing: what they print may come true a moment later, so they are asked again."""

_VOLATILE = (
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)",
    r"controller-[a-z0-9]{6,10}-[a-z0-9]{5}",
    r"speaker-[a-z0-9]{5}",
    r"web-[a-z0-9]{6,10}-[a-z0-9]{5}",
    r"node-\d",
    r"\d+(?:\.\d+)? ?ms",
    r"(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)|\d+[mhd]",
    r"10\.96\.\d+\.\d+",
    r"10\.244\.\d+\.\d+",
    r":3\d{4}/",
)
_SPLIT = re.compile("|".join(f"({like})" for like in (re.escape(_ANY), *_VOLATILE)))


class Place(Protocol):
    """Where a session is run: a lab, or a control plane without nodes."""

    @property
    def control_plane(self) -> ControlPlane: ...
    @property
    def directory(self) -> Path: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a session, and the lines it is shown to print."""

    source: str
    command: str
    shown: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """What the command is shown to end with."""
        ended = _EXIT.fullmatch(self.shown[-1]) if self.shown else None
        return int(ended[1]) if ended else 0

    @property
    def asks(self) -> bool:
        """Whether running it again changes nothing."""
        return bool(_ASKS.match(self.command))

    def matches(self, printed: str) -> bool:
        """Tell whether the output is what is shown."""
        shown = [line for line in self.shown if not _EXIT.fullmatch(line)]
        return not shown or re.fullmatch(_pattern(" ".join(shown).split()), printed.strip()) is not None


def steps(path: Path) -> list[Step]:
    """Read a document's sessions."""
    found: list[Step] = []
    inside = False
    lines = iter(enumerate(_dedented(path.read_text().splitlines()), start=1))
    for number, line in lines:
        if line.startswith("```"):
            inside = not inside and line == "```console"
        elif inside and line.startswith("$ "):
            command = "\n".join(_command(line[2:], lines))
            found.append(Step(f"{path.name}:{number}", command, ()))
        elif inside:
            assert found, f"{path.name}:{number}: output without a command"
            last = found[-1]
            found[-1] = Step(last.source, last.command, (*last.shown, line))
    return found


def _dedented(lines: Iterable[str]) -> Iterator[str]:
    """Take the space off that a block within a list begins with, fence and all."""
    space = ""
    for line in lines:
        text = line.lstrip()
        if text.startswith("```"):
            space = "" if space else line[: len(line) - len(text)]
            yield text
        else:
            yield line.removeprefix(space) if line.strip() else ""


def play(place: Place, path: Path, **variables: str) -> None:
    """Run a document's sessions from top to bottom, with these environment variables.

    Raises AssertionError at the first command that does not do what is shown.
    """
    run(place, steps(path), variables)


def run(place: Place, commands: Iterable[Step], variables: Mapping[str, str] = _NONE) -> None:
    """Run commands of a document in their order. Raises AssertionError as `play`."""
    for step in commands:
        _run(place, step, variables)


def _run(place: Place, step: Step, variables: Mapping[str, str]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        last_try = time.monotonic() >= deadline
        done = shell(place, step.command, variables)
        if done.returncode == step.exit_code and step.matches(done.stdout):
            return
        if last_try or not step.asks:
            shown = "\n".join(step.shown)
            raise AssertionError(
                f"{step.source}: $ {step.command}\nended with {done.returncode} and printed\n{done.stdout}\n"
                f"where the document shows\n{shown}"
            )
        time.sleep(0.2)


def shell(
    place: Place, command: str, variables: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    """Run a command line in bash as somebody with the cluster's kubeconfig, in the project's folder.

    Standard error comes with standard output. The network is that of the LANs' gateway, a neighbour of every node.
    """
    plane = place.control_plane
    folders = (Path(sys.executable).parent, plane.binaries.kubectl.parent, os.environ.get("PATH", os.defpath))
    environment = {
        **os.environ,
        "KUBECONFIG": str(plane.kubeconfig()),
        "PATH": ":".join(map(str, folders)),
        # kubectl caches what an API server serves by its address, which every lab has.
        "HOME": str(place.directory),
        **variables,
    }
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_COMMAND_SECONDS,
        cwd=PROJECT,
        env=environment,
    )


def _command(first: str, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    yield first
    heredoc = _HEREDOC.search(first)
    last = first
    while heredoc or last.endswith("\\"):
        _, last = next(lines)
        yield last
        if heredoc and last == heredoc[1]:
            return


def _pattern(words: list[str]) -> str:
    pattern = ""
    for before, word in pairwise(("", *words)):
        # Where anything may be, there may be nothing, and no space around it.
        gap = r"\s*" if _ANY in (before, word) or not before else r"\s+"
        pattern += gap + _word(word)
    return pattern


def _word(word: str) -> str:
    parts = []
    for part in filter(None, _SPLIT.split(word)):
        if part == _ANY:
            parts.append(r"(?s:.*)")
        else:
            like = next((like for like in _VOLATILE if re.fullmatch(like, part)), None)
            parts.append(f"(?:{like})" if like else re.escape(part))
    return "".join(parts)
