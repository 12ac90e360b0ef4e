"""How much a speaker writes for people: a change at once, a thousand moved addresses within a minute."""

from __future__ import annotations

from speaker.status.rate_limit import STATUS_WRITES_AT_ONCE, STATUS_WRITES_PER_SECOND, WritePace

DAY = 86_400.0
HOUR = 3600.0


class Writer:
    """Has always more to write, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pace = WritePace(
            per_second=STATUS_WRITES_PER_SECOND, at_once=STATUS_WRITES_AT_ONCE, now=lambda: self.now
        )

    def write_until(self, end: float, at_most: float = float("inf")) -> int:
        written = 0
        while self.now < end and written < at_most:
            wait_seconds = self.pace.take()
            self.now += wait_seconds + 1e-9 if wait_seconds else 0.0
            written += not wait_seconds
        return written


def test_the_addresses_of_a_node_with_a_thousand_are_shown_within_a_minute() -> None:
    writer = Writer()
    writer.write_until(DAY, at_most=1000)
    assert writer.now < 60


def test_no_second_has_more_than_the_api_server_can_well_bear() -> None:
    writer = Writer()
    writer.write_until(1.0)
    assert writer.write_until(11.0) <= 10 * STATUS_WRITES_PER_SECOND + 1


def test_after_a_long_day_of_writing_the_next_change_waits_no_longer_than_after_a_quiet_one() -> None:
    writer = Writer()
    # Of the day the last hour: what each of 70,000 writes lets add up shows as well, and so does a clock's rounding.
    writer.now = DAY - HOUR
    writer.write_until(DAY)
    begun = writer.now
    writer.write_until(2 * DAY, at_most=3)
    assert writer.now - begun < 0.2
