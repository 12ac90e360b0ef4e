"""What a Service is told: one condition, and Events under MetalLB's reasons when that changes.

Messages are the decision's own. Event reasons and texts: MetalLB controller/service.go convergeBalancer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocator.core.addresses import Address
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.verdicts import Decision, Refusal, RefusalKind
from allocator.objects.document import Document
from allocator.objects.service import addresses_in_status, deprecated_annotations
from allocator.rules.conditions import MESSAGE_LIMIT, Condition

if TYPE_CHECKING:
    # `plan` asks here what waits, and the cluster's client takes longer to import than `plan` to run.
    from allocator.kube.client import Object

IP_ASSIGNED = "admitlb.io/IPAssigned"
"""The type of the condition in Service.status.conditions: True while it has an address of ours."""

_LABEL_SEPARATOR = ": "


@dataclass(frozen=True, slots=True)
class News:
    """One Event about a Service."""

    reason: str
    message: str
    normal: bool = True


def condition_for(request: ServiceRequest, decision: Decision) -> Condition:
    """Say what the Service has, and what it still wants with the reason why it has not got it."""
    if decision.refusal is not None:
        return _condition(bool(decision.placements), reason_of(decision.refusal.kind), decision.refusal.message)
    given = " and ".join(f"{place.address} from pool {place.pool}" for place in decision.placements)
    lacking = _lacking(request, decision)
    if lacking:
        return _condition(True, "AssignedInPart", f"{given}; {lacking}")
    return _condition(True, "Assigned", given)


def condition_for_malformed(service: Object, error: Exception) -> Condition:
    """Say that the wish cannot even be read; what the Service has it keeps."""
    return _condition(bool(addresses_in_status(service)), reason_of(RefusalKind.MALFORMED), str(error))


def waits(request: ServiceRequest, decision: Decision) -> bool:
    """Tell whether the Service wants more than it has, so that it is tried again when capacity or rules change."""
    return decision.refusal is not None or not decision.placements or bool(_lacking(request, decision))


def stored_condition(service: Document) -> Document | None:
    """Return our condition as the Service shows it."""
    conditions: Iterable[Document] = (service.get("status") or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == IP_ASSIGNED), None)


def news_of_malformed(error: Exception) -> News:
    """Tell why the wish cannot be read."""
    return News("LoadBalancerFailed", f"invalid requested loadbalancer IPs: {error}", normal=False)


def news_of_wish(request: ServiceRequest, decision: Decision) -> list[News]:
    """Tell which part of the wish is not met, for when that is new."""
    refusal = decision.refusal
    if refusal is not None:
        why = _without_label(refusal, request)
        if refusal.kind is RefusalKind.MALFORMED:
            return [News("LoadBalancerFailed", f"invalid requested loadbalancer IPs: {why}", normal=False)]
        return [News("AllocationFailed", f'Failed to allocate IP for "{request.label}": {why}', normal=False)]
    lacking = _lacking(request, decision)
    if lacking:
        return [News("AdditionalAssignFailed", f"cannot assign additional IP in PreferDualStack: {lacking}")]
    return []


def news_of_losses(request: ServiceRequest, decision: Decision, lost: Mapping[Address, str]) -> list[News]:
    """Tell of addresses that are taken away unasked, with the reason for each."""
    reasons = [_without_label(decision.lost_share, request)] if decision.lost_share is not None else []
    reasons += list(lost.values())
    why = "; ".join(reasons)
    said = f'current IP for "{request.label}" not allowed by config, will attempt for new IP assignment: {why}'
    return [News("ClearAssignment", said)] if reasons else []


def news_of_addresses(service: Object, addresses: Sequence[Address]) -> list[News]:
    """Tell of addresses the Service did not show before."""
    before = addresses_in_status(service)
    if tuple(addresses) == before:
        return []
    added = [address for address in addresses if address not in before]
    if before and set(before) < set(addresses):
        told = [News("IPAllocated", f'Assigned additional IP "{address}"') for address in added]
    elif added:
        quoted = " ".join(f'"{address}"' for address in addresses)
        told = [News("IPAllocated", f"Assigned IP [{quoted}]")]
    else:
        return []
    deprecated = deprecated_annotations(service)
    return told + [
        News("deprecatedAnnotation", f"Service uses deprecated annotation {key}", normal=False) for key in deprecated
    ]


def _condition(assigned: bool, reason: str, message: str) -> Condition:
    return Condition(
        type=IP_ASSIGNED, status="True" if assigned else "False", reason=reason, message=message[:MESSAGE_LIMIT]
    )


def reason_of(kind: RefusalKind) -> str:
    """`not-in-pool` as a condition spells it: NotInPool."""
    return "".join(part.title() for part in kind.split("-"))


def _lacking(request: ServiceRequest, decision: Decision) -> str:
    """Say which second address PreferDualStack would have liked; empty when it has what it prefers."""
    families = {place.address.family for place in decision.placements}
    missing = [family for family in request.families if family not in families]
    if request.policy is not FamilyPolicy.PREFER_DUAL or request.pins or not families or not missing:
        return ""
    quota = request.applicant.quota
    limit = f", or the quota of {quota} allows no more" if quota is not None else ""
    return f"no pool open to it has an {missing[0]} address left{limit}"


def _without_label(refusal: Refusal, request: ServiceRequest) -> str:
    return refusal.message.removeprefix(request.label + _LABEL_SEPARATOR)
