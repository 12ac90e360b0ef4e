"""Admission of a Service: the common review, with a reservation where the decision is meant to hold."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

from prometheus_client import Counter

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.allocation.claim_writer import LostRace
from allocator.allocation.proposal import Occasion
from allocator.core.requests import FamilyPolicy
from allocator.core.verdicts import Decision
from allocator.kube.client import ApiError, Object
from allocator.process.logs import EventLog
from allocator.rules.foreign_status import left_alone, to_be_taken_over
from allocator.rules.service import Question, ask, assignment_of, judge
from allocator.rules.verdict import Rules, Verdict
from webhook.json_patch import annotation_patch
from webhook.review import AdmissionRequest, Answer

log = EventLog("admission")

UNDECIDED = Counter(
    "admitlb_admission_undecided",
    "Services admitted without an address because the API server could not be asked for one",
)

DEADLINE_SECONDS = 1.5
"""How long after a review has come API calls are made for it. The API server waits 3 s for all of it; one that waited
too long for a thread is admitted without an address, before it keeps the next one waiting."""

_DUAL_STACK = (FamilyPolicy.PREFER_DUAL, FamilyPolicy.REQUIRE_DUAL)


class ServiceAdmission:
    """Answers CREATE and UPDATE of Services. Holds no state of its own; safe to call from many threads."""

    def __init__(
        self, cache: ClaimCache, claims: Allocator, *, rules: Rules, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._deadline_seconds = deadline_seconds
        self._cache = cache
        self._claims = claims
        self._rules = rules

    def answer(self, review: AdmissionRequest) -> Answer:
        """Admit, warn or deny; at worst, when the API server cannot be asked, leave it to the reconciler."""
        if review.object is None:
            return Answer()
        received_at = review.received_at if review.received_at is not None else time.monotonic()
        until = received_at + self._deadline_seconds
        who = f"{review.namespace}/{review.name or '(new)'}"
        service = _completed(review, review.object)
        if (service.get("spec") or {}).get("ipFamilyPolicy") in _DUAL_STACK:
            self._cache.look_for_families(until=until)
        verdict = self._verdict(review, service, until=until)
        if not verdict.allowed:
            log.info("admission.denied", service=who, code=verdict.code, why=verdict.message)
            return Answer(allowed=False, code=verdict.code, message=verdict.message, warnings=verdict.warnings)
        if review.dry_run:
            verdict = _on_paper(review, verdict, self._rules)
        if verdict.annotations is None:
            return Answer(warnings=verdict.warnings)
        # Whatever a user wrote under our own keys goes: only the verdict's assignment is shown.
        current = (review.object.get("metadata") or {}).get("annotations")
        return Answer(patch=annotation_patch(current, verdict.annotations), warnings=verdict.warnings)

    def _verdict(self, review: AdmissionRequest, service: Object, *, until: float) -> Verdict:
        families = self._cache.families
        rules = self._rules if self._rules.families == families else replace(self._rules, families=families)
        namespace = self._cache.namespace(review.namespace)
        asked = ask(service, review.old_object, namespace=namespace, rules=rules, foreign=self._foreign(review))
        if isinstance(asked, Verdict):
            return asked
        if review.dry_run:
            return judge(asked, self._cache.decide(asked.request), rules=rules, decide=self._cache.decide)
        claims = self._claims.until(until)
        occasion = Occasion.CREATION if review.old_object is None else Occasion.CHANGE
        why = "other Services were given what was free each time"
        try:
            for pass_over in claims.attempts():
                with claims.propose(asked.request, occasion, pass_over=pass_over) as proposal, suppress(LostRace):
                    verdict = judge(asked, proposal.decision, rules=rules, decide=self._cache.decide)
                    if verdict.allowed:
                        claims.commit(proposal)
                    return verdict
        except ApiError as error:
            why = error.reason
        return self._undecided(asked, why)

    def _undecided(self, asked: Question, why: str) -> Verdict:
        """Admit without a reservation: the reconciler assigns, as soon as the Service is stored."""
        UNDECIDED.inc()
        log.warning("admission.undecided", service=asked.request.label, why=why)
        late = f"{asked.request.label}: no address could be reserved now ({why}); it is assigned shortly"
        return Verdict(annotations=assignment_of(asked.old, self._rules), warnings=(*asked.warnings, late))

    def _foreign(self, review: AdmissionRequest) -> bool:
        old = review.old_object
        if old is None or self._cache.held_by(review.namespace, review.name):
            return False
        alone = left_alone(
            old,
            namespace=self._cache.namespace(review.namespace),
            pools=self._cache.pools(),
            take_over_foreign=self._rules.take_over_foreign,
        )
        return alone and not to_be_taken_over(review.object)


def _completed(review: AdmissionRequest, service: Object) -> Object:
    """The object with what only the review knows: its namespace, and a name given in the URL."""
    metadata = {**(service.get("metadata") or {}), "namespace": review.namespace}
    if review.name:
        metadata["name"] = review.name
    return {**service, "metadata": metadata}


def _on_paper(review: AdmissionRequest, verdict: Verdict, rules: Rules) -> Verdict:
    """A dry run shows what the stored object shows, so that no diff ever sees an address come and go."""
    warnings = verdict.warnings
    decision = verdict.decision
    if review.operation == "CREATE" and decision is not None and decision.placements:
        warnings = (*warnings, _would_get(review, decision))
    if verdict.annotations is None:
        return replace(verdict, warnings=warnings)
    return replace(verdict, warnings=warnings, annotations=assignment_of(review.old_object, rules))


def _would_get(review: AdmissionRequest, decision: Decision) -> str:
    listed = ", ".join(str(place.address) for place in decision.placements)
    return f"{review.namespace}/{review.name or '(new)'}: would get {listed} from pool {decision.pools} (dry run)"
