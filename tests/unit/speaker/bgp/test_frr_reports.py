"""What FRR has said, summed up."""

from __future__ import annotations

from dataclasses import replace

from speaker.bgp.frr_reports import FrrReports
from speaker.bgp.reports import Snapshot
from tests.unit.speaker.bgp.said_by_bgp import SIX, TOR, session

UP = session(TOR, established_at=1000.0)


def since(*states: float, drops: tuple[int, ...] = ()) -> float | None:
    reports = FrrReports()
    for state, ended in zip(states, drops or (0,) * len(states), strict=True):
        reports.set_states("", {"tor": replace(UP, established_at=state, drops=ended)})
    return reports.states["tor"].established_at


def test_moment_of_a_session_that_goes_on_stays_though_bgpd_works_it_out_anew() -> None:
    assert since(1000.0, 1001.0, 999.0) == 1000.0


def test_state_of_the_session_to_another_address_is_none_of_the_one_that_there_is_now() -> None:
    reports = FrrReports()
    reports.set_states("", {"tor": UP})
    for peer, known in ((TOR, {"tor": UP}), (replace(TOR, vrf="red"), {}), (SIX, {})):
        reports.keep({"tor": peer})
        assert reports.snapshot(Snapshot(node="node-1")).states == known


def test_state_of_a_session_that_was_taken_away_is_none_of_the_one_that_comes_later() -> None:
    """Also of a VRF whose only session it was, which is asked about no more."""
    reports = FrrReports()
    reports.set_states("", {"tor": UP})
    reports.keep({"six": SIX})
    assert reports.states == {}
    reports.set_states("red", {"six": session(SIX)})
    reports.keep({"six": SIX})
    assert reports.states.keys() == {"six"}


def test_session_that_has_ended_and_come_back_is_of_another_moment() -> None:
    assert since(1000.0, 1030.0, drops=(0, 1)) == 1030.0
