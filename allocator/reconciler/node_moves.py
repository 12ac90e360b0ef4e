"""Requests to have another node announce an address, made by an annotation on its IPAllocation.

    annotation      the value names the node that is to announce the address
    label           set beside it by the reconciler: speakers watch only the IPAllocations that carry it
    both go         once that node announces the address, or after MOVE_SECONDS, with an Event on the Services

The speakers prefer the node while the label is there: it takes the address before the holder lets go of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from allocator.kube.client import ApiError, Cluster, Conflict, NotFound, Object
from allocator.kube.reflector import Change
from allocator.objects.document import annotations_of, labels_of
from allocator.objects.ip_allocation import claim_from
from allocator.objects.names import IP_ALLOCATIONS, MOVE_TO_NODE_ANNOTATION, MOVING_LABEL
from allocator.process.logs import EventLog

log = EventLog("reconciler")

MOVE_SECONDS = 60.0
"""How long a node has time to announce what it is asked to: a preferred one is waited for until it has been heard for
ten seconds."""


class NodeMoves:
    """Carries requests to the speakers and ends them. `_lock` owns `_asked`: the reflector's thread writes, the sweep
    reads.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        find_claim: Callable[[str], Object | None],
        require_leadership: Callable[[], None],
        on_failed: Callable[[str, str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`find_claim` returns an IPAllocation as cached, by its name.

        `on_failed` is called with namespace and name of each Service of an address that did not move, and why.
        """
        self._cluster = cluster
        self._find_claim = find_claim
        self._require_leadership = require_leadership
        self._on_failed = on_failed
        self._clock = clock
        self._asked: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def note(self, change: Change) -> None:
        """Take in one IPAllocation's change."""
        name = change.key[1]
        target = _target(change.new) if change.new is not None else ""
        marked = change.new is not None and MOVING_LABEL in labels_of(change.new)
        with self._lock:
            if not target and not marked:
                self._asked.pop(name, None)
            elif name not in self._asked or self._asked[name][0] != target:
                self._asked[name] = (target, self._clock())

    def sweep(self) -> None:
        """Mark what was asked for, and end what has been done or takes too long. Raises NotLeading.

        What cannot be written now is tried again by the next sweep.
        """
        with self._lock:
            asked = list(self._asked.items())
        for name, (target, since) in asked:
            document = self._find_claim(name)
            if document is None or _target(document) != target:
                continue
            self._require_leadership()
            try:
                self._advance(document, target, overdue=self._clock() - since >= MOVE_SECONDS)
            except (Conflict, NotFound):
                # It changed since it was cached: the change is on its way.
                continue
            except ApiError as error:
                log.warning("move.not-written", claim=name, node=target, error=error)

    def _advance(self, document: Object, target: str, *, overdue: bool) -> None:
        address = claim_from(document).address
        announcing = ((document.get("status") or {}).get("announcedBy") or {}).get("node", "")
        if not target:
            self._write(document, moving=False)
        elif announcing == target:
            self._write(document, moving=False)
            log.info("address.moved", ip=address, node=target)
        elif overdue:
            self._write(document, moving=False)
            why = f'node "{target}" did not announce {address} within {MOVE_SECONDS:.0f} s of being asked to'
            log.warning("address.not-moved", ip=address, node=target, announcing=announcing or "-", why=why)
            for holder in claim_from(document).holders:
                self._on_failed(holder.namespace, holder.name, why)
        elif MOVING_LABEL not in labels_of(document):
            self._write(document, moving=True)

    def _write(self, document: Object, *, moving: bool) -> None:
        """Compare-and-swap: a claim that changes meanwhile is read anew first."""
        metadata = dict(document["metadata"])
        labels = {key: value for key, value in labels_of(document).items() if key != MOVING_LABEL}
        if moving:
            labels[MOVING_LABEL] = "true"
        else:
            annotations = annotations_of(document)
            metadata["annotations"] = {
                key: value for key, value in annotations.items() if key != MOVE_TO_NODE_ANNOTATION
            }
        metadata["labels"] = labels
        self._cluster.replace(IP_ALLOCATIONS, {**document, "metadata": metadata})


def _target(document: Object) -> str:
    """The node asked for; empty where none is, or where nobody holds the address."""
    if (document.get("spec") or {}).get("state") not in {"Bound", "Tentative"}:
        return ""
    return (annotations_of(document).get(MOVE_TO_NODE_ANNOTATION) or "").strip()
