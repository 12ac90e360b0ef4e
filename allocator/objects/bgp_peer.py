"""BGPPeers as values, and what is wrong with one by itself.

MetalLB internal/config/config.go peerFromCR, and stricter where FRR is: tests/frr compares both. A message never
contains a password or part of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from allocator.core.addresses import Address, AddressRange, Family, quoted, unusable_part
from allocator.core.selectors import Selector
from allocator.objects.bgp_timers import NO_TIMERS, Timers, timers_from
from allocator.objects.document import Document, Problems, name_of
from allocator.objects.selectors import selectors_from

SELECTORS = ("nodeSelectors",)
DEFAULT_PORT: Final = 179
LONGEST_PROFILE_NAME: Final = 63
"""What bgpd keeps of a name, without a word; bfdd takes one more (FRR lib/bfd.h BFD_PROFILE_NAME_LEN)."""

_LARGEST_ASN: Final = (1 << 32) - 1
_LARGEST_PORT: Final = 16_384
_LONGEST_PASSWORD_BYTES: Final = 80
_LONGEST_INTERFACE_NAME: Final = 15
_LONGEST_DESCRIPTION: Final = 200
_MOST_HOPS: Final = 254
_BLANK_OR_CONTROL = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\n\r\x0b\x0c]")
_NO_BROADCAST = AddressRange.parse("255.255.255.255")


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
        address=_address(spec, "peerAddress", problems),
        interface=_device(spec, "interface", problems),
        vrf=_vrf(spec, problems),
        port=_number(spec, "peerPort", 1, _LARGEST_PORT, problems) or DEFAULT_PORT,
        source=_address(spec, "sourceAddress", problems),
        router_id=_router_id(spec, problems),
        timers=timers_from(spec, problems),
        node_selectors=selectors_from(spec.get("nodeSelectors"), "spec.nodeSelectors", problems),
        password=_password(spec, problems),
        password_secret=(spec.get("passwordSecret") or {}).get("name") or "",
        bfd_profile=_profile(spec, problems),
        graceful_restart=bool(spec.get("enableGracefulRestart")),
        multi_hop=bool(spec.get("ebgpMultiHop")),
        ttl_security_hops=_number(spec, "ttlSecurityHops", 1, _MOST_HOPS, problems),
        dual_stack=bool(spec.get("dualStackAddressFamily")),
        shutdown=bool(spec.get("shutdown")),
        description=_description(spec, problems),
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
    yield from _local_asn(peer)
    yield from _hops(peer, unnumbered=given == ["interface"])


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


def _number(spec: Document, name: str, least: int, most: int, problems: Problems) -> int | None:
    number: int | None = spec.get(name)
    if number is not None and not least <= number <= most:
        problems.add(f"spec.{name}", f"{number} is out of range; write {least} to {most}")
    return number


def _address(spec: Document, name: str, problems: Problems) -> Address | None:
    text = spec.get(name)
    if not text:
        return None
    here = f"spec.{name}"
    address = problems.read(here, lambda: Address.parse(text))
    if address is None:
        return None
    alone = AddressRange(address.family, address.value, address.value, str(address))
    unfit = unusable_part(alone)
    if unfit is not None and unfit[0] == "link-local" and address.family is Family.IPV6 and name == "peerAddress":
        problems.add(here, f"{address} is link-local, which names no interface; write the interface instead of it")
    elif unfit is not None and (unfit[0] != "link-local" or address.family is Family.IPV6):
        problems.add(here, f"{address} is {unfit[0]}; write a unicast address of the router's or node's interface")
    elif alone.overlaps(_NO_BROADCAST):
        problems.add(here, f"{address} is broadcast; write a unicast address")
    return address


def _router_id(spec: Document, problems: Problems) -> Address | None:
    text = spec.get("routerID")
    if not text:
        return None
    address = problems.read("spec.routerID", lambda: Address.parse(text))
    if address is not None and address.family is Family.IPV6:
        problems.add("spec.routerID", f"{address} is IPv6; a router ID is written like an IPv4 address")
    elif address is not None and not address.value:
        problems.add("spec.routerID", f"{address} is no router ID; write another, or remove it")
    return address


def _device(spec: Document, name: str, problems: Problems) -> str:
    """Read the name of an interface as Linux takes it (net/core/dev.c dev_valid_name)."""
    text: str = spec.get(name) or ""
    here = f"spec.{name}"
    if not text:
        return ""
    if len(text.encode()) > _LONGEST_INTERFACE_NAME:
        problems.add(here, f"{quoted(text)} is too long; Linux allows {_LONGEST_INTERFACE_NAME} bytes")
    elif _BLANK_OR_CONTROL.search(text) or set(text) & set("/:") or text in (".", ".."):
        problems.add(here, f"{quoted(text)} is no name of an interface; it has no blank, '/' or ':'")
    elif _is_address(text):
        problems.add(here, f"{quoted(text)} is an address; write it as peerAddress, or the interface's name")
    return text


def _vrf(spec: Document, problems: Problems) -> str:
    name = _device(spec, "vrf", problems)
    # FRR's own name for the one without a name.
    return "" if name == "default" else name


def _is_address(text: str) -> bool:
    return Problems().read("", lambda: Address.parse(text)) is not None


def _password(spec: Document, problems: Problems) -> str:
    text: str = spec.get("password") or ""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > _LONGEST_PASSWORD_BYTES:
        problems.add("spec.password", f"has {size} bytes; use {_LONGEST_PASSWORD_BYTES} at most")
    if _BLANK_OR_CONTROL.search(text):
        problems.add("spec.password", "has a blank, a line break or a control character; use none of them")
    return text


def _profile(spec: Document, problems: Problems) -> str:
    name: str = spec.get("bfdProfile") or ""
    if len(name) > LONGEST_PROFILE_NAME:
        problems.add(
            "spec.bfdProfile",
            f"{quoted(name)} has {len(name)} characters; a BFDProfile's name has {LONGEST_PROFILE_NAME} at most",
        )
    elif _BLANK_OR_CONTROL.search(name) or (name and not name.isascii()):
        problems.add("spec.bfdProfile", f"{quoted(name)} is no name of an object; write that of a BFDProfile")
    return name


def _description(spec: Document, problems: Problems) -> str:
    text: str = spec.get("description") or ""
    if len(text) > _LONGEST_DESCRIPTION:
        problems.add(
            "spec.description", f"{quoted(text)} has {len(text)} characters; use {_LONGEST_DESCRIPTION} at most"
        )
    if "|" in text:
        # FRR's command line takes the rest for a filter of its output, and cuts the command there.
        problems.add("spec.description", f"{quoted(text)} has a '|', which FRR does not keep; use another character")
    if _CONTROL.search(text):
        problems.add("spec.description", f"{quoted(text)} has a line break or a control character; write one line")
    return " ".join(text.split())
