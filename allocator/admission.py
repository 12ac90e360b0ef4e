"""What admission answers, as functions of documents: the webhook, `lint` and `plan` call the same ones.

Nothing here does I/O. Where an answer needs an address, the caller says how one is decided on: with a reservation
(admission), or on paper (dry run, `lint`, `plan`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from allocator import names
from allocator.core.addresses import Family
from allocator.core.pools import PriorityOrder
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision, Outcome, Refusal
from allocator.documents import (
    Document,
    InvalidDocument,
    annotations_of,
    check_l2_advertisement,
    quota_of,
)
from allocator.services import addresses_in_status, deprecated_annotations, request_from, wants_address


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an installation sets."""

    namespace: str = names.DEFAULT_NAMESPACE
    lb_class: str = ""
    strict: bool = False
    order: PriorityOrder = PriorityOrder.LOWEST_FIRST
    families: tuple[Family, ...] = (Family.IPV4,)
    """The cluster's, primary first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer: `code` is HTTP's, `message` says why when not `allowed`, `warnings` are one line each."""

    allowed: bool = True
    code: int = 200
    message: str = ""
    warnings: tuple[str, ...] = ()
    annotations: Mapping[str, str | None] | None = None
    """The assignment a Service shall carry (None under a key: the key goes); None leaves the object alone."""
    decision: Decision | None = None
    """What was decided, where something had to be."""


def denied(code: int, message: str, warnings: tuple[str, ...] = ()) -> Verdict:
    """A refusal."""
    return Verdict(allowed=False, code=code, message=message, warnings=warnings)


def review_service(
    new: Document,
    old: Document | None,
    *,
    namespace: Document | None,
    rules: Rules,
    decide: Callable[[ServiceRequest], Decision],
    foreign: bool = False,
) -> Verdict:
    """Answer the creation (`old` is None) or change of a Service; what `decide` raises goes to the caller.

    `foreign` says that another controller serves it (`services.served_by_another`): then it is left alone.

    An update that leaves the wish as it was keeps what the stored object shows, without a decision.
    """
    if foreign or not wants_address(new, lb_class=rules.lb_class):
        return Verdict()
    carried = assignment_of(old)
    if new["metadata"].get("deletionTimestamp"):
        return Verdict(annotations=carried)
    try:
        request = _request(new, old, namespace, rules)
    except InvalidDocument as error:
        metadata = new["metadata"]
        who = f"{metadata.get('namespace')}/{metadata.get('name') or metadata.get('generateName', '') + '*'}"
        return denied(422, f"{who}: {error}")
    warnings = tuple(
        f"annotation {key} is deprecated; use {key.replace('metallb.universe.tf/', 'metallb.io/')}"
        for key in deprecated_annotations(new)
    )
    if carried[names.ASSIGNED_IPS_ANNOTATION] and _same_wish(request, old, namespace, rules):
        return Verdict(annotations=carried, warnings=warnings)
    decision = decide(request)
    refusal = _reason_to_deny(decision, rules)
    if refusal is not None:
        return Verdict(
            allowed=False, code=refusal.kind.code, message=refusal.message, warnings=warnings, decision=decision
        )
    return Verdict(annotations=_shown(decision), warnings=(*warnings, *decision.warnings), decision=decision)


def _reason_to_deny(decision: Decision, rules: Rules) -> Refusal | None:
    if rules.strict:
        return decision.refusal or decision.concession
    return decision.refusal if decision.outcome is Outcome.DENIED else None


def assignment_of(service: Document | None) -> Mapping[str, str | None]:
    """What a stored Service says it has: an update that drops it, as a replace does, gets it back."""
    annotations = annotations_of(service)
    return {key: annotations.get(key) for key in names.OUTPUT_ANNOTATIONS}


def review_l2_advertisement(new: Document, *, pools: Mapping[str, object]) -> Verdict:
    """Answer the creation or change of an L2Advertisement; `pools` has the names of those that exist."""
    try:
        check_l2_advertisement(new)
    except InvalidDocument as error:
        return denied(422, f"L2Advertisement {new['metadata']['name']}: {error}")
    listed = (new.get("spec") or {}).get("ipAddressPools") or ()
    missing = [name for name in listed if name not in pools]
    return Verdict(
        warnings=tuple(
            f"L2Advertisement {new['metadata']['name']}: there is no pool {name} (yet); it announces nothing of it"
            for name in missing
        )
    )


def review_bgp(kind: str, new: Document) -> Verdict:
    """Answer the creation or change of an object that only BGP would need: it is kept, and not acted on."""
    text = "AdmitLB does not speak BGP; the object is kept without effect, announce pools by an L2Advertisement"
    return Verdict(warnings=(f"{kind} {new['metadata'].get('name') or '(new)'}: {text}",))


def review_namespace(new: Document) -> Verdict:
    """Answer the creation or change of a Namespace: its quota must be a number."""
    try:
        quota_of(new)
    except InvalidDocument as error:
        return denied(422, f"Namespace {new['metadata']['name']}: {error}")
    return Verdict()


def misplaced(kind: str, document: Document, *, namespace: str, rules: Rules) -> Verdict | None:
    """Refuse an object of ours in a namespace that nobody reads (MetalLB's webhooks do the same on CREATE)."""
    if namespace == rules.namespace:
        return None
    name = document["metadata"]["name"]
    return denied(
        422,
        f"{kind} {name}: metadata.namespace: {namespace} is not read by AdmitLB; create it in {rules.namespace}",
    )


def _request(service: Document, old: Document | None, namespace: Document | None, rules: Rules) -> ServiceRequest:
    return request_from(
        service, namespace=namespace, cluster_families=rules.families, current=addresses_in_status(old)
    )


def _same_wish(request: ServiceRequest, old: Document | None, namespace: Document | None, rules: Rules) -> bool:
    """Whether an update leaves all that a decision reads as it was."""
    if old is None or not wants_address(old, lb_class=rules.lb_class):
        return False
    try:
        return _request(old, old, namespace, rules) == request
    except InvalidDocument:
        return False


def _shown(decision: Decision) -> Mapping[str, str | None]:
    if not decision.placements:
        return dict.fromkeys(names.OUTPUT_ANNOTATIONS)
    return {
        names.FROM_POOL_ANNOTATION: decision.pools,
        names.ASSIGNED_IPS_ANNOTATION: ",".join(str(place.address) for place in decision.placements),
    }
