"""What is read of Leases (coordination.k8s.io/v1): renewals, what time it is by them, subnets of nodes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from allocator.core.addresses import AddressError, AddressRange
from allocator.kube.timestamps import read_time
from allocator.objects.document import Document, annotations_of
from allocator.objects.names import SPEAKER_LEASE_PREFIX, SPEAKER_SUBNETS_ANNOTATION

_WRONG_CLOCK = timedelta(minutes=5)
"""By how much the clock of whoever asks may be wrong."""
SUBNETS_READ = 256
"""Of one Lease at most: more than speakers write."""


def renewal(lease: Document) -> datetime | None:
    """Return when a Lease was renewed last; None where it does not say."""
    text = (lease.get("spec") or {}).get("renewTime")
    try:
        return read_time(text) if text else None
    except (TypeError, ValueError):
        return None


def cluster_time(leases: Iterable[Document], at: datetime) -> datetime:
    """Return the latest renewal of any Lease, unless that is long ago by the local clock, which says `at`.

    The clock of the machine that asks may be wrong by more than a Lease lasts.
    """
    latest = max((moment for lease in leases if (moment := renewal(lease)) is not None), default=at)
    return latest if at - latest <= _WRONG_CLOCK else at


def subnets_by_node(leases: Iterable[Document]) -> dict[str, list[AddressRange]]:
    """Return the subnets of each node with a speaker, as its Lease lists them.

    What cannot be read in it, or is too much, is passed over.
    """
    found: dict[str, list[AddressRange]] = {}
    for lease in leases:
        name = lease["metadata"]["name"]
        if not name.startswith(SPEAKER_LEASE_PREFIX) or not (lease.get("spec") or {}).get("holderIdentity"):
            continue
        subnets = found.setdefault(name.removeprefix(SPEAKER_LEASE_PREFIX), [])
        written = annotations_of(lease).get(SPEAKER_SUBNETS_ANNOTATION, "")
        for text in written.split(",", SUBNETS_READ)[:SUBNETS_READ]:
            try:
                subnets.append(AddressRange.parse(text))
            except AddressError:
                continue
    return found
