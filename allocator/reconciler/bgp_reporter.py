"""What has come of the objects for BGP: copies of them, and the conditions that the reporter writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from allocator.kube.client import Cluster, Object
from allocator.kube.reflector import Change, Reflector
from allocator.kube.resource import Resource
from allocator.kube.secret_presence import is_absent
from allocator.objects import names
from allocator.objects.bgp_community import all_aliases
from allocator.objects.bgp_node_status import BgpNodeStatus, node_status_from
from allocator.objects.document import in_order_of_age, name_of
from allocator.reconciler.session_secrets import SessionSecrets
from allocator.rules import bgp_status
from allocator.rules.bgp_nodes import Labels, Nodes
from allocator.rules.bgp_peer import peers_of
from allocator.rules.conditions import Condition
from allocator.rules.configuration import Configuration

Write = Callable[[Resource, Object, tuple[Condition, ...]], bool]
"""Makes an object show these conditions, and returns whether that took a write."""


class BgpReporter:
    """Watches the four kinds, and what nodes report of their sessions.

    `report`, `due` and all that they keep belong to the reporter's thread; `_reported_anew` is set by the watch of
    BGPNodeStatuses and cleared by that thread before it reads them.
    """

    def __init__(self, cluster: Cluster, *, namespace: str, on_change: Callable[[Change], None]) -> None:
        self._copies = {
            kind: Reflector(cluster, kind, namespace=namespace, on_change=on_change) for kind in names.BGP_KINDS
        }
        self._on_change = on_change
        self._node_statuses = Reflector(
            cluster, names.BGP_NODE_STATUSES, namespace=namespace, on_change=self._note_status
        )
        self._reported_anew = threading.Event()
        self._statuses: Mapping[str, BgpNodeStatus] = {}
        self._secrets = SessionSecrets(lambda name: is_absent(cluster, name, namespace))
        self._named_secrets: frozenset[str] = frozenset()
        """Those of the BGPPeers that `_reported` finds sound."""
        self._absent_secrets: frozenset[str] = frozenset()
        self._reported: Configuration | None = None
        self._settled: dict[str, str] = {}
        """By uid, the version that shows what `_reported` and `_absent_secrets` make of the object."""

    def due(self) -> bool:
        """Whether `report` has something to look at again though nothing has changed."""
        return self._secrets.due()

    @property
    def reflectors(self) -> tuple[Reflector, ...]:
        """The watches, for whoever starts and stops them."""
        return (*self._copies.values(), self._node_statuses)

    @property
    def synced(self) -> bool:
        """Whether all kinds have been listed."""
        return all(reflector.synced for reflector in self.reflectors)

    def objects(self) -> dict[Resource, list[Object]]:
        """Return all objects by kind."""
        return {kind: copy.items() for kind, copy in self._copies.items()}

    def node_statuses(self) -> list[Object]:
        """Return the BGPNodeStatuses."""
        return self._node_statuses.items()

    def report(self, found: Configuration, nodes: Labels, write: Write) -> None:
        """Write the conditions of those objects that do not show them. Raises what `write` raises."""
        objects = self.objects()
        if found is not self._reported:
            self._settled.clear()
            self._reported = found
            peers = peers_of(_sound(found, objects, names.BGP_PEERS))
            self._named_secrets = frozenset(peer.password_secret for peer in peers if peer.password_secret)
        absent = self._secrets.absent(self._named_secrets)
        if absent != self._absent_secrets:
            self._settled.clear()
            self._absent_secrets = absent
        if self._reported_anew.is_set():
            self._reported_anew.clear()
            read = map(node_status_from, self._node_statuses.items())
            self._statuses = {status.node: status for status in read}
            self._settled.clear()
        pending = {
            kind: [one for one in listed if self._settled.get(one["metadata"]["uid"]) != _version(one)]
            for kind, listed in objects.items()
        }
        if not any(pending.values()):
            return
        conditions = _conditions(found, objects, Nodes(nodes), absent, self._statuses)
        for kind, listed in pending.items():
            for document in listed:
                if not write(kind, document, conditions[kind](document)):
                    self._settled[document["metadata"]["uid"]] = _version(document)

    def _note_status(self, change: Change) -> None:
        self._reported_anew.set()
        self._on_change(change)


def _conditions(
    found: Configuration,
    objects: dict[Resource, list[Object]],
    nodes: Nodes,
    absent_secrets: frozenset[str],
    statuses: Mapping[str, BgpNodeStatus],
) -> dict[Resource, Callable[[Object], tuple[Condition, ...]]]:
    """By kind, what an object of it shows."""
    pools = list(found.sound_pools().values())
    peers = peers_of(_sound(found, objects, names.BGP_PEERS))
    profiles = {name_of(one) for one in _sound(found, objects, names.BFD_PROFILES)}
    aliases = all_aliases(in_order_of_age(objects[names.COMMUNITIES]))
    return {
        names.BGP_PEERS: lambda one: bgp_status.peer_conditions(
            one,
            found.fault(names.BGP_PEERS, name_of(one)),
            profiles=profiles,
            absent_secrets=absent_secrets,
            nodes=nodes,
            statuses=statuses,
        ),
        names.BGP_ADVERTISEMENTS: lambda one: bgp_status.advertisement_conditions(
            one,
            found.fault(names.BGP_ADVERTISEMENTS, name_of(one)),
            pools=pools,
            peers=peers,
            aliases=aliases,
            nodes=nodes,
            announcing=bool(statuses),
        ),
        names.BFD_PROFILES: lambda one: bgp_status.profile_conditions(
            one, found.fault(names.BFD_PROFILES, name_of(one)), peers=peers
        ),
        names.COMMUNITIES: lambda one: bgp_status.community_conditions(
            one, found.fault(names.COMMUNITIES, name_of(one))
        ),
    }


def _sound(found: Configuration, objects: dict[Resource, list[Object]], kind: Resource) -> list[Object]:
    return [one for one in objects[kind] if found.fault(kind, name_of(one)) is None]


def _version(document: Object) -> str:
    version: str = document["metadata"]["resourceVersion"]
    return version
