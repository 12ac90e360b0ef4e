"""What BGP needs to know of the cluster, as values: the one place where other forms are turned into ours."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address, Family
from allocator.core.pool_selection import ALL_POOLS, PoolSelection
from allocator.core.selectors import Selector, matches_any
from allocator.objects.bgp_bfd_profile import BfdProfile
from allocator.objects.bgp_community import CommunityValue
from allocator.objects.bgp_peer import DEFAULT_PORT, DynamicAsn


class Password:
    """A session's TCP MD5 password (RFC 2385). It is shown nowhere: `reveal` is for the command to FRR alone."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the password itself."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Password) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "<hidden>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One BGPPeer, defaults filled in; it has an `address` or an `interface`. Times are in whole seconds.

    `needs_password` is set where the Secret that it names is missing: such a session does not run. Whoever reads
    Secrets keeps the last password of one that was deleted, so that a running session loses nothing.
    """

    name: str
    my_asn: int
    peer_asn: int | DynamicAsn
    address: Address | None = None
    interface: str = ""
    created: str = ""
    local_asn: int | None = None
    source_address: Address | None = None
    port: int = DEFAULT_PORT
    keepalive_seconds: int | None = None
    hold_seconds: int | None = None
    connect_seconds: int | None = None
    router_id: str = ""
    node_selectors: tuple[Selector, ...] = ()
    password: Password | None = None
    needs_password: bool = False
    bfd_profile: str = ""
    graceful_restart: bool = False
    restart_seconds: int | None = None
    ebgp_multihop: bool = False
    ttl_security_hops: int | None = None
    vrf: str = ""
    dual_stack: bool = False
    shutdown: bool = False
    description: str = ""

    @property
    def id(self) -> str:
        """What FRR calls the neighbour: its address, or the interface of an unnumbered one."""
        return str(self.address) if self.address is not None else self.interface

    @property
    def families(self) -> tuple[Family, ...]:
        """The families of the prefixes that the session carries."""
        if self.address is None or self.dual_stack:
            return (Family.IPV4, Family.IPV6)
        return (self.address.family,)

    @property
    def external(self) -> bool:
        """Whether the session is eBGP."""
        if isinstance(self.peer_asn, DynamicAsn):
            return self.peer_asn is DynamicAsn.EXTERNAL
        return self.peer_asn != self.my_asn

    def selects(self, node_labels: Mapping[str, str]) -> bool:
        """Return whether the session runs on a node with these labels; without selectors on each."""
        return not self.node_selectors or matches_any(self.node_selectors, node_labels)


BFDProfile = BfdProfile
"""As it is read: nothing of one depends on other objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertisement:
    """One BGPAdvertisement. An empty list of node or service selectors covers all; `peers` None means all peers."""

    name: str
    pools: PoolSelection = ALL_POOLS
    node_selectors: tuple[Selector, ...] = ()
    service_selectors: tuple[Selector, ...] = ()
    peers: frozenset[str] | None = None
    communities: tuple[str, ...] = ()
    """As written: communities, well-known names and aliases."""
    local_pref: int | None = None
    med: int | None = None
    prepend: int | None = None
    aggregation_v4: int = 32
    aggregation_v6: int = 128

    def aggregation(self, family: Family) -> int:
        """The length of the prefixes of a family."""
        return self.aggregation_v4 if family is Family.IPV4 else self.aggregation_v6

    def covers_node(self, labels: Mapping[str, str]) -> bool:
        """Return whether a node with these labels announces."""
        return not self.node_selectors or matches_any(self.node_selectors, labels)

    def covers_service(self, labels: Mapping[str, str]) -> bool:
        """Return whether a Service with these labels is announced."""
        return not self.service_selectors or matches_any(self.service_selectors, labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """The node this speaker runs on. `leaving`: out of service, shutting down, deleted, or asked to leave.

    `ipv4` is its address as Kubernetes knows it: its router ID, where no peer says otherwise.
    """

    name: str
    ipv4: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    network_unavailable: bool = False
    leaving: bool = False
    marked: bool = False
    """Its routes are marked for its leave and go once the routers have moved: until then it announces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One Service of type LoadBalancer whose addresses its status shows.

    `addresses` has the names of the pools that each is of: the one that contains it and those it was given from.
    `endpoint_nodes` are the nodes with an endpoint that serves, ready or terminating.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[Address, tuple[str, ...]] = field(default_factory=dict)
    local: bool = False
    """externalTrafficPolicy: Local."""
    has_endpoints: bool = False
    endpoint_nodes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All of it, by name; Services by `namespace/name`.

    `pools` has the labels of each pool, `aliases` the values of all Community objects.
    """

    node: LocalNode
    peers: Mapping[str, Peer] = field(default_factory=dict)
    profiles: Mapping[str, BFDProfile] = field(default_factory=dict)
    advertisements: Mapping[str, Advertisement] = field(default_factory=dict)
    aliases: Mapping[str, CommunityValue] = field(default_factory=dict)
    pools: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
