"""Who may share an address with whom, written from the documentation and not from the code under test."""

from __future__ import annotations

from allocator.core.claims import Holder


def allowed(first: Holder, older: tuple[Holder, ...], younger: Holder, says: bool | None) -> bool:
    """Tell whether a Service may hold an address that `first`, then `older` ones have, where the pool `says` so."""
    if not (first.sharing_key and first.sharing_key == younger.sharing_key):
        return False
    if first.local_traffic is not younger.local_traffic:
        return False
    if first.local_traffic and (first.backend_key != younger.backend_key or first.namespace != younger.namespace):
        return False
    if any(one.ports & younger.ports for one in older):
        return False
    if first.namespace != younger.namespace:
        consent = first.sharing_namespaces
        refuses = consent is not None and not consent & {"*", younger.namespace}
        return says is not False and not refuses
    return True
