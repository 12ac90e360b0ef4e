"""How many addresses a namespace may hold."""

from __future__ import annotations

from collections.abc import Sequence

from allocator.core.claims import Ledger
from allocator.core.reasons import Reasons
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.verdicts import Placement, Refusal, RefusalKind


def fit_quota(
    request: ServiceRequest, placements: Sequence[Placement], ledger: Ledger, reasons: Reasons
) -> tuple[list[Placement], list[str]] | Refusal:
    """Cut what PreferDualStack can do without, with a warning for it; refuse what would exceed the quota.

    Moving from one address to another adds nothing, though both are held for a moment. Shared addresses count once.
    """
    allowed = list(placements)
    warnings: list[str] = []
    quota = request.applicant.quota
    if quota is None:
        return allowed, warnings
    held = ledger.held_in(request.namespace)
    mine = {
        claim.address
        for claim in request.claims_in(ledger)
        if all(other.namespace != request.namespace for other in request.others_in(claim))
    }
    while len(held - mine | {place.address for place in allowed}) > quota:
        more = [place for place in allowed if place.address not in held]
        if not more:
            break
        if request.policy is not FamilyPolicy.PREFER_DUAL or request.pins or len(allowed) < 2:
            allows = f"its quota allows{f' and this takes {len(more)}' if len(more) > 1 else ''}"
            return reasons.refusal(
                RefusalKind.QUOTA,
                f"namespace {request.namespace} holds {len(held)} of the {quota} addresses {allows}",
                "release one or raise admitlb.io/ip-quota on the namespace",
            )
        allowed.remove(more[-1])
        warnings.append(
            f"{request.label}: PreferDualStack, but the quota of {quota} in namespace {request.namespace} leaves "
            f"no room for an {more[-1].address.family} address; raise admitlb.io/ip-quota to have both"
        )
    return allowed, warnings
