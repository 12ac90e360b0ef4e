"""What commands import before they know what is asked of them: nothing that takes longer than they do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from allocator.cli import _SUMMARIES, main
from tests.unit.commands.manifests import advertisement, pool, service

SLOW = {
    "kubernetes",
    "flask",
    "gunicorn",
    "rich",
    "cryptography",
    "scapy",
    "prometheus_client",
    "pydantic",
    "urllib3",
    "requests",
    "jinja2",
    "werkzeug",
}
UNNEEDED_BY_LINT = {
    "asyncio",
    "difflib",
    "email",
    "hashlib",
    "jsonschema",
    "logging",
    "multiprocessing",
    "socket",
    "ssl",
    "subprocess",
    "zipfile",
}
"""Each is a millisecond or more, of some hundred. A document that has a schema needs jsonschema: some forty more."""
_SCRIPT = """\
import atexit, sys
atexit.register(lambda: print(*sorted({module.split('.')[0] for module in sys.modules})))
from allocator.cli import main
main(sys.argv[1:], prog_name="admitlb")
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["lint", "FILE"],
        ["plan", "FILE"],
        ["doctor", "--help"],
        ["explain", "--help"],
        ["who-has", "--help"],
        ["who-has", "--no-cluster", "not-an-address"],
    ],
    ids=" ".join,
)
def test_a_command_imports_nothing_slow_that_it_does_not_use(words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "main.yaml"
    file.write_text(yaml.safe_dump_all([pool("main", "192.0.2.0/28"), advertisement("all"), service("web")]))
    argv = [str(file) if word == "FILE" else word for word in words]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *argv], check=False, capture_output=True, text=True, timeout=60
    )
    imported = set(done.stdout.splitlines()[-1].split())
    assert "click" in imported, done.stderr
    assert imported & SLOW == set()


def test_lint_imports_nothing_that_it_can_do_without() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, "lint", "--help"], check=True, capture_output=True, text=True, timeout=60
    )
    assert set(done.stdout.splitlines()[-1].split()) & UNNEEDED_BY_LINT == set()


def test_completing_a_command_loads_none() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={"_ADMITLB_COMPLETE": "bash_complete", "COMP_WORDS": "admitlb p", "COMP_CWORD": "1"},
    )
    assert "plain,plan" in done.stdout, done.stderr
    assert set(done.stdout.splitlines()[-1].split()) & SLOW == set()


def test_every_command_is_said_in_the_list_and_the_list_names_no_other() -> None:
    commands = main.list_commands(click.Context(main))
    assert sorted(_SUMMARIES) == commands
    assert all(len(text) <= 64 and text.endswith(".") for text in _SUMMARIES.values())
