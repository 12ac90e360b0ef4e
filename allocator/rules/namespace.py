"""What admission answers for a Namespace."""

from __future__ import annotations

from allocator.objects.document import Document, InvalidDocument
from allocator.objects.namespace import quota_of
from allocator.rules.verdict import Verdict, denied


def review_namespace(new: Document) -> Verdict:
    """Answer the creation or change of a Namespace: its quota must be a number."""
    try:
        quota_of(new)
    except InvalidDocument as error:
        return denied(422, f"Namespace {new['metadata']['name']}: {error}")
    return Verdict()
