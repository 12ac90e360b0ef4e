"""Waiting for a condition, never for a duration."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.02, 0.1
_SHARE = 1 / 30
"""Of what has been waited: 50 looks in each of many seconds would slow down what is waited for."""


class NeverHappened(AssertionError):
    """What was waited for did not come true in time; the message says what, for how long, and what was seen."""


def wait_until(
    predicate: Callable[[], T | None],
    timeout_seconds: float,
    what: str,
    *,
    interval_seconds: float | None = None,
    retry_on: tuple[type[Exception], ...] = (),
) -> T:
    """Return the first truthy value of `predicate`, asked again and again until the timeout.

    Between two questions are `interval_seconds`; without, a thirtieth of what has been waited, 20 to 100 ms.
    An exception of a type in `retry_on` counts as "not yet"; any other goes to the caller. Raises NeverHappened,
    naming `what` and the last value or exception seen. `predicate` is always asked at least once, and once more
    after the time has run out, so that a busy machine is not mistaken for a broken one.
    """
    begun = time.monotonic()
    while True:
        waited_seconds = time.monotonic() - begun
        last_try = waited_seconds >= timeout_seconds
        try:
            value = predicate()
        except retry_on as error:
            seen = f"{type(error).__name__}: {error}"
        else:
            if value:
                return value
            seen = repr(value)
        if last_try:
            raise NeverHappened(f"{what}: not within {timeout_seconds:g} s (last seen: {seen[:500]})")
        time.sleep(interval_seconds or min(_LONGEST_SECONDS, max(_SHORTEST_SECONDS, waited_seconds * _SHARE)))
