"""BGPPeers as values, and what is wrong with one by itself.

MetalLB internal/config/config.go peerFromCR, and stricter where FRR is: tests/frr compares both. A message never
contains a password or part of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from allocator.core.addresses import Address, quoted
from allocator.core.selectors import Selector
from allocator.objects.bgp_peer_fields import (
    address_from,
    description_from,
    device_from,
    number_from,
    password_from,
    profile_from,
    router_id_from,
    vrf_from,
)
from allocator.objects.bgp_timers import NO_TIMERS, Timers, timers_from
from allocator.objects.document import Document, Problems, name_of
from allocator.objects.selectors import selectors_from

SELECTORS = ("nodeSelectors",)
DEFAULT_PORT: Final = 179

_LARGEST_ASN: Final = (1 << 32) - 1
_LARGEST_PORT: Final = 16_384
_MOST_HOPS: Final = 254


class DynamicAsn(StrEnum):
    """Which AS numbers a peer may come with, where none is given."""

    INTERNAL = "internal"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A router, and how each node that `node_selectors` choose (all where there are none) connects to it."""

    name: str
    my_asn: int
    remote: int | DynamicAsn
    """The peer's AS number, or which ones will do."""
    local_asn: int | None = None
    """Our AS number towards this peer alone."""
    address: Address | None = None
    interface: str = ""
    """The node's interface to find the peer on, where there is no address."""
    vrf: str = ""
    """Empty for the default one."""
    port: int = DEFAULT_PORT
    source: Address | None = None
    router_id: Address | None = None
    timers: Timers = NO_TIMERS
    node_selectors: tuple[Selector, ...] = ()
    password: str = field(default="", repr=False)
    password_secret: str = ""
    """The name of a Secret, empty for none."""
    bfd_profile: str = ""
    graceful_restart: bool = False
    multi_hop: bool = False
    ttl_security_hops: int | None = None
    dual_stack: bool = False
    shutdown: bool = False
    description: str = ""

    @property
    def is_internal(self) -> bool:
        """Whether the session is iBGP."""
        return self.remote in (self.my_asn, DynamicAsn.INTERNAL)

    @property
    def endpoint(self) -> str:
        """The peer's address or interface, as messages name it."""
        return str(self.address) if self.address is not None else self.interface


def peer_from(document: Document) -> Peer:
    """Read a BGPPeer by itself; see rules/bgp_peer_conflicts.py for what it may not share. Raises InvalidDocument."""
    problems = Problems()
    spec = document.get("spec") or {}
    peer = Peer(
        name=name_of(document),
        my_asn=_asn(spec, "myASN", problems),
        remote=_remote(spec, problems),
        local_asn=spec.get("localASN"),
        address=address_from(spec, "peerAddress", problems),
        interface=device_from(spec, "interface", problems),
        vrf=vrf_from(spec, problems),
        port=number_from(spec, "peerPort", 1, _LARGEST_PORT, problems) or DEFAULT_PORT,
        source=address_from(spec, "sourceAddress", problems),
        router_id=router_id_from(spec, problems),
        timers=timers_from(spec, problems),
        node_selectors=selectors_from(spec.get("nodeSelectors"), "spec.nodeSelectors", problems),
        password=password_from(spec, problems),
        password_secret=(spec.get("passwordSecret") or {}).get("name") or "",
        bfd_profile=profile_from(spec, problems),
        graceful_restart=bool(spec.get("enableGracefulRestart")),
        multi_hop=bool(spec.get("ebgpMultiHop")),
        ttl_security_hops=number_from(spec, "ttlSecurityHops", 1, _MOST_HOPS, problems),
        dual_stack=bool(spec.get("dualStackAddressFamily")),
        shutdown=bool(spec.get("shutdown")),
        description=description_from(spec, problems),
    )
    for path, why in _contradictions(peer, spec):
        problems.add(path, why)
    problems.raise_if_any()
    return peer


