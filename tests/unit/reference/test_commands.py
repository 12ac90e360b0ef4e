"""The commands of `admitlb` that pages, manifests and messages name exist, with their options; `make` targets too."""

from __future__ import annotations

import re

import pytest

from allocator.doctor.catalogue import CHECKS
from tests.unit.reference.commands import WRITTEN, calls, unknown
from tests.unit.reference.kinds import ROOT
from tests.unit.reference.options import COMPONENTS, commands
from tests.unit.reference.words import PROSE, texts


def test_every_command_that_is_named_exists_with_its_options() -> None:
    named = [(path, number, words) for path in WRITTEN for number, words in calls(path)]
    assert len(named) > 150
    faults = [
        f"{path.name}:{number}: admitlb {words}: {fault}"
        for path, number, words in named
        if (fault := unknown(words))
    ]
    assert faults == []


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("lint deploy/ -o github", ""),
        ("plan deploy/ --against-cluster --prune", ""),
        ("bgp roll --apply --node x", ""),
        ("install --apply -- --context lab", ""),
        ("@ git+https://…", ""),
        ("diagnose", "diagnose"),
        ("lint deploy/ --fix", "--fix"),
        ("bgp --apply", "--apply"),
        ("plan deploy/ -n shop --pods", "--pods"),
    ],
)
def test_what_does_not_exist_is_noticed(words: str, fault: str) -> None:
    assert unknown(words) == fault


def test_the_page_of_commands_lists_every_command_for_people() -> None:
    page = (ROOT / "docs" / "reference" / "commands.md").read_text()
    listed = re.findall(r"^\| \[`([a-z -]+)`\]\(#", page, re.M)
    assert sorted(listed) == sorted(set(commands()) - set(COMPONENTS))


def test_the_example_of_doctor_makes_as_many_checks_as_there_are() -> None:
    page = (ROOT / "docs" / "reference" / "commands.md").read_text()
    assert re.findall(r"^(\d+) of (\d+) checks made", page, re.M) == [(str(len(CHECKS)),) * 2]


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M))
    named = {
        (path.name, target)
        for path in PROSE
        for _, line in texts(path)
        for target in re.findall(r"(?:`|\$ )make ([a-z][\w-]*)", line)
    }
    assert len(named) > 15
    assert {one for one in named if one[1] not in targets} == set()


def test_every_event_of_a_log_that_is_named_exists() -> None:
    """As `event=NAME`: a runbook that searches a log for another finds nothing."""
    code = "\n".join(
        path.read_text() for package in ("allocator", "webhook", "speaker") for path in (ROOT / package).rglob("*.py")
    )
    named = {
        (path.name, event)
        for path in PROSE
        for _, line in texts(path)
        for event in re.findall(r"event=([a-z][a-z.-]*[a-z])(?![a-z(])", line)
    }
    assert len(named) > 15
    assert {(page, event) for page, event in named if f'"{event}' not in code} == set()
