"""Writes the status of IPAllocations: compare and swap, so that nothing is written from what another has overtaken.

Speakers watch no IPAllocations but those that are asked to move. The status of one that nobody wrote to is written in
one request, on the condition that it is still so; any other is read first, and written on the condition that it has
not changed since.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime

from allocator.core.addresses import Address
from allocator.kube.client import JSON_PATCH, ApiError, Cluster, NotFound, Object
from allocator.objects.names import IP_ALLOCATIONS
from allocator.rules.conditions import READY
from speaker.status.absence import AbsentNodes
from speaker.status.statement import Holder, NoHolder, Statement, amended, named_in

_AMENDS_SECONDS = 2.0
"""How long a node that is alive has to put right what it has said."""
_INVALID = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What reporting has come to: the node that was named before, and whether users are to hear of another reason."""

    replaced: str = ""
    reason_changed: bool = False


class AllocationStatuses:
    """The IPAllocations' statuses, for one node. Belongs to one thread."""

    def __init__(
        self, cluster: Cluster, *, node: str, namespace: str, on_written: Callable[[Object], None] = lambda _: None
    ) -> None:
        """`on_written` is called with each IPAllocation as it was stored."""
        self._on_written = on_written
        self._cluster = cluster
        self._node = node
        self._absent = AbsentNodes(cluster, namespace=namespace)
        self._seen: dict[Address, tuple[str, float]] = {}

    def tell(self, address: Address, say: Statement, *, new: bool, heard: AbstractSet[str]) -> Told:
        """Make the address's IPAllocation say this, as far as it is for this node to say.

        Of a `new` address nothing was said yet, most likely. Of the nodes that are `heard` it is known that
        none announces the address, where the statement is that nobody does. Raises Occupied, ApiError; Conflict where
        the status was written meanwhile, which may be for this node to leave as it is; NotFound only where this node
        announces an address that has no IPAllocation.
        """
        holds = isinstance(say.announcement, Holder) and say.announcement.node == self._node
        try:
            if new and holds and self._tell_unsaid(address, say):
                return Told()
            return self._tell(address, say, heard)
        except NotFound:
            if holds:
                raise
            return Told()

    def _tell(self, address: Address, say: Statement, heard: AbstractSet[str]) -> Told:
        stored = self._cluster.get(IP_ALLOCATIONS, address.claim_name)
        status = stored.get("status") or {}
        told = Told(replaced=named_in(status), reason_changed=_gives_another_reason(status, say))
        fields = amended(
            status,
            say,
            node=self._node,
            is_gone=lambda other: self._is_gone(other, address, stored, heard),
            now=datetime.now(UTC),
        )
        if fields is not None:
            body = {"metadata": {"resourceVersion": stored["metadata"]["resourceVersion"]}, "status": fields}
            self._on_written(self._cluster.patch(IP_ALLOCATIONS, address.claim_name, body, subresource="status"))
        return told

    def _is_gone(self, other: str, address: Address, stored: Object, heard: AbstractSet[str]) -> bool:
        """Return whether another node that is named announces the address no more, by all that is known here.

        One that is heard does not claim it, and puts right itself what it has said; unless that was before it
        restarted, and then it stays as it is.
        """
        if other not in heard:
            return self._absent.is_gone(other)
        version, now = str(stored["metadata"]["resourceVersion"]), time.monotonic()
        seen = self._seen.get(address)
        if seen is None or seen[0] != version:
            self._seen[address] = (version, now)
            return False
        if now - seen[1] < _AMENDS_SECONDS:
            return False
        del self._seen[address]
        return True

    def _tell_unsaid(self, address: Address, say: Statement) -> bool:
        """Write a status where there is none; return whether there was none."""
        fields = amended({}, say, node=self._node, is_gone=lambda _: True, now=datetime.now(UTC))
        operations: list[Object] = [
            {"op": "test", "path": "/status", "value": None},
            {"op": "add", "path": "/status", "value": fields},
        ]
        try:
            stored = self._cluster.patch(
                IP_ALLOCATIONS, address.claim_name, operations, subresource="status", content_type=JSON_PATCH
            )
        except ApiError as error:
            if error.status != _INVALID:
                raise
            return False
        self._on_written(stored)
        return True


def _gives_another_reason(status: Object, say: Statement) -> bool:
    """Return whether nobody announces the address for another reason than the status says."""
    if not isinstance(say.announcement, NoHolder):
        return False
    said = [
        (one.get("status"), one.get("reason")) for one in status.get("conditions") or () if one.get("type") == READY
    ]
    return said != [("False", say.announcement.reason)]
