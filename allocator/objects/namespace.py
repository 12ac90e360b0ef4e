"""Namespaces: the annotations that are read there."""

from __future__ import annotations

from allocator.core.addresses import quoted
from allocator.objects import names
from allocator.objects.document import Document, InvalidDocument, Problem, annotations_of

QUOTA_PATH = f"metadata.annotations[{names.QUOTA_ANNOTATION}]"
_LARGEST = (1 << 31) - 1


def quota_of(namespace: Document | None) -> int | None:
    """Read how many addresses a namespace may hold; None when it does not say, or says what is no number.

    A malformed quota limits nobody: it came in while nothing checked it, and those who create Services cannot
    fix it. `check_quota` says so.
    """
    try:
        return _read(quota_text(namespace))
    except ValueError:
        return None


def check_quota(namespace: Document) -> None:
    """Check that the quota, if there is one, is a number. Raises InvalidDocument."""
    text = quota_text(namespace)
    try:
        _read(text)
    except ValueError as error:
        who = (namespace.get("metadata") or {}).get("name")
        raise InvalidDocument([Problem(QUOTA_PATH, f"{quoted(text)} on namespace {who} {error}")]) from None


def quota_text(namespace: Document | None) -> str:
    """Return the quota as written, without white space around it; empty when there is none."""
    return (annotations_of(namespace).get(names.QUOTA_ANNOTATION) or "").strip()


def _read(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValueError("is not a whole number; write how many addresses it may hold")
    digits = text.lstrip("0") or "0"
    # Compared as text first: int() refuses thousands of digits.
    if len(digits) > len(str(_LARGEST)) or int(digits) > _LARGEST:
        raise ValueError(f"is too large; write at most {_LARGEST}, or remove the annotation for no limit")
    return int(digits)
