"""Services as a simulated cluster stores them: what an update keeps, what admission and the reconciler write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from allocator.core.securing import age
from allocator.core.verdicts import Decision
from allocator.objects.document import Document, annotations_of
from allocator.rules.service import annotations_of_decision
from allocator.rules.verdict import Verdict


def age_of(service: Document) -> tuple[str, str, str]:
    """Return what sorts stored Services oldest first."""
    metadata = service["metadata"]
    return age(metadata.get("creationTimestamp") or "", metadata["namespace"], metadata["name"])


def updated(old: Document, new: Document) -> Document:
    """Return the new document with what an update cannot change, or leaves alone unless it says otherwise."""
    spec: dict[str, Any] = dict(new.get("spec") or {})
    before: Mapping[str, Any] = old.get("spec") or {}
    same_families = all(spec.get(field) == before.get(field) for field in ("ipFamilies", "ipFamilyPolicy"))
    if same_families and not (spec.get("clusterIP") or spec.get("clusterIPs")):
        spec |= {field: before[field] for field in ("clusterIP", "clusterIPs") if field in before}
    return {**new, "spec": spec, "status": new.get("status") or old.get("status") or {}}


def named(service: Document, key: tuple[str, str]) -> Document:
    """Return the Service as stored: with its name, and a uid, which one that is only asked about does not have."""
    metadata = service["metadata"]
    uid = metadata.get("uid") or "/".join(key)
    return {**service, "metadata": {**metadata, "namespace": key[0], "name": key[1], "uid": uid}}


def with_assignment(service: Document, verdict: Verdict) -> Document:
    """Return the Service as it leaves admission: the verdict's annotations win over what was written there."""
    if verdict.annotations is None:
        return service
    annotations = {**annotations_of(service), **verdict.annotations}
    kept = {key: value for key, value in annotations.items() if value is not None}
    return {**service, "metadata": {**service["metadata"], "annotations": kept}}


def with_status(service: Document, decision: Decision) -> Document:
    """Return the Service as the reconciler leaves it."""
    annotations = {**annotations_of(service), **annotations_of_decision(decision)}
    kept = {key: value for key, value in annotations.items() if value is not None}
    service = {**service, "metadata": {**service["metadata"], "annotations": kept}}
    ingress = [{"ip": str(place.address)} for place in decision.placements]
    return {**service, "status": {**(service.get("status") or {}), "loadBalancer": {"ingress": ingress}}}
