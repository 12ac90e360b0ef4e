"""Annotations as requests are read from them: an empty one counts as absent."""

from __future__ import annotations

from collections.abc import Sequence

from allocator.objects.document import Document, annotations_of


def first_annotation(service: Document, keys: Sequence[str]) -> tuple[str | None, str | None]:
    """Return (key, value) of the first key that is set, the stable one before the legacy one.

    An empty annotation counts as absent: charts render those that nobody filled in. (In MetalLB an empty stable
    key hides the legacy one.)
    """
    annotations = annotations_of(service)
    for key in keys:
        value = (annotations.get(key) or "").strip()
        if value:
            return key, value
    return None, None


def annotation_value(service: Document, key: str) -> str:
    """Return the value without white space around it, empty without one."""
    return (annotations_of(service).get(key) or "").strip()
