"""metadata.managedFields: who wrote which part of an object (KEP-555)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from allocator.objects.document import Document


def managers_of(document: Document | None, *path: str) -> tuple[str, ...]:
    """Return who wrote the field at `path` (`"status", "loadBalancer"`), the latest first; empty where unknown."""
    entries: Iterable[Document] = ((document or {}).get("metadata") or {}).get("managedFields") or ()
    owners = [entry for entry in entries if _owns(entry.get("fieldsV1") or {}, path)]
    owners.sort(key=lambda entry: str(entry.get("time") or ""), reverse=True)
    return tuple(dict.fromkeys(str(entry.get("manager") or "unknown") for entry in owners))


def has_applied(document: Document, manager: str) -> bool:
    """Return whether the manager has applied the object server-side, so that it declares all it wants of it."""
    entries: Iterable[Document] = (document.get("metadata") or {}).get("managedFields") or ()
    return any(entry.get("manager") == manager and entry.get("operation") == "Apply" for entry in entries)


def _owns(fields: Mapping[str, Any], path: Iterable[str]) -> bool:
    for name in path:
        if f"f:{name}" not in fields:
            return False
        fields = fields[f"f:{name}"]
    return True
