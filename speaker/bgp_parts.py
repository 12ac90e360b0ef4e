"""What a node's speaker runs in addition where it announces by BGP. Nothing of it is imported where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from prometheus_client import CollectorRegistry

from allocator.kube.client import Cluster
from allocator.kube.reflector import Change, Reflector, identity
from allocator.kube.resource import NODES, Resource
from allocator.objects.names import BGP_KINDS, BGP_PEERS, SERVICE_BGP_STATUSES
from allocator.process.background import Background
from speaker.bgp.announced_services import AnnouncedServices
from speaker.bgp.announcer import BgpAnnouncer
from speaker.bgp.listeners import Listeners
from speaker.bgp.metrics import BgpMetrics
from speaker.bgp.passwords import PasswordWatch
from speaker.bgp.reset_turn import ResetTurn
from speaker.bgp.service_follower import ServiceFollower
from speaker.bgp.settings import LISTED, BgpSettings
from speaker.status.bgp_events import BgpEvents, PeerRecorder
from speaker.status.bgp_writer import BgpStatusWriter
from speaker.status.service_l2_status import NODE_LABEL


class BgpParts:
    """The parts, joined to each other. The controller is given `routes`; what layer 2 watches as well is followed."""

    def __init__(self, cluster: Cluster, settings: BgpSettings, *, namespace: str, events: PeerRecorder) -> None:
        self._turn = ResetTurn(cluster, node=settings.node, namespace=namespace, on_turn=self._retry_resets)
        self.announcer = BgpAnnouncer(settings, turn=self._turn, on_secrets=self._need)
        self.registry = CollectorRegistry()
        """The metrics of BGP, which have a port of their own, as MetalLB's have."""
        self._events = BgpEvents(node=settings.node, namespace=namespace, recorder=events)
        self._status = BgpStatusWriter(
            cluster, self.announcer, node=settings.node, namespace=namespace, node_count=lambda: len(self._nodes)
        )
        self.announcer.report_to(
            Listeners(
                BgpMetrics(self.announcer, self.registry),
                AnnouncedServices(self.announcer, self.registry, node=settings.node),
                self._events,
                self._status,
            )
        )
        self._nodes: set[str] = set()
        """Of the cluster; written by the thread of their watch."""
        self._stored = Reflector(
            cluster,
            SERVICE_BGP_STATUSES,
            namespace=namespace,
            label_selector=f"{NODE_LABEL}={settings.node}",
            kept=identity,
            on_change=self._status.on_change,
        )
        self._passwords = PasswordWatch(cluster, namespace=namespace, on_read=self.announcer.set_passwords)
        self._reflectors: Sequence[Reflector] = [
            Reflector(
                cluster,
                kind,
                namespace=namespace,
                kept=identity,
                on_change=self._on_object,
                on_listed=partial(self.announcer.on_listed, kind),
            )
            for kind in BGP_KINDS
        ]
        self.routes = ServiceFollower(self.announcer.follow, on_known=self.announcer.on_known)

    @property
    def parts(self) -> Mapping[str, Background | Reflector]:
        """The parts by name, in the order in which they start."""
        return {
            **{f"watch of {reflector.resource.plural}": reflector for reflector in self._reflectors},
            "passwords for BGP": self._passwords,
            "turn to reset BGP sessions": self._turn,
            "watch of ServiceBGPStatuses": self._stored,
            "status of BGP": self._status,
            "BGP": self.announcer,
        }

    def on_change(self, change: Change) -> None:
        """Take note of what a watch of layer 2 has seen."""
        if change.resource == NODES:
            (self._nodes.discard if change.new is None else self._nodes.add)(change.key[1])
        self.announcer.on_change(change)

    def on_listed(self, resource: Resource) -> None:
        """Take note that a watch of layer 2 has passed on all objects of a kind."""
        if resource in LISTED:
            self.announcer.on_listed(resource)

    def relist(self) -> None:
        """List all anew, because the API server has lost the state they are of."""
        for reflector in (*self._reflectors, self._stored):
            reflector.relist()

    def retry(self) -> None:
        """Try at once again to reach the API server, where that failed."""
        for reflector in (*self._reflectors, self._stored):
            reflector.retry()

    def _on_object(self, change: Change) -> None:
        if change.resource == BGP_PEERS:
            self._events.on_peer(change)
        self.announcer.on_change(change)

    def _retry_resets(self) -> None:
        self.announcer.retry_resets()

    def _need(self, secrets: frozenset[str]) -> None:
        self._passwords.need(secrets)
