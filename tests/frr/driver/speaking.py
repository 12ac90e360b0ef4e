"""The BGP part of a speaker on a node of the bed, fed as its watches and its controller feed it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from allocator.bgp.command import Daemon
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.kube.resource import ENDPOINT_SLICES_V1, NODES, SERVICES, Resource
from allocator.objects.names import BGP_ADVERTISEMENTS, BGP_PEERS, IP_ADDRESS_POOLS
from speaker.bgp.announcer import BgpAnnouncer
from speaker.bgp.events import Event
from speaker.bgp.reports import Snapshot
from speaker.bgp.service_follower import ServiceFollower
from speaker.bgp.settings import LISTED, BgpSettings
from speaker.bgp.vty import Reply
from speaker.cluster.state import View
from tests.frr.driver.bed import BIRD_ADDRESS, NODE_ASN, ROUTER_ADDRESS, ROUTER_ASN, Bed
from tests.unit.speaker.objects import endpoint, endpoint_slice, node, pool, service

NODE_NAME = "node-a"
POOL = "198.51.100.0/24"
ROUTERS = {"bird": BIRD_ADDRESS, "router": ROUTER_ADDRESS}


class Notes:
    """A listener that keeps what it is called with."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_services(self, keys: frozenset[str] | None) -> None:
        """Pass over it: readers ask."""

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Pass over it: readers ask."""

    def on_event(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)


class Speaking:
    """A speaker's BGP part; `with` starts it in the node's network namespace and stops it, FRR going on."""

    def __init__(self, site: Bed, **settings: Any) -> None:
        self._site = site
        self._view = View()
        self.notes = Notes()
        chosen: dict[str, Any] = {"kube_proxy_url": "", "marked_seconds": 1.0, **settings}
        self.part = BgpAnnouncer(BgpSettings(node=NODE_NAME, sockets=site.frr.sockets, **chosen))
        self.part.report_to(self.notes)
        self._follower = ServiceFollower(self.part.follow, on_known=self.part.on_known)

    def __enter__(self) -> Self:
        self._site.node.call(self.part.start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.part.stop()
        assert not self.part.alive

    def put(self, resource: Resource, *objects: Object) -> None:
        """The API server has these objects now."""
        for one in objects:
            self._see(Change(resource, _key(one), None, one, "1"))

    def remove(self, resource: Resource, one: Object) -> None:
        """The API server has this object no more."""
        self._see(Change(resource, _key(one), None, None, "1"))

    def know(self) -> None:
        """All lists are complete."""
        self.part.on_known()
        for resource in LISTED:
            self.part.on_listed(resource)

    def begin(self, *addresses: str, peers: Mapping[str, Object] | None = None) -> None:
        """A cluster with this node, a pool, both routers and a Service for each address."""
        self.put(NODES, node(NODE_NAME, address="10.0.1.1"))
        self.put(IP_ADDRESS_POOLS, pool("public", addresses=[POOL]))
        self.put(BGP_ADVERTISEMENTS, advertisement("public"))
        self.put(BGP_PEERS, *(peers if peers is not None else {name: peer(name) for name in ROUTERS}).values())
        for address in addresses:
            self.serve(address)
        self.know()

    def serve(self, address: str, *nodes: str, **spec: Any) -> None:
        """A Service has this address, and endpoints on these nodes, by default on this one."""
        self.put(SERVICES, service(address, name=name_of(address), **spec))
        self.put_endpoints(address, *nodes or (NODE_NAME,))

    def put_endpoints(self, address: str, *nodes: str) -> None:
        """The Service with this address has an endpoint on each of these nodes, and no others."""
        name = name_of(address)
        endpoints = [endpoint(each) for each in nodes]
        self.put(ENDPOINT_SLICES_V1, endpoint_slice(*endpoints, of=name, name=f"{name}-1"))

    def ask(self, command: str) -> Future[Reply]:
        """Ask bgpd something."""
        return self.part.ask(Daemon.BGPD, command)

    def _see(self, change: Change) -> None:
        self.part.on_change(change)
        seen = self._view.read(change)
        if change.resource.plural not in _OF_THE_VIEW or seen is None:
            return
        self._view.apply(seen)
        services = self._view.refresh().seen
        if services:
            self._follower.follow(self._view, services)


_OF_THE_VIEW = {resource.plural for resource in (SERVICES, ENDPOINT_SLICES_V1, NODES, IP_ADDRESS_POOLS)}


def peer(name: str, **spec: Any) -> Object:
    """The BGPPeer of a router of the bed."""
    fields = {"myASN": NODE_ASN, "peerASN": ROUTER_ASN, "peerAddress": ROUTERS[name], "connectTime": "1s", **spec}
    return _object(name, fields)


def advertisement(name: str, **spec: Any) -> Object:
    """A BGPAdvertisement."""
    return _object(name, spec)


def name_of(address: str) -> str:
    """Return how the Service with an address is called."""
    return f"web-{address.replace('.', '-')}"


def _object(name: str, spec: Mapping[str, Any]) -> Object:
    return {"metadata": {"name": name, "namespace": "metallb-system"}, "spec": dict(spec)}


def _key(one: Object) -> tuple[str, str]:
    return one["metadata"].get("namespace") or "", one["metadata"]["name"]
