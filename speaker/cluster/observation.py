"""What a watch event says of an object, as far as it decides about announcing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from allocator.core.pools import Pool
from allocator.kube.reflector import Change, Key
from allocator.kube.resource import LEASES, NODES, SERVICES
from allocator.objects.announced_service import Service, service_from
from allocator.objects.document import Document, InvalidDocument
from allocator.objects.endpoint_slice import Slice, slice_from
from allocator.objects.names import IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from allocator.objects.node import Node, node_from
from allocator.objects.pool import pool_from
from allocator.process.logs import EventLog
from speaker.cluster.advertisements import Advertisement, advertisement_from
from speaker.cluster.node_move import NodeMove, node_move_from
from speaker.membership.lease import SpeakerLease, lease_from

log = EventLog("view")

Value = Service | Slice | Node | Pool | Advertisement | SpeakerLease | NodeMove


@dataclass(frozen=True, slots=True)
class Observation:
    """One object of a resource (by its plural) as it is now: None where it is gone or concerns nobody here."""

    plural: str
    key: Key
    value: Value | None


def observe(change: Change, *, lb_class: str = "") -> Observation | None:
    """Read a watch event; None for an object that cannot be read, so that nothing changes. Any thread may.

    The document is not kept: it is ten times what is read of it, and those of a whole cluster wait here at the start.
    """
    plural = change.resource.plural
    if change.new is None:
        return Observation(plural, change.key, None)
    try:
        return Observation(plural, change.key, _reader(plural, lb_class)(change.new))
    except InvalidDocument as error:
        # Admission refuses these, but may not have been there. What is announced must not go down for it.
        log.warning("object.invalid", kind=change.resource.kind, name=change.key[1], error=error)
        return None


def _reader(plural: str, lb_class: str) -> Callable[[Document], Value | None]:
    if plural == SERVICES.plural:
        return lambda document: service_from(document, lb_class=lb_class)
    return _READERS.get(plural, slice_from)


_READERS: dict[str, Callable[[Document], Value | None]] = {
    LEASES.plural: lease_from,
    NODES.plural: node_from,
    IP_ADDRESS_POOLS.plural: pool_from,
    L2_ADVERTISEMENTS.plural: advertisement_from,
    IP_ALLOCATIONS.plural: node_move_from,
}
