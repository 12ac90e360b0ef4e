"""Which BGPPeers have a session on a node, and why the others have none."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address
from types import MappingProxyType

from allocator.bgp.inputs import LocalNode, Peer


class NoSession(StrEnum):
    """Why a peer has no session here, in words for messages."""

    NOT_SELECTED = "no nodeSelector selects this node"
    NO_PASSWORD = "its password is missing"  # noqa: S105
    SAME_NEIGHBOR = "another BGPPeer has the same address or interface in this VRF"
    OTHER_ASN = "another BGPPeer has a different myASN in this VRF"
    OTHER_ROUTER_ID = "another BGPPeer has a different routerID in this VRF"
    PEER_IN_USE = (
        "another program of this node has a session with this router, which takes only one from an address: "
        "set sourceAddress to another address of the node, use a vrf, or let that program announce the addresses "
        "(Calico: serviceLoadBalancerIPs)"
    )


@dataclass(frozen=True, slots=True)
class Refused:
    """A peer without a session, and the peer that it contradicts, if that is why."""

    reason: NoSession
    other: str = ""


@dataclass(frozen=True, slots=True)
class Sessions:
    """The peers with a session, their router ID filled in, and the others, by name."""

    running: Mapping[str, Peer]
    refused: Mapping[str, Refused]


def sessions(
    peers: Iterable[Peer],
    node: LocalNode,
    *,
    in_use: Container[str] = (),
    router_ids: Mapping[str, str] = MappingProxyType({}),
) -> Sessions:
    """Choose the sessions of a node; `in_use` are the peers to which another program of the node has one.

    The router ID is the one that BGPPeers set, else of `router_ids`, by VRF, what runs already, else the node's own.

    FRR has one ASN and one router ID a VRF and one neighbour an address. Admission refuses peers that contradict each
    other; where two got past it, the older one keeps its session, and only the younger goes without.
    """
    running: dict[str, Peer] = {}
    refused: dict[str, Refused] = {}
    own = node.ipv4 or hashed_router_id(node.name)
    for peer in sorted(peers, key=lambda each: (each.created, each.name)):
        problem = _problem(peer, node, running)
        if problem is None and peer.name in in_use:
            problem = Refused(NoSession.PEER_IN_USE)
        if problem is None:
            running[peer.name] = peer
        else:
            refused[peer.name] = problem
    return Sessions(
        {
            name: replace(peer, router_id=peer.router_id or router_ids.get(peer.vrf) or own)
            for name, peer in running.items()
        },
        refused,
    )


def hashed_router_id(node: str) -> str:
    """Return a router ID for a node without an IPv4 address: a hash of its name, as frr-k8s has it.

    FRR's own choice is the highest address that zebra sees. That may be a Service's, which comes and goes; without
    zebra, or with IPv6 only, it is 0.0.0.0, which no router accepts.
    """
    digest = hashlib.sha256(node.encode()).digest()
    return str(IPv4Address(int.from_bytes(digest[:4]) or 1))


def _problem(peer: Peer, node: LocalNode, running: Mapping[str, Peer]) -> Refused | None:
    if not peer.selects(node.labels):
        return Refused(NoSession.NOT_SELECTED)
    if peer.needs_password:
        return Refused(NoSession.NO_PASSWORD)
    for other in running.values():
        if other.vrf != peer.vrf:
            continue
        if other.my_asn != peer.my_asn:
            return Refused(NoSession.OTHER_ASN, other.name)
        if other.id == peer.id:
            return Refused(NoSession.SAME_NEIGHBOR, other.name)
        if other.router_id != peer.router_id:
            return Refused(NoSession.OTHER_ROUTER_ID, other.name)
    return None
