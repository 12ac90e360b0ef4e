"""An explanation as text shows it: the reason once, and not again in conditions and Events that say the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from allocator.commands.explanation import Explanation
from allocator.core.listing import each_with_reason
from allocator.objects.document import Document


def said_once(found: Explanation) -> Explanation:
    """Return the explanation without repeats: its message without the pools, which are listed below it, and
    conditions and Events without a message that has this reason in it. What says something else stays.
    """
    reason = found.message.removeprefix(f"{found.namespace}/{found.name}: ")
    if not reason:
        return found
    listed = each_with_reason(found.considered)
    return replace(
        found,
        message=reason.replace(f" ({listed})", "") if listed else reason,
        conditions=tuple(_without(reason, found.conditions)),
        events=tuple(_without(reason, found.events)),
    )


def _without(reason: str, documents: Iterable[Document]) -> Iterable[Document]:
    for document in documents:
        repeats = reason in str(document.get("message") or "")
        yield {**document, "message": ""} if repeats else document
