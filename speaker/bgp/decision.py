"""What this node is to announce now, from all that has been seen of the cluster, of FRR and of the node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from allocator.bgp.desired import DesiredState, Difference
from allocator.bgp.frr_config import Config
from allocator.bgp.inputs import LocalNode, Password, Service
from allocator.bgp.running_values import router_ids
from allocator.kube.reflector import Key
from allocator.kube.resource import NODES
from allocator.objects.node import Node
from speaker.bgp.discrepancies import Discrepancies
from speaker.bgp.events import Connected, Event, PeerInUse, Resetting
from speaker.bgp.frr_reports import FrrReports
from speaker.bgp.leaving import Leaving
from speaker.bgp.object_table import ObjectTable
from speaker.bgp.observed import Observed
from speaker.bgp.peers_in_use import PeersInUse
from speaker.bgp.readiness import Readiness
from speaker.bgp.reports import ServiceRoutes, SessionState, Snapshot
from speaker.bgp.reset_turn import ResetTurn
from speaker.bgp.settings import LISTED, BgpSettings

SERVICES = "Service"
"""What stands for Services and Nodes among the kinds that have to be known."""


class Decision:
    """Takes in what was seen, input by input. Belongs to whoever holds the announcer's lock."""

    def __init__(
        self, settings: BgpSettings, *, turn: ResetTurn | None, on_secrets: Callable[[frozenset[str]], None]
    ) -> None:
        self._node = settings.node
        self._turn = turn
        self._on_secrets = on_secrets
        self._asked: frozenset[str] = frozenset()
        self._secret_problems: Mapping[str, str] = {}
        self.state = DesiredState(LocalNode(name=settings.node, leaving=True))
        self._table = ObjectTable(self.state)
        self.readiness = Readiness(
            Leaving(settings.node, on_cordon=settings.leave_on_cordon, marked_seconds=settings.marked_seconds),
            lists=(SERVICES, *(kind.kind for kind in LISTED)),
            kube_proxy_url=settings.kube_proxy_url,
        )
        self.peers_in_use = PeersInUse()
        self.frr = FrrReports()
        self._discrepancies = Discrepancies()
        self._running = Config()
        """What FRR runs that nobody has changed yet; empty once that may be."""

    def take_object(self, seen: Observed) -> None:
        """Take in an object for BGP, a pool, or this Node; or that it is gone."""
        secrets = self._table.secrets
        if seen.plural == NODES.plural:
            node = seen.value if isinstance(seen.value, Node) else None
            self.readiness.set_node(node)
            if node is not None:
                self._table.set_node_labels(node.labels)
        else:
            self._table.take(seen)
        if self._table.secrets != secrets:
            self._on_secrets(self._table.secrets)
            self.readiness.set_unread(self._table.secrets - self._asked)

    def take_services(self, services: Mapping[Key, Service | None]) -> None:
        """Take in Services that have changed; None is gone."""
        for key, service in services.items():
            self.state.set_service("/".join(key), service)

    def take_passwords(
        self, passwords: Mapping[str, Password], asked: frozenset[str], problems: Mapping[str, str]
    ) -> None:
        """Take in the passwords by Secret, all that are in those that were asked for, and what is wrong with some."""
        self._asked = asked
        self._secret_problems = problems
        self._table.set_passwords(passwords, asked)
        self.readiness.set_unread(self._table.secrets - asked)

    def take_event(self, event: Event) -> None:
        """Take in what the driver reports."""
        self.frr.take(event)
        if self.frr.read:
            self.readiness.set_connected()
        if isinstance(event, Connected):
            self._take_running(event)
        elif isinstance(event, PeerInUse):
            # Not as the driver has it, which knows the router ID as well: what is edited later is compared with this.
            if (peer := self.state.peers.get(event.peer.name)) is not None:
                self.peers_in_use.note(peer)
        elif isinstance(event, Resetting) and self._turn is not None:
            self._turn.note_resetting(event.resets)

    def take_states(self, vrf: str, states: Mapping[str, SessionState]) -> None:
        """Take in how the sessions of a VRF are."""
        self.frr.set_states(vrf, states)
        self.frr.keep(self.state.sessions.running)
        if self._turn is not None:
            self._turn.note_states(self.frr.states)

    def take_discrepancy(self) -> bool:
        """Return whether bgpd has had sessions otherwise than they are to be, and for too long; once for each."""
        return self.readiness.begun and self._discrepancies.look(self.state.wanted, self.frr.states)

    def lags(self) -> Mapping[str, float]:
        """Return for how many seconds sessions have had other prefixes than they are to have; those alone that do."""
        return self._discrepancies.lags()

    def look_at_peers(self) -> None:
        """See with which peers other programs of this node have a session; changes nothing of the desired state."""
        self.peers_in_use.watch(self.state.peers, self.frr.states)

    def follow_node(self, node: LocalNode) -> None:
        """Have the node announce as it may now, and leave peers alone that are in use."""
        self.state.set_node(node)
        self.state.set_peers_in_use(self.peers_in_use.names)

    def begin(self) -> None:
        """All that there is has been seen, and FRR is changed from now on: what nobody can read stays as it runs."""
        self._table.adopt(self._running)
        self._running = Config()
        self._keep_router_ids()

    def take_difference(self) -> Difference:
        """Return what became different since the last call."""
        difference = self.state.take_difference()
        if difference.sessions is not None:
            self.frr.keep(self.state.sessions.running)
            if self.readiness.begun:
                self._keep_router_ids()
        return difference

    def routes_of(self, service: str) -> ServiceRoutes:
        """Return what is announced of a Service (`namespace/name`)."""
        return ServiceRoutes(self.state.announcements(service), self.state.peers_of(service))

    def _take_running(self, event: Connected) -> None:
        self._table.adopt_passwords(event.running)
        if self.readiness.begun:
            return
        self._running = Config(
            self._running.lines | event.running.lines, event.running.networks or self._running.networks
        )
        self.state.set_router_ids(router_ids(self._running))

    def _keep_router_ids(self) -> None:
        """Have FRR keep the router IDs that it runs with where no BGPPeer sets one, whatever the Node says."""
        sessions = self.state.sessions.running
        unset = [peer for name, peer in sessions.items() if not self.state.peers[name].router_id]
        self.state.set_router_ids({peer.vrf: peer.router_id for peer in unset})

    def snapshot(self) -> Snapshot:
        """Return how things are."""
        return self.frr.snapshot(
            Snapshot(
                node=self._node,
                waiting_for=self.readiness.waiting_for,
                known=self.readiness.known,
                sessions=self.state.sessions.running,
                profiles=self.state.profiles,
                refused=self.state.sessions.refused,
                password_problems=self._table.password_problems(self._secret_problems),
                prefix_count=self.state.prefix_count,
                leave=self.readiness.leave,
                leave_reason=self.readiness.leave_reason,
            )
        )
