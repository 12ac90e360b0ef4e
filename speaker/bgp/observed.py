"""What a watch event says of an object, as far as it decides about announcing by BGP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from allocator.bgp.inputs import Advertisement, BFDProfile
from allocator.bgp.object_values import advertisement_value
from allocator.kube.reflector import Change
from allocator.kube.resource import NODES
from allocator.objects import bgp_advertisement, bgp_bfd_profile, bgp_peer, node
from allocator.objects.bgp_community import CommunityValue, aliases_from
from allocator.objects.bgp_peer_fields import address_from, device_from, router_id_from, vrf_from
from allocator.objects.document import Document, InvalidDocument, Problems, labels_of
from allocator.objects.names import BFD_PROFILES, BGP_ADVERTISEMENTS, BGP_PEERS, COMMUNITIES, IP_ADDRESS_POOLS
from allocator.process.logs import EventLog

log = EventLog("bgp")


@dataclass(frozen=True, slots=True)
class PeerObject:
    """A BGPPeer and when it was created; the password of its Secret is not known here."""

    peer: bgp_peer.Peer
    created: str


@dataclass(frozen=True, slots=True)
class PoolLabels:
    """The labels of an IPAddressPool."""

    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Aliases:
    """The names that a Community gives, and when it was created: of two that give one name the older counts."""

    created: str
    values: Mapping[str, CommunityValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object of BGP that is stored, and invalid: of a BGPPeer what of it can be read still.

    `neighbor` is its VRF and its address or interface, None where these are what is wrong.
    """

    created: str
    neighbor: tuple[str, str] | None = None
    router_id: str = ""


Value = Unreadable | PeerObject | Advertisement | BFDProfile | Aliases | PoolLabels | node.Node


@dataclass(frozen=True, slots=True)
class Observed:
    """One object of a resource (by its plural) as it is now: None where it is gone."""

    plural: str
    name: str
    value: Value | None


def observe(change: Change) -> Observed | None:
    """Read a watch event; None where it concerns nobody here. Any thread may."""
    plural, name = change.resource.plural, change.key[1]
    if plural not in _READERS:
        return None
    if change.new is None:
        return Observed(plural, name, None)
    try:
        return Observed(plural, name, _READERS[plural](change.new))
    except InvalidDocument as error:
        # Admission refuses these, but may not have been there. What is announced must not go down for it.
        log.warning("object.invalid", kind=change.resource.kind, name=name, error=error)
        return Observed(plural, name, _unreadable(plural, change.new))


def _created(document: Document) -> str:
    return document["metadata"].get("creationTimestamp") or ""


def _unreadable(plural: str, document: Document) -> Unreadable:
    created = _created(document)
    if plural != BGP_PEERS.plural:
        return Unreadable(created)
    problems, spec = Problems(), document.get("spec") or {}
    address = address_from(spec, "peerAddress", problems)
    vrf = vrf_from(spec, problems)
    neighbor = str(address) if address is not None else device_from(spec, "interface", problems)
    found = bool(neighbor) and not problems.count
    router_id = router_id_from(spec, Problems())
    return Unreadable(created, (vrf, neighbor) if found else None, str(router_id or ""))


_READERS: dict[str, Callable[[Document], Value]] = {
    BGP_PEERS.plural: lambda one: PeerObject(bgp_peer.peer_from(one), _created(one)),
    BGP_ADVERTISEMENTS.plural: lambda one: advertisement_value(bgp_advertisement.advertisement_from(one)),
    BFD_PROFILES.plural: bgp_bfd_profile.bfd_profile_from,
    COMMUNITIES.plural: lambda one: Aliases(_created(one), aliases_from(one)),
    IP_ADDRESS_POOLS.plural: lambda one: PoolLabels(dict(labels_of(one))),
    NODES.plural: node.node_from,
}
