"""When announcements go out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.layer2.gratuitous import BURST_SECONDS, AnnouncementSchedule, Reason, TokenBucket

VIP, OTHER = Address.parse("192.0.2.100"), Address.parse("192.0.2.101")


def drain(schedule: AnnouncementSchedule, now: float) -> list[tuple[Address, Reason]]:
    popped = []
    while (ready := schedule.pop(now)) is not None:
        popped.append(ready)
    return popped


def test_a_burst_follows_the_plan_and_then_ends() -> None:
    schedule = AnnouncementSchedule(refresh_seconds=0)
    schedule.start(VIP)
    moments = []
    now = 100.0
    while (due := schedule.next_timer()) is not None:
        now = max(now, due)
        moments += [now - 100.0 for _ in drain(schedule, now)]
    assert moments == pytest.approx(BURST_SECONDS)


def test_nothing_comes_before_it_is_due() -> None:
    schedule = AnnouncementSchedule((0.0, 0.5), refresh_seconds=0)
    schedule.start(VIP)
    assert drain(schedule, 10.0) == [(VIP, Reason.TAKEN)]
    assert drain(schedule, 10.49) == []
    assert drain(schedule, 10.5) == [(VIP, Reason.REPEAT)]


def test_a_released_address_never_comes_up_again() -> None:
    schedule = AnnouncementSchedule(refresh_seconds=0)
    schedule.start(VIP)
    schedule.start(OTHER)
    schedule.release(OTHER)
    assert drain(schedule, 0.0) == [(VIP, Reason.TAKEN)]
    schedule.release(VIP)
    assert drain(schedule, 1000.0) == []
    assert schedule.next_timer() is None


def test_starting_again_restarts_the_burst_instead_of_doubling_it() -> None:
    schedule = AnnouncementSchedule((0.0, 1.0), refresh_seconds=0)
    schedule.start(VIP)
    drain(schedule, 0.0)
    schedule.start(VIP)
    assert drain(schedule, 0.5) == [(VIP, Reason.TAKEN)]
    assert drain(schedule, 1.0) == []
    assert drain(schedule, 1.5) == [(VIP, Reason.REPEAT)]


def test_what_is_started_again_before_its_turn_keeps_it() -> None:
    schedule = AnnouncementSchedule((0.0, 1.0), refresh_seconds=0)
    announced = set()
    for _ in (VIP, OTHER):
        schedule.start(VIP, Reason.DOUBT)
        schedule.start(OTHER, Reason.DOUBT)
        found = schedule.pop(0.0)
        assert found is not None
        announced.add(found[0])
    assert announced == {VIP, OTHER}, "the last of them, too"


def test_first_announcements_come_before_repeats_that_are_overdue() -> None:
    schedule = AnnouncementSchedule((0.0, 0.1), refresh_seconds=0)
    schedule.start(VIP)
    drain(schedule, 0.0)
    schedule.start(OTHER)
    assert drain(schedule, 50.0) == [(OTHER, Reason.TAKEN), (VIP, Reason.REPEAT)]


def test_after_the_burst_an_address_is_refreshed_again_and_again() -> None:
    chances = iter([0.0, 0.5, 0.999])
    schedule = AnnouncementSchedule((0.0, 0.1), refresh_seconds=60, chance=lambda: next(chances))
    schedule.start(VIP, Reason.DOUBT)
    assert drain(schedule, 0.0) == [(VIP, Reason.DOUBT)]
    assert drain(schedule, 0.1) == [(VIP, Reason.REPEAT)]
    # 45 to 75 seconds apart.
    assert drain(schedule, 45.0) == []
    assert drain(schedule, 45.2) == [(VIP, Reason.REFRESH)]
    assert drain(schedule, 105.1) == []
    assert drain(schedule, 105.3) == [(VIP, Reason.REFRESH)]


@given(st.lists(st.floats(0, 200), max_size=50))
def test_refreshes_are_never_closer_than_three_quarters_of_their_interval(pauses: list[float]) -> None:
    schedule = AnnouncementSchedule((0.0,), refresh_seconds=60)
    schedule.start(VIP)
    now, sent = 0.0, []
    for pause in pauses:
        now += pause
        sent += [now for _ in drain(schedule, now)]
    assert all(after - before >= 45 for before, after in itertools.pairwise(sent))


@given(st.lists(st.tuples(st.sampled_from(["start", "release", "pop"]), st.integers(0, 5), st.floats(0, 2))))
def test_only_started_and_not_released_addresses_come_up(steps: list[tuple[str, int, float]]) -> None:
    schedule = AnnouncementSchedule(refresh_seconds=1)
    wanted: set[Address] = set()
    now = 0.0
    for action, value, passed in steps:
        address = Address(Family.IPV4, value)
        now += passed
        if action == "start":
            schedule.start(address)
            wanted.add(address)
        elif action == "release":
            schedule.release(address)
            wanted.discard(address)
        else:
            assert {popped for popped, _ in drain(schedule, now)} <= wanted


@given(st.lists(st.floats(0, 3), max_size=300), st.floats(0.5, 50), st.integers(1, 20))
def test_a_bucket_never_gives_more_than_its_burst_and_rate(gaps: list[float], rate: float, burst: int) -> None:
    bucket = TokenBucket(rate_per_second=rate, burst=burst, now=0.0)
    now, taken = 0.0, 0
    for gap in gaps:
        now += gap
        while bucket.take(now):
            taken += 1
        assert taken <= burst + rate * now + 1e-6


def test_a_bucket_says_how_long_to_wait() -> None:
    bucket = TokenBucket(rate_per_second=4.0, burst=1, now=0.0)
    assert bucket.wait_seconds(0.0) == 0.0
    assert bucket.take(0.0)
    assert not bucket.take(0.1)
    assert bucket.wait_seconds(0.1) == pytest.approx(0.15)
    assert bucket.take(0.25)
