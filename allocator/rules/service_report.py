"""How a decision is reported: one condition, one message, and Events under MetalLB's reasons when they change.

Condition, Event, `plan` and `explain` say what `message_of` and `reason_for` say; admission warns in the same text.
Messages are the decision's own. Event reasons and texts: MetalLB controller/service.go convergeBalancer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocator.core.addresses import Address
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision, NoteKind, RefusalKind
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
class ServiceEvent:
    """One Event about a Service."""

    reason: str
    message: str
    normal: bool = True


def condition_for(request: ServiceRequest, decision: Decision) -> Condition:
    """Say what the Service has, and what it still wants with the reason why it has not got it."""
    given = " and ".join(f"{place.address} from pool {place.pool}" for place in decision.placements)
    message = message_of(decision)
    if decision.refusal is None and given:
        notes = "; ".join(_without_label(note.message, request) for note in decision.notes)
        message = f"{given}; {notes}" if notes else given
    return Condition(
        type=IP_ASSIGNED,
        status="True" if decision.placements else "False",
        reason=reason_for(decision),
        message=message[:MESSAGE_LIMIT],
    )


def message_of(decision: Decision) -> str:
    """Say why the Service has not all it asks for, or what else its author should know; empty where there is nothing.

    With a refusal that is all: what may come of a request that is not met yet is not said beforehand.
    """
    if decision.refusal is not None:
        return decision.refusal.message
    first, *more = (note.message for note in decision.notes) if decision.notes else ("",)
    label = first.partition(_LABEL_SEPARATOR)[0] + _LABEL_SEPARATOR
    return "; ".join((first, *(message.removeprefix(label) for message in more)))


def reason_for(decision: Decision) -> str:
    """Return the state in one word: why nothing is assigned, or how far what is assigned was asked for."""
    if decision.refusal is not None and not decision.placements:
        return reason_of(decision.refusal.kind)
    if decision.refusal is not None:
        return "AssignedNotAsRequested"
    return "Assigned" if decision.is_complete else "AssignedInPart"


def reason_of(kind: RefusalKind) -> str:
    """Return `not-in-pool` as a condition spells it: NotInPool."""
    return "".join(part.title() for part in kind.split("-"))


def stored_condition(service: Document) -> Document | None:
    """Return our condition as the Service shows it."""
    conditions: Iterable[Document] = (service.get("status") or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == IP_ASSIGNED), None)


def events_of_request(request: ServiceRequest, decision: Decision) -> list[ServiceEvent]:
    """Return what of the request is not met or should be known, for when that is new."""
    refusal = decision.refusal
    if refusal is not None:
        why = _without_label(refusal.message, request)
        if refusal.kind is RefusalKind.MALFORMED:
            return [ServiceEvent("LoadBalancerFailed", f"invalid requested loadbalancer IPs: {why}", normal=False)]
        return [ServiceEvent("AllocationFailed", f'Failed to allocate IP for "{request.label}": {why}', normal=False)]
    return [_event_of_note(note.kind, _without_label(note.message, request)) for note in decision.notes]


def events_of_losses(request: ServiceRequest, decision: Decision, lost: Mapping[Address, str]) -> list[ServiceEvent]:
    """Return what the Service, or others because of it, lose though it is asked for, with the reason for each."""
    reasons = [_without_label(decision.lost_share.message, request)] if decision.lost_share is not None else []
    reasons += list(lost.values())
    events = []
    if reasons:
        said = f'current IP for "{request.label}" not allowed by config, will attempt for new IP assignment: '
        events.append(ServiceEvent("ClearAssignment", said + "; ".join(reasons)))
    if decision.displaced is not None:
        events.append(ServiceEvent("SharingEnded", _without_label(decision.displaced.message, request), normal=False))
    return events


def events_of_addresses(service: Object, addresses: Sequence[Address]) -> list[ServiceEvent]:
    """Return the addresses that the Service did not show before, and those beyond one a family that it showed."""
    before = addresses_in_status(service)
    if tuple(addresses) == before:
        return []
    surplus = _beyond_one_a_family(before, addresses)
    added = [address for address in addresses if address not in before]
    if before and set(before) < set(addresses):
        shown = [ServiceEvent("IPAllocated", f'Assigned additional IP "{address}"') for address in added]
    elif added:
        quoted = " ".join(f'"{address}"' for address in addresses)
        shown = [ServiceEvent("IPAllocated", f"Assigned IP [{quoted}]")]
    else:
        return surplus
    deprecated = deprecated_annotations(service)
    return (
        surplus
        + shown
        + [
            ServiceEvent("deprecatedAnnotation", f"Service uses deprecated annotation {key}", normal=False)
            for key in deprecated
        ]
    )


def _beyond_one_a_family(before: Sequence[Address], after: Sequence[Address]) -> list[ServiceEvent]:
    """Other load balancers give a Service several addresses of one family (Cilium by request, kube-vip by UPnP)."""
    kept = {address.family: address for address in after if address in before}
    dropped = [address for address in before if address not in after and address.family in kept]
    if not dropped:
        return []
    gone, stays = (", ".join(map(str, each)) for each in (dropped, kept.values()))
    said = f"no longer shows {gone}: a Service has one address of each family, and this one keeps {stays}"
    return [ServiceEvent("ClearAssignment", said, normal=False)]


def _event_of_note(kind: NoteKind, text: str) -> ServiceEvent:
    match kind:
        case NoteKind.FAMILY_MISSING:
            return ServiceEvent("AdditionalAssignFailed", f"cannot assign additional IP in PreferDualStack: {text}")
        case NoteKind.NOT_SHARED:
            return ServiceEvent("NotShared", text, normal=False)
        case NoteKind.DEFERRED:
            return ServiceEvent("AllocationDeferred", text)
        case NoteKind.OTHER_NAMESPACE:
            return ServiceEvent("SharedAcrossNamespaces", text, normal=False)
        case NoteKind.CONFLICTED:
            return ServiceEvent("addressConflict", text, normal=False)


def _without_label(message: str, request: ServiceRequest) -> str:
    return message.removeprefix(request.label + _LABEL_SEPARATOR)
