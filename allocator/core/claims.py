"""Claims: who holds which address.

A claim is the value of one IPAllocation object. Its life:

    (none) -> Tentative   reserved at admission; the Service may still never appear
    Tentative -> Bound    the Service was seen, its uid is recorded
    Bound -> Cooling      the last holder let go; kept back for the pool's reuse delay
    Tentative -> (none)   the Service never appeared
    Cooling -> Tentative  taken again: by the same Service name at once, by others when nothing else is free
    Cooling -> (none)     the reuse delay is over
    (none) -> Conflicted  a host that is none of ours answers for the address: it is not handed out
    Conflicted -> (none)  the host is gone, or nobody asks for it any more
    Conflicted -> Tentative, Bound   a Service asks for that very address, or shows it
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import nsmallest
from types import MappingProxyType
from typing import Final

from allocator.core.addresses import Address

_LISTED_PORTS: Final = 5

NO_METADATA: Final[Mapping[str, object]] = MappingProxyType({})


class ClaimState(StrEnum):
    """Where a claim is in its life."""

    TENTATIVE = "Tentative"
    BOUND = "Bound"
    COOLING = "Cooling"
    CONFLICTED = "Conflicted"


TRANSITIONS: Final[dict[ClaimState | None, frozenset[ClaimState | None]]] = {
    None: frozenset({ClaimState.TENTATIVE, ClaimState.BOUND, ClaimState.CONFLICTED}),
    ClaimState.TENTATIVE: frozenset({ClaimState.TENTATIVE, ClaimState.BOUND, ClaimState.COOLING, None}),
    ClaimState.BOUND: frozenset({ClaimState.TENTATIVE, ClaimState.BOUND, ClaimState.COOLING, None}),
    ClaimState.COOLING: frozenset({ClaimState.TENTATIVE, ClaimState.BOUND, ClaimState.CONFLICTED, None}),
    ClaimState.CONFLICTED: frozenset({ClaimState.TENTATIVE, ClaimState.BOUND, ClaimState.CONFLICTED, None}),
}
"""What a claim may become; None is its absence. None -> Bound is the adoption of a live Service's address; Bound ->
Tentative is a sharer that joins at admission; Bound -> None is a release from a pool without reuse delay
offline: stored claims cool first, for no time, because one that goes while Bound was deleted by somebody else."""


_IN_USE: Final = frozenset({ClaimState.TENTATIVE, ClaimState.BOUND})


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A port as two Services may collide on it."""

    protocol: str
    number: int

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One Service that holds an address, and what it brought to the sharing of it."""

    namespace: str
    name: str
    """Empty while the Service is being created by generateName."""
    uid: str | None = None
    generate_name: str = ""
    ports: frozenset[Port] = frozenset()
    sharing_key: str = ""
    """Empty where it shares with nobody."""
    local_traffic: bool = False
    """Whether its externalTrafficPolicy is Local."""
    backend_key: str = ""
    """What traffic policy Local pins the address to: the selector, or empty under policy Cluster."""
    sharing_namespaces: frozenset[str] | None = None
    """Other namespaces whose Services may join it, `*` for all; None where it does not say."""
    since: str = ""
    """When it began to hold, as sortable text."""

    def is_service(self, namespace: str, name: str) -> bool:
        """Return whether the holder is the Service of that name; an unnamed holder is nobody's yet."""
        return bool(name) and self.namespace == namespace and self.name == name

    @property
    def label(self) -> str:
        """How messages name it: `namespace/name`, or `namespace/prefix*` before it has a name."""
        return f"{self.namespace}/{self.name or self.generate_name + '*'}"

    @property
    def traffic_policy(self) -> str:
        """Its externalTrafficPolicy as the API spells it."""
        return "Local" if self.local_traffic else "Cluster"

    def __str__(self) -> str:
        return f"{self.label} (ports {listed_ports(self.ports)})" if self.ports else self.label


def listed_ports(ports: Collection[Port]) -> str:
    """Return the lowest ports as messages list them, and how many more there are."""
    shown = ", ".join(str(port) for port in nsmallest(_LISTED_PORTS, ports))
    more = len(ports) - _LISTED_PORTS
    return f"{shown} and {more} more" if more > 0 else shown


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignHost:
    """A host that is none of ours and answers for an address, as one of our nodes heard it."""

    mac: str
    """Its hardware address, six octets in hexadecimal."""
    node: str = ""
    interface: str = ""
    """Of the node."""

    def __str__(self) -> str:
        where = f" on {self.interface}" if self.interface else ""
        return f"{self.mac} (heard by node {self.node}{where})" if self.node else self.mac


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One address and its holders, in the order in which they joined: of two that may not share any more, the one
    listed first stays. A cooling claim keeps its last holders, who may have it back.

    One that lists no holder (edited by hand, not readable) is in use all the same: nobody is given the address, and
    a Service that shows it is written into it. Only a conflicted one has none by right.
    """

    address: Address
    pool: str
    state: ClaimState
    holders: tuple[Holder, ...]
    original_pool: str = ""
    """The pool that the address was given from, where that is not `pool` any more: a pool was split or renamed."""
    reassign: bool = False
    """Whether the pool's shrinkPolicy was Reassign when the claim was last written: once the pool is gone, nothing
    else says that the holders shall move."""
    released_at: str = ""
    """When it began to cool, as sortable text; empty in other states."""
    foreign_host: ForeignHost | None = None
    """Who answers for the address; None in all states but Conflicted."""
    conflicted_at: str = ""
    """When that was first known, as sortable text; empty in all states but Conflicted."""
    version: str = field(default="", compare=False)
    """The stored object's version, for compare-and-swap; empty for a claim not stored yet."""
    others_metadata: Mapping[str, object] = field(default_factory=lambda: NO_METADATA, compare=False)
    """What others wrote into the stored object's metadata (labels, annotations, finalizers): it is written back."""

    @property
    def sharing_key(self) -> str:
        """The first holder's key, under which others may join; empty where it shares with nobody."""
        return self.holders[0].sharing_key if self.holders else ""

    @property
    def in_use(self) -> bool:
        """Whether a Service holds the address now."""
        return self.state in _IN_USE

    def holder(self, namespace: str, name: str) -> Holder | None:
        """Return the holder that is the named Service, or None."""
        return next((holder for holder in self.holders if holder.is_service(namespace, name)), None)

    def others(self, namespace: str, name: str) -> tuple[Holder, ...]:
        """Return the holders that are not the named Service."""
        return tuple(holder for holder in self.holders if not holder.is_service(namespace, name))
