"""What a node's speaker runs in addition where it announces by BGP. Nothing of it is imported where it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from prometheus_client import CollectorRegistry

from allocator.kube.client import Cluster
from allocator.kube.reflector import Change, Reflector, identity
from allocator.kube.resource import Resource
from allocator.objects.names import BGP_KINDS
from allocator.process.background import Background
from speaker.bgp.announcer import LISTED, BgpAnnouncer, BgpSettings
from speaker.bgp.metrics import BgpMetrics
from speaker.bgp.passwords import PasswordWatch
from speaker.bgp.reset_turn import ResetTurn
from speaker.bgp.service_follower import ServiceFollower


class BgpParts:
    """The parts, joined to each other. The controller is given `routes`; what layer 2 watches as well is followed."""

    def __init__(self, cluster: Cluster, settings: BgpSettings, *, namespace: str) -> None:
        self._turn = ResetTurn(cluster, node=settings.node, namespace=namespace, on_turn=self._retry_resets)
        self.announcer = BgpAnnouncer(settings, turn=self._turn, on_secrets=self._need)
        self.registry = CollectorRegistry()
        """The metrics of BGP, which have a port of their own, as MetalLB's have."""
        self.announcer.report_to(BgpMetrics(self.announcer, self.registry))
        self._passwords = PasswordWatch(cluster, namespace=namespace, on_read=self.announcer.set_passwords)
        self._reflectors: Sequence[Reflector] = [
            Reflector(
                cluster,
                kind,
                namespace=namespace,
                kept=identity,
                on_change=self.announcer.on_change,
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
            "BGP": self.announcer,
        }

    def on_change(self, change: Change) -> None:
        """Take note of what a watch of layer 2 has seen."""
        self.announcer.on_change(change)

    def on_listed(self, resource: Resource) -> None:
        """Take note that a watch of layer 2 has passed on all objects of a kind."""
        if resource in LISTED:
            self.announcer.on_listed(resource)

    def relist(self) -> None:
        """List all anew, because the API server has lost the state they stand on."""
        for reflector in self._reflectors:
            reflector.relist()

    def _retry_resets(self) -> None:
        self.announcer.retry_resets()

    def _need(self, secrets: frozenset[str]) -> None:
        self._passwords.need(secrets)
