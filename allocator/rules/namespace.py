"""What admission answers for a Namespace."""

from __future__ import annotations

from allocator.objects.document import Document, InvalidDocument
from allocator.objects.namespace import check_quota, quota_text
from allocator.rules.verdict import Verdict, denied


def review_namespace(new: Document, old: Document | None = None) -> Verdict:
    """Answer the creation or change of a Namespace: a quota that is written now must be a number.

    One that is there already is a warning, so that it is in the way of no other change.
    """
    fault = quota_fault(new)
    if fault is None:
        return Verdict()
    if old is not None and quota_text(old) == quota_text(new):
        return Verdict(warnings=(fault,))
    return denied(422, fault.removesuffix(_COUNTS_AS_NONE))


def quota_fault(namespace: Document | None) -> str | None:
    """Say in one line what is wrong with a Namespace's quota; None when nothing is."""
    try:
        check_quota(namespace or {})
    except InvalidDocument as error:
        return f"Namespace {((namespace or {}).get('metadata') or {}).get('name')}: {error}{_COUNTS_AS_NONE}"
    return None


_COUNTS_AS_NONE = "; until then it counts as no quota"
