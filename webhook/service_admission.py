"""Admission of a Service: the common review, with a reservation where the decision is meant to hold."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import Counter

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.core.requests import FamilyPolicy
from allocator.core.verdicts import Decision
from allocator.kube.client import ApiError, Object
from allocator.objects.service import served_by_another
from allocator.process.logs import EventLog
from allocator.rules.service import assignment_of, review_service
from allocator.rules.verdict import Rules, Verdict
from webhook.json_patch import annotation_patch
from webhook.review import AdmissionRequest, Answer

log = EventLog("admission")

UNDECIDED = Counter(
    "admitlb_admission_undecided",
    "Services admitted without an address because the API server could not be asked for one",
)

_DUAL_STACK = (FamilyPolicy.PREFER_DUAL, FamilyPolicy.REQUIRE_DUAL)


class ServiceAdmission:
    """Answers CREATE and UPDATE of Services. Holds no state of its own; safe to call from many threads."""

    def __init__(self, cache: ClaimCache, claims: Allocator, *, rules: Rules) -> None:
        self._cache = cache
        self._claims = claims
        self._rules = rules

    def answer(self, review: AdmissionRequest) -> Answer:
        """Admit, warn or deny; at worst, when the API server cannot be asked, leave it to the reconciler."""
        if review.object is None:
            return Answer()
        who = f"{review.namespace}/{review.name or '(new)'}"
        service = _completed(review, review.object)
        if (service.get("spec") or {}).get("ipFamilyPolicy") in _DUAL_STACK:
            self._cache.look_for_families()
        try:
            verdict = review_service(
                service,
                review.old_object,
                namespace=self._cache.namespace(review.namespace),
                rules=replace(self._rules, families=self._cache.families),
                decide=self._cache.propose if review.dry_run else self._claims.reserve,
                foreign=self._foreign(review),
            )
        except ApiError as error:
            UNDECIDED.inc()
            log.warning("admission.undecided", service=who, error=error)
            late = f"{who}: no address could be reserved now ({error.reason}); it is assigned shortly"
            verdict = Verdict(annotations=assignment_of(review.old_object), warnings=(late,))
        if not verdict.allowed:
            log.info("admission.denied", service=who, code=verdict.code, why=verdict.message)
            return Answer(allowed=False, code=verdict.code, message=verdict.message, warnings=verdict.warnings)
        if review.dry_run:
            verdict = _on_paper(review, verdict)
        if verdict.annotations is None:
            return Answer(warnings=verdict.warnings)
        # Whatever a user wrote under our own keys goes: only the verdict's assignment is shown.
        current = (review.object.get("metadata") or {}).get("annotations")
        return Answer(patch=annotation_patch(current, verdict.annotations), warnings=verdict.warnings)

    def _foreign(self, review: AdmissionRequest) -> bool:
        old = review.old_object
        if old is None or self._cache.held_by(review.namespace, review.name):
            return False
        return served_by_another(old, self._cache.pools())


def _completed(review: AdmissionRequest, service: Object) -> Object:
    """The object with what only the review knows: its namespace, and a name given in the URL."""
    metadata = {**(service.get("metadata") or {}), "namespace": review.namespace}
    if review.name:
        metadata["name"] = review.name
    return {**service, "metadata": metadata}


def _on_paper(review: AdmissionRequest, verdict: Verdict) -> Verdict:
    """A dry run shows what the stored object shows, so that no diff ever sees an address come and go."""
    warnings = verdict.warnings
    decision = verdict.decision
    if review.operation == "CREATE" and decision is not None and decision.placements:
        warnings = (*warnings, _would_get(review, decision))
    if verdict.annotations is None:
        return replace(verdict, warnings=warnings)
    return replace(verdict, warnings=warnings, annotations=assignment_of(review.old_object))


def _would_get(review: AdmissionRequest, decision: Decision) -> str:
    listed = ", ".join(str(place.address) for place in decision.placements)
    return f"{review.namespace}/{review.name or '(new)'}: would get {listed} from pool {decision.pools} (dry run)"
