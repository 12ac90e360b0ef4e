"""What FRR has said, summed up."""

from __future__ import annotations

from dataclasses import replace

from speaker.bgp.frr_reports import FrrReports
from tests.unit.speaker.bgp.said_by_bgp import TOR, session

UP = session(TOR, established_at=1000.0)


def since(*states: float, drops: tuple[int, ...] = ()) -> float | None:
    reports = FrrReports()
    for state, ended in zip(states, drops or (0,) * len(states), strict=True):
        reports.set_states("", {"tor": replace(UP, established_at=state, drops=ended)})
    return reports.states["tor"].established_at


def test_moment_of_a_session_that_goes_on_stays_though_bgpd_works_it_out_anew() -> None:
    assert since(1000.0, 1001.0, 999.0) == 1000.0


def test_session_that_has_ended_and_come_back_is_of_another_moment() -> None:
    assert since(1000.0, 1030.0, drops=(0, 1)) == 1030.0
