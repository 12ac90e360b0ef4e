"""Speakers that have stopped renewing their Leases: what they reported is of then."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from allocator.objects.document import Document
from allocator.objects.lease import cluster_time, renewal
from allocator.objects.names import SPEAKER_LEASE_PREFIX

_DURATION_SECONDS = 30
"""What a speaker's Lease says of itself."""


def silent_since(leases: Iterable[Document], at: datetime) -> dict[str, str]:
    """Return the nodes whose speaker's Lease has run out, and when each was last renewed, as the API writes it."""
    leases = list(leases)
    now = cluster_time(leases, at)
    return {
        lease["metadata"]["name"].removeprefix(SPEAKER_LEASE_PREFIX): str(lease["spec"]["renewTime"])
        for lease in leases
        if lease["metadata"]["name"].startswith(SPEAKER_LEASE_PREFIX)
        and (moment := renewal(lease)) is not None
        and now - moment > timedelta(seconds=lease["spec"].get("leaseDurationSeconds") or _DURATION_SECONDS)
    }


def renewed(leases: Iterable[Document], at: datetime) -> list[Document]:
    """Return the Leases without those of speakers that have run out: what these say is of then."""
    leases = list(leases)
    silent = {f"{SPEAKER_LEASE_PREFIX}{node}" for node in silent_since(leases, at)}
    return [lease for lease in leases if lease["metadata"]["name"] not in silent]
