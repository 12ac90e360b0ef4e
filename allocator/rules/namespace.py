"""What admission answers for a Namespace."""

from __future__ import annotations

from allocator.core.listing import LISTED, cut
from allocator.objects import names
from allocator.objects.document import Document, InvalidDocument, annotations_of
from allocator.objects.namespace import check_quota, quota_text
from allocator.rules.verdict import Verdict, denied


def review_namespace(new: Document, old: Document | None = None) -> Verdict:
    """Answer the creation or change of a Namespace: a quota that is written now must be a number.

    One that is there already is a warning, so that it prevents no other change. Annotations under our prefixes that
    are written now and have no meaning on a Namespace are warned of.
    """
    name = (new.get("metadata") or {}).get("name")
    before = annotations_of(old)
    unknown = [key for key in unknown_annotations(new) if key not in before]
    warnings = tuple(
        f"Namespace {name}: annotation {cut(key, limit=_KEY_CHARACTERS)} is unknown and has no effect; {_remedy(key)}"
        for key in unknown[:LISTED]
    )
    fault = quota_fault(new)
    if fault is None:
        return Verdict(warnings=warnings)
    if old is not None and quota_text(old) == quota_text(new):
        return Verdict(warnings=(*warnings, fault))
    return denied(422, fault.removesuffix(_COUNTS_AS_NONE), warnings)


def unknown_annotations(namespace: Document) -> list[str]:
    """List the keys under our prefixes that have no meaning on a Namespace; an empty annotation counts as absent."""
    return [
        key
        for key, value in annotations_of(namespace).items()
        if key.startswith(names.ANNOTATION_PREFIXES) and key not in names.NAMESPACE_ANNOTATIONS and value.strip()
    ]


def _remedy(key: str) -> str:
    if key in names.SERVICE_ANNOTATIONS:
        return "it belongs on Services"
    import difflib  # noqa: PLC0415  only for what is misspelt

    by_name = {known.partition("/")[2]: known for known in names.NAMESPACE_ANNOTATIONS}
    close = difflib.get_close_matches(key.partition("/")[2].lower(), list(by_name), n=1)
    return f"did you mean {by_name[close[0]]}?" if close else f"known ones are {', '.join(by_name.values())}"


def quota_fault(namespace: Document | None) -> str | None:
    """Say in one line what is wrong with a Namespace's quota; None when nothing is."""
    try:
        check_quota(namespace or {})
    except InvalidDocument as error:
        return f"Namespace {((namespace or {}).get('metadata') or {}).get('name')}: {error}{_COUNTS_AS_NONE}"
    return None


_KEY_CHARACTERS = 80
_COUNTS_AS_NONE = "; until then it counts as no quota"
