"""The counters in IPAddressPool.status, derived from the claims."""

from __future__ import annotations

from allocator import names
from allocator.cluster import Cluster, Object
from allocator.core.addresses import Family
from allocator.core.claims import Claim
from allocator.core.pools import Pool
from allocator.documents import Document

_INT64_MAX = (1 << 63) - 1


def counters(pool: Pool, claims: list[Claim]) -> dict[str, int]:
    """Count what is assigned and what is still available; a cooling address is available.

    What does not fit an int64 (an IPv6 /64) is written as the largest that does, never as a negative number.
    """
    counts: dict[str, int] = {}
    for family in Family:
        assigned = [
            claim for claim in claims if claim.in_use and claim.address.family is family and pool.spans(claim.address)
        ]
        inside = sum(pool.contains(claim.address) for claim in assigned)
        counts[f"assigned{family}"] = len(assigned)
        counts[f"available{family}"] = min(max(pool.capacity(family) - inside, 0), _INT64_MAX)
    return counts


def write(cluster: Cluster, document: Object, counts: dict[str, int]) -> bool:
    """Write the counters if they differ from what the pool shows, and tell whether they did. Raises ApiError."""
    if all(_shown(document).get(key) == value for key, value in counts.items()):
        return False
    metadata = document["metadata"]
    cluster.patch(
        names.IP_ADDRESS_POOLS, metadata["name"], {"status": counts}, metadata["namespace"], subresource="status"
    )
    return True


def _shown(document: Document) -> Document:
    status: Document = document.get("status") or {}
    return status
