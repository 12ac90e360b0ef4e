"""How much a speaker writes for people: little in the long run, a thousand moved addresses within minutes."""

from __future__ import annotations

from speaker.membership.lease_evidence import RENEW_SECONDS
from speaker.status.rate_limit import (
    AT_MOST_PER_SECOND,
    EVENTS_PER_SECOND,
    STATUS_WRITES_PER_SECOND,
    STATUS_WRITES_SAVED,
    WritePace,
)

DAY = 86_400.0


class Writer:
    """Has always more to write, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pace = WritePace(per_second=STATUS_WRITES_PER_SECOND, saved=STATUS_WRITES_SAVED, now=lambda: self.now)

    def write_until(self, end: float, at_most: float = float("inf")) -> int:
        written = 0
        while self.now < end and written < at_most:
            wait_seconds = self.pace.take()
            self.now += wait_seconds + 1e-9 if wait_seconds else 0.0
            written += not wait_seconds
        return written


def test_the_addresses_of_a_node_with_a_thousand_are_shown_within_a_minute_and_all_is_told_in_three() -> None:
    writer = Writer()
    writer.write_until(DAY, at_most=1000)
    assert writer.now < 60
    # Three more for each: a status made and filled in, and a former holder's deleted.
    writer.write_until(DAY, at_most=3000)
    assert writer.now < 180


def test_however_much_there_is_to_say_a_day_has_less_than_half_a_write_a_second() -> None:
    writer = Writer()
    writer.write_until(DAY)
    saved = writer.write_until(2 * DAY)
    assert saved / DAY + EVENTS_PER_SECOND + 1 / RENEW_SECONDS < 0.5


def test_no_second_has_more_than_the_api_server_can_well_bear() -> None:
    writer = Writer()
    writer.write_until(1.0)
    assert writer.write_until(11.0) <= 10 * AT_MOST_PER_SECOND + 1


def test_quiet_hours_are_credit_for_the_next_move() -> None:
    writer = Writer()
    writer.write_until(DAY)
    writer.now += 4 * 3600.0
    begun = writer.now
    writer.write_until(2 * DAY, at_most=3000)
    assert writer.now - begun < 180
