"""When announcements go out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.pacing import BURST_SECONDS, BurstSchedule, TokenBucket

VIP, OTHER = Address.parse("192.0.2.100"), Address.parse("192.0.2.101")


def drain(schedule: BurstSchedule, now: float) -> list[tuple[Address, int]]:
    popped = []
    while (ready := schedule.pop(now)) is not None:
        popped.append(ready)
    return popped


def test_a_burst_follows_the_plan_and_then_ends() -> None:
    schedule = BurstSchedule()
    schedule.start(VIP)
    moments = []
    now = 100.0
    while (due := schedule.next_due()) is not None:
        now = max(now, due)
        moments += [now - 100.0 for _ in drain(schedule, now)]
    assert moments == pytest.approx(BURST_SECONDS)


def test_nothing_comes_before_it_is_due() -> None:
    schedule = BurstSchedule((0.0, 0.5))
    schedule.start(VIP)
    assert drain(schedule, 10.0) == [(VIP, 0)]
    assert drain(schedule, 10.49) == []
    assert drain(schedule, 10.5) == [(VIP, 1)]


def test_a_released_address_never_comes_up_again() -> None:
    schedule = BurstSchedule()
    schedule.start(VIP)
    schedule.start(OTHER)
    schedule.release(OTHER)
    assert drain(schedule, 0.0) == [(VIP, 0)]
    schedule.release(VIP)
    assert drain(schedule, 1000.0) == []
    assert schedule.next_due() is None


def test_starting_again_restarts_the_burst_instead_of_doubling_it() -> None:
    schedule = BurstSchedule((0.0, 1.0))
    schedule.start(VIP)
    drain(schedule, 0.0)
    schedule.start(VIP)
    assert drain(schedule, 0.5) == [(VIP, 0)]
    assert drain(schedule, 1.0) == []
    assert drain(schedule, 1.5) == [(VIP, 1)]


def test_first_announcements_come_before_repeats_that_are_overdue() -> None:
    schedule = BurstSchedule((0.0, 0.1))
    schedule.start(VIP)
    drain(schedule, 0.0)
    schedule.start(OTHER)
    assert drain(schedule, 50.0) == [(OTHER, 0), (VIP, 1)]


@given(st.lists(st.tuples(st.sampled_from(["start", "release", "pop"]), st.integers(0, 5), st.floats(0, 2))))
def test_only_started_and_not_released_addresses_come_up(steps: list[tuple[str, int, float]]) -> None:
    schedule = BurstSchedule()
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