def _contradictions(peer: Peer, spec: Document) -> Iterator[tuple[str, str]]:
    """What two fields together cannot mean."""
    given = [field for field in ("peerAddress", "interface") if spec.get(field)]
    if not given:
        yield "spec.peerAddress", "is missing; write the peer's address, or the node's interface to find it on"
    elif len(given) == 2:
        yield "spec.interface", f"{quoted(spec['interface'])} is set beside peerAddress; remove one of the two"
    if peer.password and peer.password_secret:
        yield "spec.passwordSecret", "is set beside password; remove one of the two, better the password in the clear"
    if peer.source is not None and peer.address is not None and peer.source.family is not peer.address.family:
        yield (
            "spec.sourceAddress",
            f"{peer.source} is {peer.source.family} and peerAddress {peer.address} is {peer.address.family}; "
            f"write an {peer.address.family} address of the node, or remove it",
        )
    elif peer.source is not None and peer.source == peer.address:
        yield "spec.sourceAddress", f"{peer.source} is peerAddress itself; write an address of the node, or remove it"
    unnumbered = given == ["interface"]
    if peer.source is not None and unnumbered:
        why = "does not fit a peer found on an interface, to which FRR goes by that interface's own address"
        yield "spec.sourceAddress", f"{peer.source} {why}; remove it"
    yield from _local_asn(peer)
    yield from _hops(peer, unnumbered=unnumbered)


def _local_asn(peer: Peer) -> Iterator[tuple[str, str]]:
    here, asn = "spec.localASN", peer.local_asn
    if asn is None:
        return
    if not 1 <= asn <= _LARGEST_ASN:
        yield here, f"{asn} is out of range; write 1 to {_LARGEST_ASN}"
    elif asn == peer.my_asn:
        yield here, f"{asn} is myASN already; remove it"
    elif peer.is_internal:
        yield here, f"{asn} is for peers of another AS, and this one is of myASN {peer.my_asn}; remove it"
    elif asn == peer.remote:
        yield here, f"{asn} is peerASN; write another number, or remove it"


def _hops(peer: Peer, *, unnumbered: bool) -> Iterator[tuple[str, str]]:
    if peer.multi_hop:
        here, remedy = "spec.ebgpMultiHop", "remove it"
        if peer.is_internal:
            yield here, f"true is for peers of another AS, and this one is of myASN {peer.my_asn}; {remedy}"
        if unnumbered:
            yield here, f"true needs a peerAddress, and a peer found on an interface is next to the node; {remedy}"
    if peer.ttl_security_hops is None:
        return
    here, hops = "spec.ttlSecurityHops", peer.ttl_security_hops
    if peer.multi_hop:
        yield here, f"{hops} is set beside ebgpMultiHop; remove that, as this allows that many hops itself"
    if unnumbered and hops > 1:
        yield here, f"{hops} does not fit a peer found on an interface, which is one hop away; write 1"


def _remote(spec: Document, problems: Problems) -> int | DynamicAsn:
    number, dynamic = spec.get("peerASN") or 0, spec.get("dynamicASN")
    if number and dynamic:
        problems.add("spec.dynamicASN", f"{dynamic} is set beside peerASN {number}; remove one of the two")
    if not dynamic:
        if not number:
            problems.add(
                "spec.peerASN", f"is missing; write the peer's AS number, or dynamicASN {DynamicAsn.EXTERNAL}"
            )
            return 0
        return _asn(spec, "peerASN", problems)
    if dynamic not in list(DynamicAsn):
        problems.add("spec.dynamicASN", f"{quoted(dynamic)} is unknown; use one of {', '.join(DynamicAsn)}")
        return 0
    return DynamicAsn(dynamic)


def _asn(spec: Document, name: str, problems: Problems) -> int:
    number: int = spec.get(name) or 0
    if not 1 <= number <= _LARGEST_ASN:
        problems.add(f"spec.{name}", f"{number} is no AS number; write 1 to {_LARGEST_ASN}")
    return number
