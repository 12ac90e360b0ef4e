"""Admission of a Service: decide, reserve, and show the address in the object that leaves admission."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from allocator import names
from allocator.claiming import Claims
from allocator.cluster import ApiError, Object
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision, Outcome
from allocator.documents import InvalidDocument, annotations_of
from allocator.logs import EventLog
from allocator.services import addresses_in_status, deprecated_annotations, request_from, wants_address
from allocator.view import View
from webhook.json_patch import annotation_patch
from webhook.review import AdmissionRequest, Answer

log = EventLog("admission")


class ServiceAdmission:
    """Answers CREATE and UPDATE of Services. Holds no state of its own; safe to call from many threads."""

    def __init__(self, view: View, claims: Claims, *, lb_class: str = "", strict: bool = False) -> None:
        self._view = view
        self._claims = claims
        self._lb_class = lb_class
        self._strict = strict

    def answer(self, review: AdmissionRequest) -> Answer:
        """Admit, warn or deny; at worst, when the API server cannot be asked, leave the Service to the reconciler."""
        service = review.object
        if service is None or not wants_address(service, lb_class=self._lb_class):
            return Answer()
        if (service.get("metadata") or {}).get("deletionTimestamp"):
            return _admitted(service, _carried(review.old_object))
        try:
            return self._decide(review, service)
        except InvalidDocument as error:
            who = f"{review.namespace}/{review.name or '(new)'}"
            return Answer(allowed=False, code=422, message=f"{who}: {error}")

    def _decide(self, review: AdmissionRequest, service: Object) -> Answer:
        request = self._request(review, service)
        carried = _carried(review.old_object)
        warnings = tuple(
            f"annotation {key} is deprecated; use {key.replace('metallb.universe.tf/', 'metallb.io/')}"
            for key in deprecated_annotations(service)
        )
        if _has_assignment(carried) and self._same_wish(review, request):
            return _admitted(service, carried, warnings)
        try:
            decision = self._view.propose(request) if review.dry_run else self._claims.reserve(request)
        except ApiError as error:
            log.warning("admission.undecided", service=request.label, error=error)
            late = f"{request.label}: no address could be reserved now ({error.reason}); it is assigned shortly"
            return _admitted(service, carried, (*warnings, late))
        return self._render(review, service, request, decision, carried, warnings)

    def _render(
        self,
        review: AdmissionRequest,
        service: Object,
        request: ServiceRequest,
        decision: Decision,
        carried: Mapping[str, str | None],
        warnings: tuple[str, ...],
    ) -> Answer:
        refusal = decision.refusal
        if refusal is not None and (decision.outcome is Outcome.DENIED or self._strict):
            log.info("admission.denied", service=request.label, code=refusal.kind.code, why=refusal.message)
            return Answer(allowed=False, code=refusal.kind.code, message=refusal.message, warnings=warnings)
        told = (*warnings, *decision.warnings)
        if not review.dry_run:
            return _admitted(service, _assignment(decision), told)
        if review.operation == "CREATE" and decision.placements:
            listed = ", ".join(str(place.address) for place in decision.placements)
            told = (*told, f"{request.label}: would get {listed} from pool {decision.pools} (dry run)")
        return _admitted(service, carried, told)

    def _request(self, review: AdmissionRequest, service: Object) -> ServiceRequest:
        request = request_from(
            service,
            namespace=review.namespace,
            namespace_labels=self._view.namespace_labels(review.namespace),
            cluster_families=self._view.families,
            current=addresses_in_status(review.old_object),
        )
        return replace(request, name=review.name or request.name)

    def _same_wish(self, review: AdmissionRequest, request: ServiceRequest) -> bool:
        """Whether the update leaves all that a decision reads as it was; then what is held simply stays."""
        old = review.old_object
        if old is None or not wants_address(old, lb_class=self._lb_class):
            return False
        try:
            return self._request(review, old) == request
        except InvalidDocument:
            return False


def _carried(old: Object | None) -> Mapping[str, str | None]:
    """What the stored object says it has: an update that drops it, as a replace does, keeps its address."""
    annotations = annotations_of(old)
    return {key: annotations.get(key) for key in names.OUTPUT_ANNOTATIONS}


def _has_assignment(annotations: Mapping[str, str | None]) -> bool:
    return bool(annotations.get(names.ASSIGNED_IPS_ANNOTATION))


def _assignment(decision: Decision) -> Mapping[str, str | None]:
    if not decision.placements:
        return dict.fromkeys(names.OUTPUT_ANNOTATIONS)
    return {
        names.FROM_POOL_ANNOTATION: decision.pools,
        names.ASSIGNED_IPS_ANNOTATION: ",".join(str(place.address) for place in decision.placements),
    }


def _admitted(service: Object, wanted: Mapping[str, str | None], warnings: tuple[str, ...] = ()) -> Answer:
    """Admit with exactly the assignment in `wanted`; whatever a user wrote under those keys goes."""
    current = (service.get("metadata") or {}).get("annotations")
    return Answer(patch=annotation_patch(current, wanted), warnings=warnings)
