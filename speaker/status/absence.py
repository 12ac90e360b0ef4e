"""Whether a node that is not heard has gone: its Lease shows it, however the clocks of the two differ."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from allocator.kube.client import Cluster, NotFound
from allocator.kube.resource import LEASES
from allocator.objects.names import SPEAKER_LEASE_PREFIX

GONE_SECONDS = 25.0
"""Without a renewal: as long as a Lease counts for the speakers themselves."""
_LOOK_SECONDS = 5.0
_KEPT_SECONDS = 600.0
"""After which what was seen of a node that nobody asked about again is forgotten."""


@dataclass(slots=True)
class _Seen:
    renewed: str
    at: float
    missed: float = 0.0


class AbsentNodes:
    """Looks at Leases of nodes when asked about them, each every few seconds at most. Belongs to one thread.

    Only time between looks counts, and little of a long one: the API server may have been away, so that nobody could
    renew.
    """

    def __init__(self, cluster: Cluster, *, namespace: str, now: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._now = now
        self._seen: dict[str, _Seen] = {}

    def is_gone(self, node: str) -> bool:
        """Return whether its speaker has ended or has not renewed its Lease for long. Raises ApiError."""
        now = self._now()
        seen = self._seen.get(node)
        if seen is None or now - seen.at >= _LOOK_SECONDS:
            renewed = self._renewal(node)
            if seen is None or renewed != seen.renewed:
                seen = self._seen[node] = _Seen(renewed, now)
            seen.missed += min(now - seen.at, 2 * _LOOK_SECONDS)
            seen.at = now
            for other in [each for each, one in self._seen.items() if now - one.at > _KEPT_SECONDS]:
                del self._seen[other]
        return not seen.renewed or seen.missed >= GONE_SECONDS

    def _renewal(self, node: str) -> str:
        """When the Lease was renewed, as it says; empty where no speaker has it."""
        try:
            lease = self._cluster.get(LEASES, f"{SPEAKER_LEASE_PREFIX}{node}", self._namespace)
        except NotFound:
            return ""
        spec = lease.get("spec") or {}
        return str(spec.get("renewTime") or "") if spec.get("holderIdentity") else ""
