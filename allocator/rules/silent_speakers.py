"""Speakers that have stopped renewing their Leases: what they reported is of then."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from allocator.kube.timestamps import read_time
from allocator.objects.document import Document
from allocator.objects.names import SPEAKER_LEASE_PREFIX

_DURATION_SECONDS = 30
"""What a speaker's Lease says of itself."""
_WRONG_CLOCK = timedelta(minutes=10)
"""By how much the clock of whoever asks may be wrong: the latest renewal of any Lease is the cluster's time."""


def silent_since(leases: Iterable[Document], at: datetime) -> dict[str, str]:
    """Return the nodes whose speaker's Lease has run out, and when each was last renewed, as the API writes it."""
    renewed = {lease["metadata"]["name"]: (lease, moment) for lease in leases if (moment := renewal(lease))}
    latest = max((moment for _, moment in renewed.values()), default=at)
    now = latest if at - latest < _WRONG_CLOCK else at
    return {
        name.removeprefix(SPEAKER_LEASE_PREFIX): str(lease["spec"]["renewTime"])
        for name, (lease, moment) in renewed.items()
        if name.startswith(SPEAKER_LEASE_PREFIX)
        and now - moment > timedelta(seconds=lease["spec"].get("leaseDurationSeconds") or _DURATION_SECONDS)
    }


def renewal(lease: Document) -> datetime | None:
    """Return when a Lease was renewed last; None where it does not say."""
    text = (lease.get("spec") or {}).get("renewTime")
    try:
        return read_time(text) if text else None
    except (TypeError, ValueError):
        return None
