"""The two durations that a speaker is configured with, what follows from them, and which pairs of them work."""

from __future__ import annotations

DEFAULT_INTERVAL_SECONDS = 0.1
DEFAULT_DEAD_AFTER_SECONDS = 0.5
INTERVALS_TO_DEATH = 3.0
"""How many intervals of silence, at least, make a node dead: with fewer, two lost heartbeats would."""
TURN_INTERVALS = 1.5
"""For how many intervals of listening one turn of the loop counts at most. It comes every interval, or is late."""
LATE_SECONDS = 0.05
"""By how much an idle machine may wake the loop up too late: a turn and as much must fit in before the fence closes,
or a healthy node would stop answering between two of its own heartbeats."""


class UnfitDurations(ValueError):
    """An interval and a silence with which a healthy node would not go on answering; the message says what to use."""


def fence_seconds(interval_seconds: float, dead_after_seconds: float) -> float:
    """Return after how long without a turn of its loop a node has to take others for having given it up."""
    return dead_after_seconds - TURN_INTERVALS * interval_seconds


def check_durations(interval_seconds: float, dead_after_seconds: float) -> None:
    """Raise UnfitDurations unless a speaker works with this interval and this silence that is death."""
    turn_and_late = (TURN_INTERVALS + 1.0) * interval_seconds + LATE_SECONDS
    least = round(max(INTERVALS_TO_DEATH * interval_seconds, turn_and_late), 6)
    if dead_after_seconds < least:
        raise UnfitDurations(
            f"--dead-after {dead_after_seconds:g} is too short for --heartbeat-interval {interval_seconds:g}: a node "
            f"that is healthy would be given up, or stop answering, between two heartbeats; use at least {least:g}"
        )
