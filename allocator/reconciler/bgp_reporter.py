"""What has come of the objects for BGP: copies of them, and the conditions that the reporter writes."""

from __future__ import annotations

import queue
from collections.abc import Callable

from allocator.kube.client import Cluster, Object
from allocator.kube.reflector import Change, Reflector
from allocator.kube.resource import Resource
from allocator.kube.secret_presence import is_absent
from allocator.objects import names
from allocator.reconciler.bgp_conditions import BgpConditions, sound
from allocator.reconciler.session_secrets import SessionSecrets
from allocator.reconciler.speaker_leases import SpeakerLeases
from allocator.rules.bgp_nodes import Labels
from allocator.rules.bgp_peer import peers_of
from allocator.rules.conditions import Condition
from allocator.rules.configuration import Configuration

Write = Callable[[Resource, Object, tuple[Condition, ...]], bool]
"""Makes an object show these conditions, and returns whether that took a write."""


class BgpReporter:
    """Watches the four kinds, and what nodes report of their sessions.

    `report`, `due` and all that they keep belong to the reporter's thread; `_reports` carries nodes' reports there
    from the thread of their watch.
    """

    def __init__(
        self, cluster: Cluster, leases: SpeakerLeases, *, namespace: str, on_change: Callable[[Change], None]
    ) -> None:
        """`leases` is read by whoever calls `report`, before, where a node is `reporting`."""
        self._copies = {
            kind: Reflector(cluster, kind, namespace=namespace, on_change=on_change) for kind in names.BGP_KINDS
        }
        self._on_change = on_change
        self._node_statuses = Reflector(
            cluster, names.BGP_NODE_STATUSES, namespace=namespace, on_change=self._note_status
        )
        self._reports: queue.SimpleQueue[tuple[str, Object | None]] = queue.SimpleQueue()
        self._conditions = BgpConditions()
        self._secrets = SessionSecrets(lambda name: is_absent(cluster, name, namespace))
        self._leases = leases
        self._uncounted: frozenset[str] = frozenset()
        """The nodes whose reports are of a time that is over; replaced whole, by the reporter's thread."""
        self._named_secrets: frozenset[str] = frozenset()
        """Those of the BGPPeers that `_reported` finds sound."""
        self._reported: Configuration | None = None

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
        """Return the BGPNodeStatuses, without those that do not count. Any thread."""
        uncounted = self._uncounted
        return [one for one in self._node_statuses.items() if one["metadata"]["name"] not in uncounted]

    def take_reports(self) -> bool:
        """Take in what nodes have reported; return whether any reports sessions."""
        while not self._reports.empty():
            self._conditions.take_report(*self._reports.get())
        return bool(self._conditions.reporting)

    def report(self, found: Configuration, nodes: Labels, write: Write) -> None:
        """Write the conditions of those objects that do not show them. Raises what `write` raises."""
        objects = self.objects()
        if found is not self._reported:
            self._reported = found
            peers = peers_of(sound(found, objects, names.BGP_PEERS))
            self._named_secrets = frozenset(peer.password_secret for peer in peers if peer.password_secret)
        absent = self._secrets.absent(self._named_secrets)
        self._uncounted = self._find_uncounted(nodes)
        self._conditions.set_silent(self._uncounted)
        for kind, document, conditions in self._conditions.pending(found, objects, nodes, absent):
            if not write(kind, document, conditions):
                self._conditions.settle(kind, document)

    def _find_uncounted(self, nodes: Labels) -> frozenset[str]:
        """Return the nodes that are silent, or gone: before Nodes are listed, none is."""
        reporting = self._conditions.reporting
        gone = reporting - nodes.keys() if nodes else frozenset()
        return gone | (self._leases.silent & reporting)

    def _note_status(self, change: Change) -> None:
        self._reports.put((change.key[1], change.new))
        self._on_change(change)
