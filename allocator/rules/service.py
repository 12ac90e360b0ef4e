"""What admission answers for a Service: the webhook, `lint` and `plan` call the same function.

Nothing here does I/O or writes anything. `ask` reads what a Service asks for, the caller decides on it, `judge`
answers; only then may the caller write what was decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision, Outcome, Refusal
from allocator.objects import names
from allocator.objects.assignment import assignment_annotations
from allocator.objects.document import Document, InvalidDocument, annotations_of
from allocator.objects.service import addresses_in_annotation, addresses_in_status, request_from, wants_address
from allocator.rules.foreign_status import why_left_alone
from allocator.rules.local_sharing import local_sharing_warnings
from allocator.rules.service_annotations import annotation_warnings, written_by_hand
from allocator.rules.verdict import Rules, Verdict, denied


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A Service under admission that an address has to be decided for."""

    request: ServiceRequest
    stored: ServiceRequest | None
    """What the stored Service asks for; None where there is none, or that cannot be read."""
    new: Document
    old: Document | None
    warnings: tuple[str, ...]


def review_service(
    new: Document,
    old: Document | None,
    *,
    namespace: Document | None,
    rules: Rules,
    decide: Callable[[ServiceRequest], Decision],
) -> Verdict:
    """Answer the creation (`old` is None) or change of a Service where deciding writes nothing."""
    asked = ask(new, old, namespace=namespace, rules=rules)
    return asked if isinstance(asked, Verdict) else judge(asked, decide(asked.request), rules=rules, decide=decide)


def ask(
    new: Document, old: Document | None, *, namespace: Document | None, rules: Rules, foreign: bool = False
) -> Question | Verdict:
    """Read the creation (`old` is None) or change of a Service; a Verdict where nothing has to be decided.

    `foreign` says that another controller serves it (`foreign_status.left_alone`): then it is left alone.

    An update that leaves the request as it was keeps what the stored object shows, without a decision. One that is
    malformed in nothing but what the stored Service is malformed in as well is admitted, with a warning.
    """
    if not wants_address(new, lb_class=rules.lb_class):
        return Verdict()
    carried = assignment_of(old, rules)
    if foreign:
        # Written by hand beside a status of another controller's, our annotations would have it announced.
        label = f"{new['metadata'].get('namespace')}/{new['metadata'].get('name')}"
        return Verdict(annotations=carried, warnings=(f"{label}: {why_left_alone(old or new)}",))
    if new["metadata"].get("deletionTimestamp"):
        return Verdict(annotations=carried)
    warnings = (*annotation_warnings(new, namespace), *local_sharing_warnings(new))
    stored = _stored_request(old, namespace, rules)
    try:
        request = _request(new, old, namespace, rules)
    except InvalidDocument as error:
        metadata = new["metadata"]
        who = f"{metadata.get('namespace')}/{metadata.get('name') or metadata.get('generateName', '') + '*'}"
        known = stored.problems if isinstance(stored, InvalidDocument) else ()
        if set(error.problems).issubset(known):
            return Verdict(annotations=carried, warnings=(*warnings, f"{who}: {error}"))
        return denied(422, f"{who}: {error}", warnings)
    if carried[names.ASSIGNED_IPS_ANNOTATION] and stored == request:
        return Verdict(annotations=carried, warnings=(*warnings, *written_by_hand(new, old, carried)))
    readable = stored if isinstance(stored, ServiceRequest) else None
    return Question(request=request, stored=readable, new=new, old=old, warnings=warnings)


def judge(
    asked: Question, decision: Decision, *, rules: Rules, decide: Callable[[ServiceRequest], Decision]
) -> Verdict:
    """Answer by what was decided; `decide` decides without writing anything.

    An update is refused for what it changes: what the stored Service is refused in the same words is a warning.
    """
    refusals = _refusals(decision, rules)
    known = _refusals(decide(asked.stored), rules) if refusals and asked.stored is not None else ()
    blamed = next((refusal for refusal in refusals if refusal not in known), None)
    if blamed is not None:
        code, message = blamed.kind.code, blamed.message
        return Verdict(allowed=False, code=code, message=message, warnings=asked.warnings, decision=decision)
    annotations = annotations_of_decision(decision)
    by_hand = written_by_hand(asked.new, asked.old, annotations)
    denials = (refusal.message for refusal in refusals if refusal.message not in decision.warnings)
    warnings = (*asked.warnings, *by_hand, *decision.warnings, *denials)
    return Verdict(annotations=annotations, warnings=warnings, decision=decision)


def _refusals(decision: Decision, rules: Rules) -> tuple[Refusal, ...]:
    """What speaks against admission: under `strict` also what cannot be met yet, and sharing that ends."""
    if not rules.strict:
        return (decision.refusal,) if decision.refusal is not None and decision.outcome is Outcome.DENIED else ()
    refusals = (decision.refusal, decision.lost_share, decision.displaced)
    return tuple(refusal for refusal in refusals if refusal is not None)


def assignment_of(service: Document | None, rules: Rules) -> Mapping[str, str | None]:
    """What a stored Service says it has: an update that drops it, as a replace does, gets it back.

    Nothing where it was not ours to serve: whatever is there was written by hand, and nobody took it away.
    """
    annotations = annotations_of(service) if wants_address(service, lb_class=rules.lb_class) else {}
    return {key: annotations.get(key) for key in names.OUTPUT_ANNOTATIONS}


def _request(service: Document, old: Document | None, namespace: Document | None, rules: Rules) -> ServiceRequest:
    """Read the request. What identifies the stored Service is the stored object's: a replace drops the uid and our
    annotations, and on a creation the uid is not the API server's yet."""
    request = request_from(
        service, namespace=namespace, cluster_families=rules.families, status_addresses=addresses_in_status(old)
    )
    if old is None:
        return request if request.uid is None else replace(request, uid=None)
    return replace(request, uid=old["metadata"].get("uid"), annotated_addresses=addresses_in_annotation(old))


def _stored_request(
    old: Document | None, namespace: Document | None, rules: Rules
) -> ServiceRequest | InvalidDocument | None:
    """Read what the stored Service asks for, or why that cannot be read; None where nothing is asked of us."""
    if old is None or not wants_address(old, lb_class=rules.lb_class):
        return None
    try:
        return _request(old, old, namespace, rules)
    except InvalidDocument as error:
        return error


def annotations_of_decision(decision: Decision) -> Mapping[str, str | None]:
    """Return how a Service shows what was decided: every annotation of ours, None for those it must not have."""
    if not decision.placements:
        return dict.fromkeys(names.OUTPUT_ANNOTATIONS)
    return assignment_annotations(
        [place.address for place in decision.placements],
        pools=decision.pools,
        original_pools=decision.original_pools,
    )
