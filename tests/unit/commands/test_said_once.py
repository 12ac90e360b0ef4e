"""`explain` names one reason once, on a terminal and in a pipe; what says something else stays."""

from __future__ import annotations

from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

from allocator.commands import explain
from allocator.commands.explanation import Explanation
from allocator.commands.said_once import said_once
from allocator.offline.plan_result import State
from tests.unit.commands.test_explained import shown

REASON = (
    "no IPv4 address left (main: full; odd: only on request (autoAssign: false)); release addresses or extend a pool"
)
STALE = "no pool serves it IPv4 (main: has no IPv4); open or create a pool for it"
PENDING = Explanation(
    namespace="production",
    name="web",
    state=State.PENDING,
    message=f"production/web: {REASON}",
    addresses=(),
    considered=(("main", "full"), ("odd", "only on request (autoAssign: false)")),
    conditions=(
        {
            "type": "admitlb.io/IPAssigned",
            "status": "False",
            "reason": "Exhausted",
            "message": f"production/web: {REASON}",
        },
        {"type": "example.com/Other", "status": "False", "reason": "Other", "message": "of another controller"},
    ),
    events=(
        {"type": "Warning", "reason": "AllocationFailed", "message": f"Failed before: {STALE}", "metadata": {}},
        {"type": "Warning", "reason": "AllocationFailed", "message": f"Failed to allocate: {REASON}", "metadata": {}},
    ),
)


def printed() -> str:
    @click.command()
    def command() -> None:
        explain._show(said_once(PENDING))

    return CliRunner().invoke(command).stdout


@pytest.mark.parametrize("text", [printed(), shown(said_once(PENDING), width=250)], ids=["pipe", "terminal"])
def test_the_reason_is_named_once(text: str) -> None:
    for part in ("no IPv4 address left", "only on request (autoAssign: false)", "release addresses or extend a pool"):
        assert text.count(part) == 1, text
    for part in ("Exhausted", "of another controller", STALE):
        assert part in text
    assert text.count("AllocationFailed") == 2


def test_where_nothing_is_wanted_nothing_is_taken_away() -> None:
    found = replace(PENDING, message="", considered=())
    assert said_once(found) is found
