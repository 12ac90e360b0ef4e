"""Sharing: when two Services may hold one address."""

from __future__ import annotations

from allocator.core.claims import Claim
from allocator.core.pools import Pool
from allocator.core.requests import ServiceRequest


def clash(request: ServiceRequest, claim: Claim, pool: Pool | None) -> str | None:
    """Say why the Service may not hold the claimed address beside its other holders, or None.

    MetalLB: internal/allocator/allocator.go sharingOK.
    """
    others = request.others_in(claim)
    if not others:
        return None
    names = ", ".join(str(other) for other in others)
    held = f"{claim.address} is held by {names}"
    if not request.sharing_key or not claim.sharing_key:
        return held
    if request.sharing_key != claim.sharing_key:
        return f"{held} under sharing key {claim.sharing_key!r}, not {request.sharing_key!r}"
    if any(other.backend_key != request.backend_key for other in others):
        return f"{held}, whose externalTrafficPolicy or selector differs"
    foreign = any(other.namespace != request.namespace for other in others)
    if foreign and request.local_traffic:
        return f"{held}, and namespaces never share under externalTrafficPolicy Local"
    if foreign and pool is not None and not pool.allow_cross_namespace_sharing:
        return f"{held}, and pool {pool.name} forbids sharing between namespaces"
    common = request.ports & frozenset(port for other in others for port in other.ports)
    if common:
        return f"{held}, which use the same {', '.join(str(port) for port in sorted(common))}"
    return None
