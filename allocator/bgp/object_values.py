"""From the values that objects are read to, to what BGP needs of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from allocator.bgp.inputs import Advertisement, LocalNode, Password, Peer, Service
from allocator.core.addresses import Family
from allocator.core.pool_selection import origin_of
from allocator.core.pools import Pool
from allocator.objects import announced_service, bgp_advertisement, bgp_peer
from allocator.objects.endpoint_slice import Serving
from allocator.objects.node import Node


def peer_value(peer: bgp_peer.Peer, *, created: str = "", secret: Password | None = None) -> Peer:
    """Return a BGPPeer; `secret` is the password of the Secret that it names, if that is there."""
    return Peer(
        name=peer.name,
        my_asn=peer.my_asn,
        peer_asn=peer.remote,
        address=peer.address,
        interface=peer.interface,
        created=created,
        local_asn=peer.local_asn,
        source_address=peer.source,
        port=peer.port,
        keepalive_seconds=peer.timers.keepalive_seconds,
        hold_seconds=peer.timers.hold_seconds,
        connect_seconds=peer.timers.connect_seconds,
        router_id=str(peer.router_id or ""),
        node_selectors=peer.node_selectors,
        password=Password(peer.password) if peer.password else secret,
        needs_password=bool(peer.password_secret) and secret is None,
        bfd_profile=peer.bfd_profile,
        graceful_restart=peer.graceful_restart,
        restart_seconds=peer.timers.restart_seconds,
        ebgp_multihop=peer.multi_hop,
        ttl_security_hops=peer.ttl_security_hops,
        vrf=peer.vrf,
        dual_stack=peer.dual_stack,
        shutdown=peer.shutdown,
        description=peer.description,
    )


def advertisement_value(advertisement: bgp_advertisement.Advertisement) -> Advertisement:
    """Return a BGPAdvertisement."""
    return Advertisement(
        name=advertisement.name,
        pools=advertisement.pools,
        node_selectors=advertisement.node_selectors,
        service_selectors=advertisement.service_selectors,
        peers=frozenset(advertisement.peers) or None,
        communities=advertisement.communities,
        local_pref=advertisement.attributes.local_pref,
        med=advertisement.attributes.med,
        prepend=advertisement.attributes.as_path_prepend or None,
        aggregation_v4=advertisement.length(Family.IPV4),
        aggregation_v6=advertisement.length(Family.IPV6),
    )


def service_value(service: announced_service.Service, *, pools: Mapping[str, Pool], serving: Serving) -> Service:
    """Return a Service that has addresses, and where it has endpoints that serve."""
    addresses = {}
    for address, recorded in zip(service.addresses, service.recorded, strict=True):
        origin = origin_of(address, pools, recorded=recorded)
        of_pools = _shared(tuple(pool.name for pool in origin.pools))
        # Names of pools that are gone are what a Service's annotation says: nothing is kept of those.
        addresses[address] = (*of_pools, *sorted(origin.gone)) if origin.gone else of_pools
    return Service(
        labels=service.labels,
        addresses=addresses,
        local=service.local,
        has_endpoints=serving.anywhere,
        endpoint_nodes=serving.nodes,
    )


@lru_cache(maxsize=4096)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """Most addresses are of the same few pools: one value for each."""
    return names


def node_value(node: Node) -> LocalNode:
    """Return a Node."""
    return LocalNode(
        name=node.name,
        ipv4=node.internal_ip if node.internal_ip is not None and ":" not in node.internal_ip else "",
        labels=node.labels,
        network_unavailable=node.network_unavailable,
        leaving=node.out_of_service or node.deleted or node.shutting_down,
    )
