"""Durations as Go and metav1.Duration write them (`1m30s`, `300ms`); time.ParseDuration of Go's standard library."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # the micro sign
    "μs": 1_000,  # the Greek letter
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_INT64: Final = 1 << 63
_CHARACTERS: Final = 64
"""Longer than any duration that fits, so that nobody's thousands of digits are read as a number."""
_PART = re.compile(r"(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?P<unit>ns|us|µs|μs|ms|s|m|h)")
_SHOWN_CHARACTERS: Final = 40


class DurationError(ValueError):
    """Text that is no duration, or one beyond some 292 years, which no field can hold."""

    def __init__(self, text: str) -> None:
        shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
        super().__init__(f"{shown!r} is no duration; write it like 90s or 1m30s")


def seconds_of(text: str) -> Fraction:
    """Return a duration in seconds, exactly. Raises DurationError."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return Fraction(0)
    if not rest or len(rest) > _CHARACTERS:
        raise DurationError(text)
    nanoseconds, at = Fraction(0), 0
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None or not (part["whole"] or part["fraction"]):
            raise DurationError(text)
        number = Fraction(int(part["whole"] or "0"))
        if part["fraction"]:
            number += Fraction(int(part["fraction"]), 10 ** len(part["fraction"]))
        nanoseconds += int(number * _NANOSECONDS[part["unit"]])
        at = part.end()
    if nanoseconds >= _INT64:
        raise DurationError(text)
    return sign * nanoseconds / _NANOSECONDS["s"]
