"""Reference pages are what schemas and commands say now, and tell what everything is for."""

from __future__ import annotations

import re

import click
import pytest

from tests.unit.reference import doctor, election, kinds, options

COMMANDS = (kinds.ROOT / "docs" / "reference" / "commands.md").read_text()
SELF_EVIDENT = ("output", "log_level")
PEOPLE = {name: command for name, command in options.commands().items() if name not in options.COMPONENTS}


def test_the_page_of_kinds_is_current() -> None:
    assert kinds.PAGE.read_text() == kinds.page(), "run: python -m tests.unit.reference.pages"


def test_the_page_of_the_election_is_current() -> None:
    assert election.PAGE.read_text() == election.page(), "run: python -m tests.unit.reference.pages"


def test_the_page_of_checks_is_current() -> None:
    assert doctor.PAGE.read_text() == doctor.page(), "run: python -m tests.unit.reference.pages"


def test_the_page_of_options_is_current() -> None:
    assert options.PAGE.read_text() == options.page(), "run: python -m tests.unit.reference.pages"


@pytest.mark.parametrize("name", options.commands())
def test_every_option_says_what_it_is_for(name: str) -> None:
    command = options.commands()[name]
    assert command.help
    told = [one for one in command.params if isinstance(one, click.Option) and one.name not in SELF_EVIDENT]
    silent = [one.opts for one in told if not one.help]
    assert not silent


@pytest.mark.parametrize("name", PEOPLE)
def test_the_page_of_commands_tells_of_every_command(name: str) -> None:
    assert f"admitlb {name}" in COMMANDS


def test_the_page_of_commands_names_no_option_that_is_not_there() -> None:
    known = {flag for command in options.commands().values() for one in command.params for flag in one.opts}
    assert set(re.findall(r"`(--[a-z-]+)", COMMANDS)) <= known
