"""Moments as the API writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def write_time(moment: datetime) -> str:
    """Write a moment as the API does, with microseconds so that the order of releases is kept."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def read_time(text: str) -> datetime:
    """Read a moment the API wrote, with or without fractions of a second."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
