"""What `admitlb explain` shows on a terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from allocator.commands.explain import _show
from allocator.commands.explained import show
from allocator.commands.explanation import Explanation, HeldAddress
from allocator.offline.plan_result import State

HELD = HeldAddress(
    ip="203.0.113.10",
    pool="main",
    state="Bound",
    since="2026-01-01T00:00:00Z",
    node="node-2",
    interfaces=("eth0",),
    announced_since="2026-01-01T00:00:00Z",
    sharers=("production/api",),
)
ASSIGNED = Explanation(
    namespace="production",
    name="web",
    state=State.ASSIGNED,
    message="",
    addresses=(HELD,),
    considered=(),
    conditions=({"type": "admitlb.io/IPAssigned", "status": "True", "reason": "Assigned", "message": "from [main]"},),
    events=({"type": "Normal", "reason": "IPAllocated", "message": 'Assigned IP ["203.0.113.10"]', "metadata": {}},),
)
PENDING = replace(
    ASSIGNED,
    state=State.PENDING,
    message="production/web: no IPv4 address left (main: full)",
    addresses=(),
    considered=(("main", "full"), ("odd", "only on request (autoAssign: false)")),
)


def shown(found: Explanation, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    show(found, console)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_an_address_stands_with_its_announcer_in_one_line() -> None:
    (line,) = [line for line in shown(ASSIGNED).splitlines() if "203.0.113.10  " in line]
    for word in ("main", "Bound", "node-2", "eth0", "production/api"):
        assert word in line


def test_the_state_is_in_the_title() -> None:
    assert "production/web  Assigned" in shown(ASSIGNED).splitlines()[0]


def test_an_address_that_nobody_announces_says_so() -> None:
    assert "nobody, as far as the API shows" in shown(replace(ASSIGNED, addresses=(replace(HELD, node=""),)))


def test_a_service_that_waits_shows_every_pool_and_why_it_says_no() -> None:
    text = shown(PENDING)
    assert "no IPv4 address left (main: full)" in text
    assert "main" in text
    assert "only on request (autoAssign: false)" in text
    assert "ADDRESS" not in text


def test_brackets_are_text_and_no_markup() -> None:
    assert "from [main]" in shown(ASSIGNED)
    assert '["203.0.113.10"]' in shown(ASSIGNED)


def test_a_narrow_terminal_folds_and_drops_nothing() -> None:
    text = shown(ASSIGNED, width=70)
    assert "203.0.113.10" in text
    assert max(map(len, text.splitlines())) <= 70


_WICKED = "\x1b]0;title\x07[bold]x[/bold]\n::add-mask::y\r\x9b2J"


def _wicked() -> Explanation:
    """What somebody who may write Events and conditions in a namespace writes, and all other text as well."""
    document = {"type": _WICKED, "status": _WICKED, "reason": _WICKED, "message": _WICKED, "metadata": {}}
    held = replace(
        HELD, pool=_WICKED, node="", not_announced=_WICKED, sharers=(_WICKED,), left_out=((_WICKED, _WICKED),)
    )
    return Explanation(
        namespace=_WICKED,
        name=_WICKED,
        state=State.PENDING,
        message=_WICKED,
        addresses=(held,),
        considered=((_WICKED, _WICKED),),
        conditions=(document,),
        events=(document,),
    )


def test_no_text_reaches_the_terminal_but_as_text() -> None:
    output = shown(_wicked(), width=400)
    assert not [one for one in output if not one.isprintable() and one != "\n"]
    assert "[bold]x[/bold]" in output


def test_nor_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _show(_wicked())
    output = capsys.readouterr().out
    assert not [one for one in output if not one.isprintable() and one != "\n"]
    assert not [line for line in output.splitlines() if line.startswith("::")]
