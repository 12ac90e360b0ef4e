"""The timers of a BGP session: hold and keepalive time, time between attempts to connect, restart time.

MetalLB internal/config/config.go parseTimers; RFC 4271 4.2 and 4.4; the limits are FRR's (tests/frr).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from allocator.objects.document import Document, Problems
from allocator.objects.durations import DurationError, seconds_of

DEFAULT_HOLD_SECONDS: Final = 180
"""FRR's, where a peer says nothing."""
LONGEST_SECONDS: Final = 65_535
_SHORTEST_HOLD_SECONDS: Final = 3
_LONGEST_RESTART_SECONDS: Final = 4_095
"""RFC 4724 has 12 bits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """Whole seconds; None where FRR's default applies. Hold and keepalive time are given both or neither.

    FRR lowers a keepalive time over a third of the hold time to that third: here it is so from the beginning.
    """

    hold_seconds: int | None = None
    keepalive_seconds: int | None = None
    connect_seconds: int | None = None
    restart_seconds: int | None = None


NO_TIMERS: Final = Timers()


def timers_from(spec: Document, problems: Problems) -> Timers:
    """Read the timers of a BGPPeer's spec; of hold and keepalive time one gives the other (a third)."""
    hold, keepalive = _session(spec, problems)
    return Timers(
        hold_seconds=hold,
        keepalive_seconds=keepalive,
        connect_seconds=_whole(spec, "connectTime", LONGEST_SECONDS, problems),
        restart_seconds=_whole(spec, "restartTime", _LONGEST_RESTART_SECONDS, problems),
    )


def _session(spec: Document, problems: Problems) -> tuple[int | None, int | None]:
    known = problems.count
    given_hold = _duration(spec, "holdTime", problems)
    given_keepalive = _duration(spec, "keepaliveTime", problems)
    if problems.count > known or (given_hold is None and given_keepalive is None):
        return None, None
    keepalive = given_keepalive if given_keepalive is not None else (given_hold or Fraction(0)) / 3
    hold = given_hold if given_hold is not None else 3 * keepalive
    for path, why in _unfit(spec, int(hold), hold, keepalive):
        problems.add(path, why)
    return int(hold), min(int(keepalive), int(hold) // 3)


def _unfit(spec: Document, hold_seconds: int, hold: Fraction, keepalive: Fraction) -> list[tuple[str, str]]:
    hold_path, keepalive_path = "spec.holdTime", "spec.keepaliveTime"
    shown, shown_keepalive = spec.get("holdTime"), spec.get("keepaliveTime")
    if shown is None:
        hold_path, shown = keepalive_path, f"{shown_keepalive}, which gives a hold time of {hold_seconds}s,"
    if hold < 0:
        return [(hold_path, f"{shown} is negative; write 0s (no timers) or {_SHORTEST_HOLD_SECONDS}s or more")]
    if keepalive < 0:
        return [(keepalive_path, f"{shown_keepalive} is negative; leave it out for a third of the hold time")]
    found = []
    if 0 < hold_seconds < _SHORTEST_HOLD_SECONDS or (hold and not hold_seconds):
        found.append((hold_path, f"{shown} is too short; write 0s (no timers) or {_SHORTEST_HOLD_SECONDS}s or more"))
    if hold_seconds > LONGEST_SECONDS:
        found.append((hold_path, f"{shown} is too long; write {LONGEST_SECONDS}s or less"))
    if shown_keepalive is None or found:
        return found
    if 0 < keepalive < 1:
        found.append((keepalive_path, f"{shown_keepalive} is less than a second; write 1s or more"))
    elif keepalive > hold:
        found.append(
            (keepalive_path, f"{shown_keepalive} is longer than holdTime {shown}; write a third of it or less")
        )
    elif not keepalive and hold:
        why = f"{shown_keepalive} sends no keepalives, and the peer ends the session after holdTime {shown}"
        found.append((keepalive_path, f"{why}; leave it out for a third of that"))
    return found


def _whole(spec: Document, field: str, longest: int, problems: Problems) -> int | None:
    duration = _duration(spec, field, problems)
    if duration is None:
        return None
    if duration.denominator != 1 or not 1 <= duration <= longest:
        problems.add(f"spec.{field}", f"{spec[field]} does not fit; write whole seconds from 1s to {longest}s")
        return None
    return int(duration)


def _duration(spec: Document, field: str, problems: Problems) -> Fraction | None:
    text = spec.get(field)
    if text is None:
        return None
    try:
        return seconds_of(text)
    except DurationError as error:
        problems.add(f"spec.{field}", str(error))
        return None
