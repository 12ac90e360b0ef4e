"""Conditions of our own kinds, as kstatus reads them.

Ready is always there. Reconciling and Stalled are there only while they are True: kstatus (and with it Argo CD and
Flux) reads the first as "in progress" and the second as "failed", and takes an object without Ready for finished.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from allocator.objects.document import Document

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"
KSTATUS_TYPES = (READY, RECONCILING, STALLED)

MESSAGE_LIMIT = 32_768
"""metav1.Condition's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One metav1.Condition, without the time of its last transition."""

    type: str
    status: str
    """`True`, `False` or `Unknown`."""
    reason: str
    message: str = ""


def ready(reason: str, message: str) -> tuple[Condition, ...]:
    """The object works."""
    return (Condition(type=READY, status="True", reason=reason, message=message),)


def reconciling(reason: str, message: str) -> tuple[Condition, ...]:
    """The object does not work yet, and a change elsewhere or mere time will make it."""
    return _unready(RECONCILING, reason, message)


def stalled(reason: str, message: str) -> tuple[Condition, ...]:
    """The object cannot work until somebody changes it."""
    return _unready(STALLED, reason, message)


def _unready(kind: str, reason: str, message: str) -> tuple[Condition, ...]:
    return (
        Condition(type=READY, status="False", reason=reason, message=message),
        Condition(type=kind, status="True", reason=reason, message=message),
    )


def merged(
    stored: Iterable[Document],
    wanted: Sequence[Condition],
    *,
    owned: Collection[str],
    now: datetime,
    generation: int | None = None,
) -> list[dict[str, Any]]:
    """Return the conditions as they shall be stored: `wanted` ones, and of the stored ones those not `owned`.

    A condition whose status stays keeps the time of its last transition, so that writing what is stored already
    returns what is stored already.
    """
    before = {str(condition.get("type")): condition for condition in stored}
    kept = [dict(condition) for name, condition in before.items() if name not in owned]
    return [*kept, *(_document(condition, before.get(condition.type), now, generation) for condition in wanted)]


def _document(wanted: Condition, before: Document | None, now: datetime, generation: int | None) -> dict[str, Any]:
    unchanged = before is not None and before.get("status") == wanted.status
    since = before.get("lastTransitionTime") if before is not None and unchanged else None
    document: dict[str, Any] = {
        "type": wanted.type,
        "status": wanted.status,
        "reason": wanted.reason,
        "message": wanted.message[:MESSAGE_LIMIT],
        # Whole seconds: the API server's own kinds store no fractions, which would look like a change.
        "lastTransitionTime": since or now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if generation is not None:
        document["observedGeneration"] = generation
    return document


def timeless(status: Document) -> dict[str, Any]:
    """Return a status without its conditions' times: what it says, whenever it came to say so."""
    said = dict(status)
    if "conditions" in said:
        said["conditions"] = [
            {key: value for key, value in condition.items() if key != "lastTransitionTime"}
            for condition in said["conditions"]
        ]
    return said
