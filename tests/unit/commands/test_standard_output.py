"""What a command does where its output does not take what it prints: no traceback, and no exit code of an answer."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.commands.manifests import advertisement, pool, service

_SCRIPT = "from allocator.cli import main; main(prog_name='admitlb')"
LONG_NAME = "a-service-whose-name-is-wider-than-the-terminal"


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool and Services that are all served: the exit code of `lint` and `plan` is 0."""
    file = tmp_path_factory.mktemp("input") / "deploy.yaml"
    services = [service(f"{LONG_NAME}-{number}") for number in range(3)]
    file.write_text(yaml.safe_dump_all([pool("main", "192.0.2.0/28"), advertisement("all"), *services]))
    return file


def run(*words: object, stdout: int, **variables: str) -> tuple[int, str]:
    """Return the exit code, and what went to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *map(str, words)],
        check=False,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env={**os.environ, **variables},
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "words", [("lint",), ("lint", "-o", "json"), ("plan",), ("plan", "-o", "json")], ids=" ".join
)
def test_a_reader_that_has_seen_enough_is_no_answer(words: tuple[str, ...], documents: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert run(*words, documents, stdout=writing) == (141, "")
    finally:
        os.close(writing)


@pytest.mark.parametrize("command", ["lint", "plan"])
def test_a_full_disk_is_said_and_is_no_answer(command: str, documents: Path) -> None:
    with Path("/dev/full").open("w") as full:
        code, said = run(command, documents, stdout=full.fileno())
    assert code == 2
    assert said == "Error: what the command prints cannot be written: No space left on device\n"


@pytest.mark.parametrize("command", ["lint", "plan"])
def test_without_an_output_the_exit_code_is_the_answer(command: str, documents: Path) -> None:
    closed = f"import os; os.close(1); os.execv({sys.executable!r}, [{sys.executable!r}, '-c', {_SCRIPT!r}, *WORDS])"
    program = closed.replace("WORDS", repr([command, str(documents)]))
    done = subprocess.run([sys.executable, "-c", program], check=False, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", ["lint", "plan"])
def test_without_an_input_there_is_nothing_to_read(command: str) -> None:
    words = [sys.executable, "-c", _SCRIPT, command, "-"]
    program = f"import os; os.close(0); os.execv({sys.executable!r}, {words!r})"
    done = subprocess.run([sys.executable, "-c", program], check=False, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "Error: -: there is no standard input\n")


def test_completion_for_a_reader_that_has_seen_enough_says_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    completing = "from allocator.commands.kubectl_plugin import complete; complete()"
    try:
        done = subprocess.run(
            [sys.executable, "-c", completing, ""], check=False, stdout=writing, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_character_that_the_output_lacks_stops_nothing(encoding: str, documents: Path, tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    with printed.open("w") as output:
        assert run("plan", documents, stdout=output.fileno(), PYTHONIOENCODING=encoding) == (0, "")
    assert "main  IPv4    3         13         ####----------------  19%" in printed.read_text()


def test_a_narrow_terminal_loses_no_column(documents: Path) -> None:
    mine, terminal = pty.openpty()
    try:
        assert run("plan", documents, stdout=terminal, COLUMNS="30", NO_COLOR="1", TERM="xterm") == (0, "")
        shown = os.read(mine, 1 << 16).decode()
    finally:
        os.close(mine)
        os.close(terminal)
    for text in (LONG_NAME, "Assigned", "192.0.2.2", "main", "19%"):
        assert text in shown
