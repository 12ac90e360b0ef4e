"""Services as values: what of one decides about announcing its addresses, and what names it in an Event."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocator.core.addresses import Address
from allocator.objects.assignment import given_from
from allocator.objects.document import Document, labels_of
from allocator.objects.interned import Interned
from allocator.objects.service import addresses_in_status, wants_address

if TYPE_CHECKING:
    from allocator.kube.reflector import Key

Ports = frozenset[tuple[str, str]]
"""Ports by name and protocol, which is how a Service and its EndpointSlices agree on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Service that is served here. `recorded` names the pools that each of its `addresses` was given from."""

    key: Key
    uid: str
    addresses: tuple[Address, ...]
    recorded: tuple[tuple[str, ...], ...]
    labels: Mapping[str, str]
    ports: Ports
    local: bool


def service_from(document: Document, *, lb_class: str = "") -> Service | None:
    """Read a Service; None for one that is not ours to serve, or has no address."""
    if not wants_address(document, lb_class=lb_class):
        return None
    addresses = addresses_in_status(document)
    if not addresses:
        return None
    metadata, spec = document["metadata"], document["spec"]
    recorded = given_from(document)
    return Service(
        key=(sys.intern(metadata["namespace"]), metadata["name"]),
        uid=metadata.get("uid") or "",
        addresses=addresses,
        recorded=tuple(tuple(map(sys.intern, recorded.get(address, ()))) for address in addresses),
        labels={sys.intern(name): value for name, value in labels_of(document).items()},
        ports=ports_from(spec.get("ports") or ()),
        local=spec.get("externalTrafficPolicy") == "Local",
    )


def ports_from(ports: Iterable[Document]) -> Ports:
    """Read the ports of a Service, or of a slice; those without a number are none."""
    return _PORTS.of(
        frozenset((port.get("name") or "", port.get("protocol") or "TCP") for port in ports if port.get("port"))
    )


_PORTS = Interned[Ports]()
