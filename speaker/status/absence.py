"""Whether a node that is not heard has gone: its Lease shows it, however the clocks of the two differ."""

from __future__ import annotations

import time
from collections.abc import Callable

from allocator.kube.client import Cluster, NotFound
from allocator.kube.resource import LEASES
from allocator.objects.names import SPEAKER_LEASE_PREFIX

GONE_SECONDS = 25.0
"""Without a renewal: as long as a Lease counts for the speakers themselves."""
_LOOK_SECONDS = 5.0
_KEPT_SECONDS = 600.0
"""After which what was seen of a node that nobody asked about again is forgotten."""


class AbsentNodes:
    """Looks at Leases of nodes when asked about them, each every few seconds at most. Belongs to one thread."""

    def __init__(self, cluster: Cluster, *, namespace: str, now: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._now = now
        self._renewed: dict[str, tuple[str, float]] = {}
        self._looked: dict[str, float] = {}

    def is_gone(self, node: str) -> bool:
        """Return whether its speaker has ended or has not renewed its Lease for long. Raises ApiError."""
        now = self._now()
        if now - self._looked.get(node, -_LOOK_SECONDS) >= _LOOK_SECONDS:
            renewed = self._renewal(node)
            self._looked[node] = now
            for other in [each for each, at in self._looked.items() if now - at > _KEPT_SECONDS]:
                del self._looked[other], self._renewed[other]
            if renewed != self._renewed.get(node, (None, 0.0))[0]:
                self._renewed[node] = (renewed, now)
        renewed, since = self._renewed[node]
        return not renewed or now - since >= GONE_SECONDS

    def _renewal(self, node: str) -> str:
        """When the Lease was renewed, as it says; empty where no speaker has it."""
        try:
            lease = self._cluster.get(LEASES, f"{SPEAKER_LEASE_PREFIX}{node}", self._namespace)
        except NotFound:
            return ""
        spec = lease.get("spec") or {}
        return str(spec.get("renewTime") or "") if spec.get("holderIdentity") else ""
