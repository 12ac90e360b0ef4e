"""What takes Services off claims, and claims for them what they show, on one replica of stored claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from allocator.kube.client import Object
from allocator.reconciler.collection import Collection
from allocator.reconciler.securing import Securing
from allocator.reconciler.shown_addresses import ShownAddresses
from tests.unit.allocation.stored_claims import Replica


def collecting(
    replica: Replica,
    services: Mapping[tuple[str, str], Object],
    shown: ShownAddresses,
    *,
    now: Callable[[], datetime],
) -> tuple[Securing, Collection]:
    """Return both, as a reconciler that leads has them; `services` are mirrored, `shown` follows what they show."""
    securing = Securing(
        replica.cache,
        replica.claims,
        shown,
        find_service=lambda *key: services.get(key),
        require_leadership=lambda: None,
    )
    collection = Collection(
        replica.cache,
        replica.claims,
        require_leadership=lambda: None,
        hand_over=securing.hand_over,
        now=now,
    )
    return securing, collection
