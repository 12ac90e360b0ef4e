"""The nodes with a speaker, by their Node and its Lease: where each is reached, who serves, who is about to go."""

from __future__ import annotations

from collections.abc import Mapping

from allocator.objects.node import Node
from speaker.membership.lease import SpeakerLease
from speaker.membership.link import Subnet


class SpeakerNodes:
    """Owned by the thread that owns the View; `nodes` are the View's, which calls `node_changed`."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._leases: dict[str, SpeakerLease] = {}
        self._peers_changed = self._staying_changed = True

    def put_lease(self, name: str, lease: SpeakerLease | None) -> None:
        """Take in a Lease by its object's name; None once it is gone."""
        before = self._leases.get(name)
        if lease == before:
            return
        if lease is None:
            del self._leases[name]
        else:
            self._leases[name] = lease
        if lease is None or before is None or lease.addresses != before.addresses:
            self._peers_changed = True

    def node_changed(self, before: Node | None, node: Node | None) -> None:
        """Take note of a Node that is another in what decides."""
        self._staying_changed = True
        if node is None or before is None or node.internal_ip != before.internal_ip:
            self._peers_changed = True

    def take_peers_changed(self) -> bool:
        """Return whether `peers` or `hosts` may be others than at the last call."""
        changed, self._peers_changed = self._peers_changed, False
        return changed

    def take_staying_changed(self) -> bool:
        """Return whether `staying` may be others than at the last call."""
        changed, self._staying_changed = self._staying_changed, False
        return changed

    def peers(self) -> dict[str, tuple[str, ...]]:
        """Return every node with a speaker, this one included: name to the addresses it is reached at."""
        found = {}
        for lease in self._leases.values():
            node = self._nodes.get(lease.node)
            if node is not None:
                addresses = lease.addresses or ((node.internal_ip,) if node.internal_ip else ())
                found[lease.node] = addresses
        return found

    def staying(self) -> frozenset[str]:
        """Return the nodes of which nothing says that they are about to go."""
        return frozenset(node.name for node in self._nodes.values() if node.stays)

    def hosts(self) -> dict[str, tuple[str, ...]]:
        """Return every node with an InternalIP: name to that address."""
        return {node.name: (node.internal_ip,) for node in self._nodes.values() if node.internal_ip}

    def serving(self) -> frozenset[str]:
        """Return the nodes whose speaker serves, by its Lease."""
        return frozenset(lease.node for lease in self._leases.values() if lease.serving)

    def subnets(self) -> dict[str, tuple[Subnet, ...]]:
        """Return the subnets of each node's interfaces, by its speaker's Lease."""
        return {lease.node: lease.subnets for lease in self._leases.values()}
