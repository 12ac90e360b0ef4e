"""Which conditions the objects for BGP are to show, and which of them show them already."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from allocator.kube.client import Object
from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.objects.bgp_community import all_aliases
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, node_status_from
from allocator.objects.document import in_order_of_age, name_of
from allocator.rules import bgp_status
from allocator.rules.bgp_nodes import Labels, Nodes
from allocator.rules.bgp_peer import peers_of
from allocator.rules.conditions import Condition
from allocator.rules.configuration import Configuration

Objects = Mapping[Resource, Sequence[Object]]
Judge = Callable[[Object], tuple[Condition, ...]]


class BgpConditions:
    """Judges what may have become different: of a node's report only the BGPPeers of which it says something else.

    Belongs to one thread; does no I/O.
    """

    def __init__(self) -> None:
        self._reported: dict[str, BgpNodeStatus] = {}
        """By the name of their object."""
        self._statuses: dict[str, BgpNodeStatus] = {}
        """The same by node."""
        self._silent: set[str] = set()
        """Nodes of which that does not count."""
        self._settled: dict[tuple[str, str], str] = {}
        """By plural and name, the version that shows its conditions."""
        self._read_from: tuple[Configuration, frozenset[str]] | None = None
        self._judges: Mapping[Resource, Judge] = {}

    @property
    def reporting(self) -> frozenset[str]:
        """The nodes that have reported, whether that counts or not."""
        return frozenset(self._statuses)

    def take_report(self, name: str, document: Object | None) -> None:
        """Take in what a node reports of its sessions, or that it does not any more."""
        before = self._reported.pop(name, None)
        now = node_status_from(document) if document is not None else None
        announcing = bool(self._statuses)
        if before is not None:
            self._statuses.pop(before.node, None)
        if now is not None:
            self._reported[name] = self._statuses[now.node] = now
        if announcing is not bool(self._statuses):
            self._read_from = None
        elif before is None or now is None or (before.node, before.message) != (now.node, now.message):
            # Each peer's conditions say how many nodes report, and why one has not got that far.
            self._unsettle_peers(None)
        else:
            was, now_is = _shown(before), _shown(now)
            self._unsettle_peers({peer for peer in was.keys() | now_is.keys() if was.get(peer) != now_is.get(peer)})

    def set_silent(self, nodes: frozenset[str]) -> None:
        """What these nodes have reported does not count: their speakers do not renew it, or there is no such node."""
        if nodes != self._silent:
            self._silent.clear()
            self._silent |= nodes
            self._unsettle_peers(None)

    def pending(
        self, found: Configuration, objects: Objects, nodes: Labels, absent_secrets: frozenset[str]
    ) -> Iterator[tuple[Resource, Object, tuple[Condition, ...]]]:
        """Yield the objects that may show something else than they are to, and what that is."""
        if self._read_from is None or self._read_from[0] is not found or self._read_from[1] != absent_secrets:
            self._settled.clear()
            self._read_from = found, absent_secrets
            self._judges = _judges(found, objects, Nodes(nodes), absent_secrets, self._statuses, self._silent)
        for kind, listed in objects.items():
            for document in listed:
                if self._settled.get((kind.plural, name_of(document))) != _version(document):
                    yield kind, document, self._judges[kind](document)

    def settle(self, kind: Resource, document: Object) -> None:
        """It shows what it is to show."""
        self._settled[kind.plural, name_of(document)] = _version(document)

    def _unsettle_peers(self, peers: set[str] | None) -> None:
        """Look at these BGPPeers again; None stands for all."""
        plural = names.BGP_PEERS.plural
        for key in [key for key in self._settled if key[0] == plural and (peers is None or key[1] in peers)]:
            del self._settled[key]


def sound(found: Configuration, objects: Objects, kind: Resource) -> list[Object]:
    """Return the objects of a kind that nothing is wrong with."""
    return [one for one in objects[kind] if found.fault(kind, name_of(one)) is None]


def _shown(status: BgpNodeStatus) -> dict[str, tuple[object, ...]]:
    """Return, by BGPPeer, what of a node's report its conditions show; the counters of prefixes are not in it."""

    def shown(entry: SessionEntry) -> tuple[object, ...]:
        return entry.up, entry.message, entry.rejected

    return {entry.peer: shown(entry) for entry in status.sessions}


def _judges(
    found: Configuration,
    objects: Objects,
    nodes: Nodes,
    absent_secrets: frozenset[str],
    statuses: Mapping[str, BgpNodeStatus],
    silent: Collection[str],
) -> Mapping[Resource, Judge]:
    """By kind, what an object of it shows; `statuses` and `silent` are read anew for each."""
    pools = list(found.sound_pools().values())
    peers = peers_of(sound(found, objects, names.BGP_PEERS))
    profiles = {name_of(one) for one in sound(found, objects, names.BFD_PROFILES)}
    aliases = all_aliases(in_order_of_age(objects[names.COMMUNITIES]))
    return {
        names.BGP_PEERS: lambda one: bgp_status.peer_conditions(
            one,
            found.fault(names.BGP_PEERS, name_of(one)),
            profiles=profiles,
            absent_secrets=absent_secrets,
            nodes=nodes,
            statuses=statuses,
            silent=silent,
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


def _version(document: Object) -> str:
    version: str = document["metadata"]["resourceVersion"]
    return version
