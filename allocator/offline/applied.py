"""What a live object becomes when a document of it is applied: a three-way merge, as kubectl and Argo CD do it. Pure.

A field of the document is set. One that only the live object has stays (a default, another writer's), unless an
earlier apply set it and the document no longer does: then it goes. What an earlier apply set is known from kubectl's
annotation, or from the fields that a server-side apply owns (metadata.managedFields).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from allocator.objects.document import Document, annotations_of

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_FAMILIES: Final = ("ipFamilies", "clusterIP", "clusterIPs")
"""What the API server chooses by ipFamilyPolicy, unless the document says it."""


def applied(live: Document, document: Document) -> dict[str, Any]:
    """Return the live object as the document changes it; lists are replaced whole. Its status is not in it."""
    annotation = _by_annotation(live)
    former = _by_managed_fields(live) if annotation is None else annotation
    whole = _with_annotations(document) if annotation is not None else document
    merged = _merged(_without(live, "status"), whole, former, by_field=annotation is None)
    metadata = {key: value for key, value in merged["metadata"].items() if key != "managedFields"}
    spec = merged.get("spec")
    if document.get("kind") == "Service" and isinstance(spec, dict):
        merged["spec"] = _with_families_left_to_the_server(spec, live, document)
    return {**merged, "metadata": metadata}


def _merged(
    live: Mapping[str, Any], document: Mapping[str, Any], former: Mapping[str, Any], *, by_field: bool
) -> dict[str, Any]:
    """Merge. Of a map that the document lacks, `by_field` keeps the fields that no apply set."""
    merged = {key: value for key, value in live.items() if key in document or key not in former}
    for key, applied_before in former.items() if by_field else ():
        before = live.get(key)
        # One of which no field is named was applied whole (a Service's selector): it goes whole.
        if key not in document and applied_before and isinstance(before, Mapping):
            left = _merged(before, {}, applied_before, by_field=True)
            merged.update({key: left} if left else {})
    for key, value in document.items():
        before = live.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            applied_before = former.get(key)
            known = applied_before if isinstance(applied_before, Mapping) else {}
            merged[key] = _merged(before, value, known, by_field=by_field)
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def _with_annotations(document: Document) -> Document:
    # Never without: kubectl adds its own to what it applies (GetModifiedConfiguration in k8s.io/kubectl).
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping) or metadata.get("annotations") is not None:
        return document
    return {**document, "metadata": {**metadata, "annotations": {}}}


def _by_annotation(live: Document) -> Mapping[str, Any] | None:
    """The fields that kubectl applied before; None where it does not say."""
    try:
        known = json.loads(annotations_of(live).get(LAST_APPLIED, ""))
    except ValueError:
        known = None
    if isinstance(known, dict):
        return {key: value for key, value in known.items() if key not in ("apiVersion", "kind", "status")}
    return None


def _by_managed_fields(live: Document) -> Mapping[str, Any]:
    """The fields that were applied at the server, as nested maps; of lists, that they were."""
    owned: dict[str, Any] = {}
    for entry in live["metadata"].get("managedFields") or ():
        if entry.get("operation") == "Apply" and not entry.get("subresource"):
            _add_owned(owned, entry.get("fieldsV1") or {})
    return owned


def _add_owned(owned: dict[str, Any], fields: Mapping[str, Any]) -> None:
    """Add what fieldsV1 names: `f:name` is a field, `.` the map or item itself, anything else an item of a list."""
    for key, inner in fields.items():
        if key == ".":
            owned[key] = {}
        if key.startswith("f:"):
            _add_owned(owned.setdefault(key[2:], {}), inner)


def _with_families_left_to_the_server(spec: dict[str, Any], live: Document, document: Document) -> dict[str, Any]:
    """The spec without what another ipFamilyPolicy makes the API server choose anew."""
    before: Mapping[str, Any] = live.get("spec") or {}
    asked: Mapping[str, Any] = document.get("spec") or {}
    if spec.get("ipFamilyPolicy") == before.get("ipFamilyPolicy"):
        return spec
    return {key: value for key, value in spec.items() if key not in _FAMILIES or key in asked}


def _without(document: Document, key: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != key}
