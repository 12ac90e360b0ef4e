"""When bgpd's configuration is read again because of what its sessions have."""

from __future__ import annotations

import pytest

from speaker.bgp.discrepancies import LASTS_SECONDS, Discrepancies
from speaker.bgp.reports import SessionState
from tests.unit.speaker.bgp.said_by_bgp import TOR, session

Step = tuple[float, int, SessionState | None]
UP = {sent: session(TOR, sent_prefixes=sent) for sent in range(5)}
DOWN = session(TOR, "Active")
LATER = LASTS_SECONDS


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([(0, 2, UP[2]), (LATER, 2, UP[2])], []),
        ([(0, 2, UP[1]), (LATER - 1, 2, UP[1])], []),
        ([(0, 2, UP[1]), (LATER, 2, UP[1])], [LATER]),
        ([(0, 2, UP[3]), (LATER, 2, UP[3])], [LATER]),
        ([(0, 2, None), (LATER, 2, None)], [LATER]),
        ([(0, 2, DOWN), (LATER, 2, DOWN)], []),
        # Once for each that stays as it is, and again for another.
        ([(0, 2, UP[1]), (LATER, 2, UP[1]), (5 * LATER, 2, UP[1])], [LATER]),
        ([(0, 2, UP[1]), (LATER, 2, UP[1]), (2 * LATER, 2, UP[0]), (3 * LATER, 2, UP[0])], [LATER, 3 * LATER]),
        # Changes are under way.
        ([(0, 2, UP[1]), (LATER, 3, UP[3]), (LATER + 1, 4, UP[3]), (LATER + 2, 4, UP[2])], []),
        # What stays is not found again by each change of a Service, nor by one that was under way at a look.
        ([(0, 2, UP[1]), (LATER, 2, UP[1]), (2 * LATER, 4, UP[3]), (4 * LATER, 4, UP[3])], [LATER]),
        (
            [(0, 2, UP[1]), (LATER, 2, UP[1]), (LATER + 2, 4, UP[1]), (LATER + 4, 4, UP[3]), (3 * LATER, 4, UP[3])],
            [LATER],
        ),
        ([(0, 2, None), (LATER, 2, None), (2 * LATER, 3, None), (4 * LATER, 3, None)], [LATER]),
        # Gone in between.
        ([(0, 2, UP[1]), (1, 2, UP[2]), (LATER, 2, UP[1])], []),
        (
            [
                (0, 2, UP[1]),
                (LATER, 2, UP[1]),
                (LATER + 1, 2, UP[2]),
                (LATER + 2, 2, UP[1]),
                (2 * LATER + 2, 2, UP[1]),
            ],
            [LATER, 2 * LATER + 2],
        ),
    ],
)
def test_what_lasts_is_found_once(steps: list[Step], found: list[float]) -> None:
    now = 0.0
    looking = Discrepancies(clock=lambda: now)
    seen = []
    for now, wanted, state in steps:
        if looking.look({"tor": wanted}, {"tor": state} if state is not None else {}):
            seen.append(now)
    assert seen == found


def test_session_that_nobody_wants_is_none() -> None:
    now = 0.0
    looking = Discrepancies(clock=lambda: now)
    for now in (0.0, LATER):  # noqa: B007
        assert not looking.look({}, {"tor": UP[1]})


def test_a_session_lags_from_the_first_difference_until_there_is_none() -> None:
    now = 0.0
    looking = Discrepancies(clock=lambda: now)
    seen = []
    states = (UP[2], UP[1], UP[0], UP[2], None, DOWN, UP[1])
    for state in states:
        looking.look({"tor": 2}, {"tor": state} if state is not None else {})
        now += 1
        seen.append(looking.lags().get("tor"))
        now += 1
    assert seen == [None, 1, 3, None, 1, None, 1]
