"""Moments as the API writes them."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def write_time(moment: datetime) -> str:
    """Write a moment as the API does, with microseconds so that the order of releases is kept."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def read_time(text: str) -> datetime:
    """Read a moment the API wrote, with or without fractions of a second."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def age_text(moment: str, at: datetime) -> str:
    """Return how long before `at` a moment of the API was, as kubectl writes it; the text itself where it is none."""
    try:
        since = read_time(moment)
    except ValueError:
        return moment
    seconds = max(int((at - (since if since.tzinfo is not None else since.replace(tzinfo=UTC))).total_seconds()), 0)
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), _UNITS[-1])
    return f"{seconds // size}{unit}"
