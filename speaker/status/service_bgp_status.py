"""ServiceBGPStatus objects: one for each Service and node that announces it by BGP, made and deleted by that node.

MetalLB internal/k8s/controllers/bgp_status_controller.go. They go with the node's Lease, not with the speaker's Pod,
which comes and goes without a change of any route.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from allocator.kube.client import Object
from allocator.kube.reflector import Change, Key
from speaker.bgp.reports import ServiceRoutes, Snapshot
from speaker.status.service_l2_status import Drop, Step, Tell, name_of, service_of

Peers = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """The BGPPeers that a Service is configured to go to, and those of them that have its prefixes."""

    peers: Peers = ()
    sent_to: Peers = ()


NOTHING = Said()


@dataclass(slots=True)
class StoredServiceStatuses:
    """What this node's objects say as last seen, by Service and name. Guarded by its owner's lock.

    Ten thousand Services mostly go to the same few peers: one value stands for all of them.
    """

    _by_service: dict[Key, dict[str, Said]] = field(default_factory=dict)
    _owners: dict[str, Key] = field(default_factory=dict)

    def note(self, change: Change) -> Key | None:
        """Take in a change; return whose object it is, None where nothing is said anew."""
        name = change.key[1]
        if change.new is None:
            service = self._owners.get(name)
            self.drop(name)
            return service
        service = service_of(change.new)
        if self._by_service.get(service, {}).get(name) == _said(change.new):
            return None
        self.put(change.new)
        return service

    def put(self, document: Object) -> None:
        """Take in an object as stored."""
        name, service = document["metadata"]["name"], service_of(document)
        self._owners[name] = service
        self._by_service.setdefault(service, {})[name] = _said(document)

    def drop(self, name: str) -> None:
        """Forget an object that is gone."""
        service = self._owners.pop(name, None)
        if service is None:
            return
        objects = self._by_service[service]
        del objects[name]
        if not objects:
            del self._by_service[service]

    def services(self) -> tuple[Key, ...]:
        """Return the Services that have an object of this node."""
        return tuple(self._by_service)

    def of(self, service: Key) -> Mapping[str, Said]:
        """Return what this node's objects for a Service say: one at most but for what others made."""
        return dict(self._by_service.get(service, {}))


def said_of(routes: ServiceRoutes, snapshot: Snapshot) -> Said:
    """Return what is to be said of a Service: a session that is up has been sent what it carries."""
    if not routes.peers:
        return NOTHING
    families = {prefix.family.value for each in routes.announcements.values() for prefix in each.prefixes}
    sent_to = (
        name
        for name in routes.peers
        if (state := snapshot.states.get(name)) is not None and state.up and not families.isdisjoint(state.families)
    )
    return _shared(tuple(sorted(routes.peers)), tuple(sorted(sent_to)))


def steps(node: str, service: Key, say: Said, stored: Mapping[str, Said]) -> Iterator[Step]:
    """Yield what there is to write so that the Service has one object of this node if it goes anywhere, else none."""
    kept = name_of(node, service, prefix="bgp")
    if kept not in stored:
        kept = min(stored, default=kept)
    for name in sorted(stored.keys() - {kept}):
        yield Drop(name)
    if not say.peers:
        if kept in stored:
            yield Drop(kept)
    elif stored.get(kept) != say:
        yield Tell(kept, kept in stored, _status(node, service, say))


def _status(node: str, service: Key, say: Said) -> Object:
    return {
        "node": node,
        "serviceName": service[1],
        "serviceNamespace": service[0],
        "peers": list(say.peers),
        "sentTo": list(say.sent_to),
    }


def _said(document: Object) -> Said:
    status = document.get("status") or {}
    return _shared(_names(status.get("peers")), _names(status.get("sentTo")))


def _names(listed: Iterable[str] | None) -> Peers:
    return tuple(listed or ())


@lru_cache(maxsize=4096)
def _shared(peers: Peers, sent_to: Peers) -> Said:
    return Said(peers, sent_to)
