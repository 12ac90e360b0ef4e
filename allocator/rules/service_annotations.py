"""What is said of a Service's annotations: deprecated keys, keys that nobody reads, values that only we may write."""

from __future__ import annotations

from collections.abc import Mapping

from allocator.core.listing import LISTED, cut
from allocator.objects import names
from allocator.objects.document import Document, annotations_of
from allocator.objects.service import deprecated_annotations
from allocator.rules.namespace import quota_fault

_ADVISED = tuple(
    key
    for key in names.SERVICE_ANNOTATIONS
    if not key.startswith("metallb.universe.tf/") and key not in names.OUTPUT_ANNOTATIONS
)
"""What a user may set; the legacy keys are read, and not recommended."""
_REQUEST_FOR = {
    names.FROM_POOL_ANNOTATION: names.ADDRESS_POOL_ANNOTATIONS[0],
    names.ASSIGNED_IPS_ANNOTATION: names.LOAD_BALANCER_IPS_ANNOTATIONS[0],
}
_QUOTED_CHARACTERS = 80


def annotation_warnings(service: Document, namespace: Document | None) -> tuple[str, ...]:
    """Warn of what a Service says under our prefixes to no or to little effect, one line each.

    A malformed quota of its namespace is warned of as well: whoever creates a Service sees that it counts as none.
    """
    deprecated = [_deprecated(key, annotations_of(service)) for key in deprecated_annotations(service)]
    unknown = unknown_annotations(service)
    warnings = [f"annotation {_short(key)} is unknown and has no effect; {_remedy(key)}" for key in unknown[:LISTED]]
    if len(unknown) > LISTED:
        warnings.append(f"{len(unknown) - LISTED} more unknown annotations have no effect")
    fault = quota_fault(namespace)
    return (*deprecated, *warnings, *([fault] if fault is not None else []))


def _deprecated(key: str, annotations: Mapping[str, str]) -> str:
    """Name the key to use; where that is set too and differs, say which of the two counts."""
    stable = key.replace("metallb.universe.tf/", "metallb.io/")
    counts, other = (annotations.get(one, "").strip() for one in (stable, key))
    if counts and counts != other:
        return f"annotation {key}: {_short(other)!r} is not read beside {stable}: {_short(counts)!r}; remove it"
    return f"annotation {key} is deprecated; use {stable}"


def unknown_annotations(service: Document) -> list[str]:
    """List the keys under our prefixes that have no meaning on a Service; an empty annotation counts as absent."""
    return [
        key
        for key, value in annotations_of(service).items()
        if key.startswith(names.ANNOTATION_PREFIXES) and key not in names.SERVICE_ANNOTATIONS and value.strip()
    ]


def nearest_annotation(key: str) -> str | None:
    """Return the known key that is meant: by the same name in other case, under another prefix, or much like it."""
    _, _, name = key.partition("/")
    by_name = {known.partition("/")[2].lower(): known for known in (*_ADVISED, *names.OUTPUT_ANNOTATIONS)}
    import difflib  # noqa: PLC0415  only for what is misspelt

    close = difflib.get_close_matches(name.lower(), list(by_name), n=1)
    return by_name[close[0]] if close else None


def written_by_hand(new: Document, old: Document | None, annotations: Mapping[str, str | None]) -> tuple[str, ...]:
    """Warn of assignments that the document claims to have: neither stored before nor what it gets."""
    shown, before = annotations_of(new), annotations_of(old)
    if not shown:
        return ()
    return tuple(
        f"annotation {key} is written by AdmitLB and its value {_short(shown[key])!r} is not kept; "
        f"ask by annotation {asked}"
        for key, asked in _REQUEST_FOR.items()
        if shown.get(key) and shown[key] not in (before.get(key), annotations.get(key))
    )


def _remedy(key: str) -> str:
    if key == names.QUOTA_ANNOTATION:
        return "it belongs on the Namespace"
    nearest = nearest_annotation(key)
    if nearest is None:
        return f"known ones are {', '.join(_ADVISED)}"
    if nearest in names.OUTPUT_ANNOTATIONS:
        return f"{nearest} is written by AdmitLB, ask by {_REQUEST_FOR[nearest]}"
    return f"did you mean {nearest}?"


def _short(text: str) -> str:
    return cut(text, limit=_QUOTED_CHARACTERS)
