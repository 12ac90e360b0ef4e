"""Namespaces: the annotations that are read there."""

from __future__ import annotations

from allocator.objects import names
from allocator.objects.document import Document, InvalidDocument, Problem, annotations_of


def quota_of(namespace: Document | None) -> int | None:
    """Read how many addresses a namespace may hold; None when it does not say. Raises InvalidDocument."""
    text = annotations_of(namespace).get(names.QUOTA_ANNOTATION)
    if text is None:
        return None
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit()):
        who = ((namespace or {}).get("metadata") or {}).get("name")
        path = f"metadata.annotations[{names.QUOTA_ANNOTATION}]"
        raise InvalidDocument(
            [Problem(path, f"{text!r} on namespace {who} is not a number; write how many addresses it may hold")]
        )
    return int(stripped)
