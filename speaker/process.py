"""The speaker of one node: its parts, the order in which they start and stop, and who notices when one dies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from prometheus_client import CollectorRegistry

from allocator.core.addresses import Address
from allocator.kube import resource
from allocator.kube.client import ApiError, Cluster
from allocator.kube.events import EventRecorder
from allocator.kube.resource import Resource
from allocator.process.logs import EventLog
from speaker import layer2
from speaker.address_questions import AddressQuestions
from speaker.cluster.state import View
from speaker.cluster_watches import ClusterWatches
from speaker.controller import Controller
from speaker.garbage import settle_garbage
from speaker.layer2.announcer import Announcer
from speaker.layer2.conflicts import ConflictListener
from speaker.layer2.gratuitous import REFRESH_SECONDS
from speaker.layer2.interface_endpoint import opener
from speaker.layer2.vacancy_prober import VacancyListener, VacancyProber
from speaker.membership.durations import DEFAULT_DEAD_AFTER_SECONDS, DEFAULT_INTERVAL_SECONDS
from speaker.membership.host_check import HostWatch
from speaker.membership.key import KeyWatch, read_key
from speaker.membership.lease import LeaseKeeper
from speaker.membership.lease_list import LeaseList
from speaker.membership.liveness import Liveness
from speaker.membership.service import Heartbeats
from speaker.metrics import SpeakerMetrics
from speaker.monitor_port import MonitorPort
from speaker.netdev import filters
from speaker.netdev.event_loop import PacketLoop
from speaker.netdev.interface_watch import InterfaceWatch
from speaker.netdev.interfaces import EXCLUDED_NAMES, Interface
from speaker.netdev.link_state import reachable_at, subnets_of
from speaker.netdev.packet_socket import MaySend, require_raw_sockets
from speaker.node_warnings import NodeWarnings
from speaker.realtime import prefer_threads
from speaker.status.foreign_hosts import ForeignHostReporter
from speaker.status.rate_limit import EVENTS_AT_ONCE, EVENTS_PER_SECOND, WritePace
from speaker.status.reporting import Reporting

if TYPE_CHECKING:
    from speaker.bgp_parts import BgpParts

log = EventLog("speaker")

HANDOVER_SECONDS = 1.0
"""How long a leaving speaker waits at most until others are heard to announce what it announced; with others there
it takes milliseconds."""

BGP_METRICS_PORT = 9121
"""MetalLB's."""

_RETRY_SECONDS = 0.5
_EVENTS_WAITING = 100
_Value = TypeVar("_Value")


class Part(Protocol):
    """Something with a thread."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """End, and wait for the thread."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        ...


class Synced(Protocol):
    """Something that first has to know the whole of what it reads."""

    def wait_synced(self, timeout_seconds: float | None = None) -> bool:
        """Return whether that is known, waiting for it up to the timeout."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a speaker is configured with."""

    node: str
    namespace: str
    heartbeat_port: int
    lb_class: str = ""
    heartbeat_interval_seconds: float = DEFAULT_INTERVAL_SECONDS
    dead_after_seconds: float = DEFAULT_DEAD_AFTER_SECONDS
    announce_refresh_seconds: float = REFRESH_SECONDS
    probe: bool = True
    announce_from_subnet: bool = True
    excluded_interfaces: tuple[str, ...] = EXCLUDED_NAMES
    realtime: bool = False
    frr_sockets: Path | None = None
    """The folder of the sockets of FRR's daemons; None on a node that does not announce by BGP."""
    kube_proxy_url: str = ""
    leave_wait_seconds: float = 0.0
    leave_on_cordon: bool = False
    bgp_metrics_port: int = BGP_METRICS_PORT


class Stopped(Exception):
    """The speaker was to stop before it had started."""


class Speaker:
    """Everything a node's speaker runs. `start` returns once its threads run; it begins to announce by itself."""

    def __init__(self, cluster: Cluster, settings: Settings, registry: CollectorRegistry) -> None:
        self._cluster = cluster
        self._settings = settings
        self._metrics = SpeakerMetrics(registry)
        self._stopping = threading.Event()
        self._events = EventRecorder(
            cluster,
            component="metallb-speaker",
            host=settings.node,
            pace=WritePace(per_second=EVENTS_PER_SECOND, at_once=EVENTS_AT_ONCE),
            backlog=_EVENTS_WAITING,
        )
        self.warnings = NodeWarnings(settings.node, self._events)
        self._parts: dict[str, Part] = {}
        self._waiting_for = "the speakers' key"
        self._heartbeats: Heartbeats | None = None
        self._controller: Controller | None = None

    def start(self) -> None:
        """Fetch what is needed and start every part. Raises Stopped, and OSError when a socket is refused."""
        settings = self._settings
        require_raw_sockets()
        key = self._retry("speaker.key", self._read_key)
        self._waiting_for = "the API server"
        slices = self._retry("speaker.discovery", self._endpoint_slices)
        self._waiting_for = "the first list of every watch"
        heartbeats = Heartbeats(
            node=settings.node,
            key=key,
            port=settings.heartbeat_port,
            metrics=self._metrics,
            interval_seconds=settings.heartbeat_interval_seconds,
            dead_after_seconds=settings.dead_after_seconds,
            restrict=filters.restrict,
        )
        fence = heartbeats.fence
        packets = PacketLoop(self._metrics.packet_loop_lag.observe)
        prober, foreign_hosts, questions = self._asking_ahead(packets, lambda: fence.open)
        announcer = Announcer(
            packets=packets,
            open_endpoint=opener(self._metrics, lambda: fence.open),
            metrics=self._metrics,
            may_send=lambda: fence.open,
            probe=settings.probe,
            is_vacant=prober.is_vacant,
            refresh_seconds=settings.announce_refresh_seconds,
        )
        reporting = Reporting(self._cluster, node=settings.node, namespace=settings.namespace, events=self._events)
        reporter = reporting.reporter
        hosts = HostWatch(settings.heartbeat_port)
        bgp = self._bgp(settings.frr_sockets) if settings.frr_sockets is not None else None
        controller = Controller(
            node=settings.node,
            view=View(lb_class=settings.lb_class),
            announcer=announcer,
            peers=heartbeats,
            hosts=hosts,
            reports=reporter,
            metrics=self._metrics,
            protocol=layer2.PROTOCOL,
            by_subnet=settings.announce_from_subnet,
            questions=questions if settings.probe else None,
            routes=bgp.routes if bgp is not None else None,
            on_known=settle_garbage,
        )
        hosts.report_to(controller.on_gone)
        lease = LeaseKeeper(
            self._cluster,
            node=settings.node,
            namespace=settings.namespace,
            by_subnet=settings.announce_from_subnet,
            on_stored=reporting.on_lease,
        )
        leases = LeaseList(
            self._cluster,
            namespace=settings.namespace,
            heartbeats=heartbeats,
            wait_written=lease.wait_written,
            on_change=controller.on_change,
        )

        def on_rival(address: Address, node: str) -> None:
            # It announces though it may not be heard: that is as good as a renewed Lease.
            log.warning("address.rival", ip=address, service=controller.services_of(address), node=node)
            self._metrics.double_announcers.inc()
            heartbeats.announces(node)

        announcer.report_to(
            ConflictListener(
                on_conflict=reporter.conflict,
                on_over=reporter.conflict_over,
                on_rival=on_rival,
                whose=controller.whose,
                on_answered=controller.on_answered,
                on_refused=partial(self._on_refused, controller),
                services_of=controller.services_of,
            )
        )

        _report_vacancy(prober, announcer, foreign_hosts, controller)
        keys = KeyWatch(self._read_key, key=key, on_change=heartbeats.use_key)

        watches = ClusterWatches(
            self._cluster,
            namespace=settings.namespace,
            slices=slices,
            on_change=controller.on_change,
            follower=bgp,
        )
        reporting.on_restored(watches.relist)

        def on_interfaces(interfaces: tuple[Interface, ...]) -> None:
            announcer.set_interfaces(interfaces)
            prober.set_interfaces(interfaces)
            controller.on_interfaces(interfaces)
            lease.reach_at(reachable_at(interfaces), subnets_of(interfaces))
            watches.on_interfaces(interfaces)

        def on_liveness(liveness: Liveness) -> None:
            controller.on_liveness(liveness)
            # Who is cut off does not serve: the others are not to go by its Lease.
            serving = settings.node in liveness.alive and not liveness.cut_off_from
            lease.serve(serving, hears=heartbeats.hears, alone=liveness.alone)

        heartbeats.report_to(on_liveness, on_forged=keys.doubt, on_port_held=self.warnings.heartbeat_port_held)
        # Stopped in reverse: first the hand-over, which needs no API server, last what may wait for one.
        parts: dict[str, Part] = {
            **watches.parts,
            **(bgp.parts if bgp is not None else {}),
            **({"port of BGP's metrics": self._bgp_port(bgp)} if bgp is not None else {}),
            "watch of what was reported": reporting.stored,
            "status": reporting.writer,
            "report of foreign hosts": foreign_hosts,
            "lease": lease,
            "list of leases": leases,
            "events": self._events,
            "key": keys,
            "packets": packets,
            "announcer": announcer,
            "vacancy": prober,
            "interfaces": InterfaceWatch(on_interfaces, excluded=settings.excluded_interfaces),
            "hosts": hosts,
            "heartbeats": heartbeats,
            "controller": controller,
        }
        for name, part in parts.items():
            part.start()
            self._parts[name] = part
        if settings.realtime:
            prefer_threads()
        self._heartbeats, self._controller = heartbeats, controller
        self._await_synced([*watches.waited_for, leases], then=controller.on_synced)
        self._waiting_for = "the other speakers' heartbeats"

    def not_ready(self) -> list[str]:
        """Return why this node cannot announce yet; empty when it can."""
        if self._heartbeats is not None and self._heartbeats.serving:
            return self.dead()
        return [f"waiting for {self._waiting_for}", *self.dead()]

    def dead(self) -> list[str]:
        """Name the parts whose thread has ended though nobody stopped it."""
        if self._stopping.is_set():
            return []
        return [f"{name} has died" for name, part in self._parts.items() if not part.alive]

    def interrupt(self) -> None:
        """Make `start` give up waiting; safe in a signal handler."""
        self._stopping.set()

    def stop(self) -> None:
        """Hand the addresses over, then end every part: no question goes unanswered in between.

        The others are notified first; what is announced here stays so until its successor is heard to announce it.
        """
        self._stopping.set()
        if self._heartbeats is not None and self._controller is not None and self._heartbeats.serving:
            self._heartbeats.leave()
            given = self._controller.wait_given_away(HANDOVER_SECONDS)
            log.info("speaker.left", given_away=given)
        for name, part in reversed(self._parts.items()):
            log.debug("part.stopping", part=name)
            part.stop()

    def _on_refused(self, controller: Controller, refused: Mapping[Address, str]) -> None:
        controller.on_refused(refused)
        self.warnings.addresses_refused(refused)

    def _asking_ahead(
        self, packets: PacketLoop, may_send: MaySend
    ) -> tuple[VacancyProber, ForeignHostReporter, AddressQuestions]:
        """What asks the LAN about addresses before they are announced, what reports the answers, what says which."""
        settings = self._settings
        prober = VacancyProber(
            packets=packets,
            open_endpoint=opener(self._metrics, may_send, answers=False),
            metrics=self._metrics,
            may_send=may_send,
        )
        reports = ForeignHostReporter(
            self._cluster, node=settings.node, namespace=settings.namespace, metrics=self._metrics
        )
        questions = AddressQuestions(
            node=settings.node,
            lb_class=settings.lb_class,
            by_subnet=settings.announce_from_subnet,
            prober=prober,
            reports=reports,
        )
        return prober, reports, questions

    def _bgp(self, sockets: Path) -> BgpParts:
        """What announces by BGP; imported here, as it costs memory that a node without FRR is to keep."""
        from speaker.bgp.settings import BgpSettings  # noqa: PLC0415
        from speaker.bgp_parts import BgpParts  # noqa: PLC0415

        settings = BgpSettings(
            node=self._settings.node,
            sockets=sockets,
            leave_on_cordon=self._settings.leave_on_cordon,
            marked_seconds=self._settings.leave_wait_seconds,
            kube_proxy_url=self._settings.kube_proxy_url,
        )
        return BgpParts(self._cluster, settings, namespace=self._settings.namespace, events=self._events)

    def _bgp_port(self, bgp: BgpParts) -> MonitorPort:
        return MonitorPort(
            self._settings.bgp_metrics_port,
            ready=self.not_ready,
            healthy=self.dead,
            on_held=self.warnings.bgp_metrics_port_held,
            registry=bgp.registry,
            option="bgp-metrics-port",
        )

    def _read_key(self) -> bytes:
        return read_key(self._cluster, self._settings.namespace)

    def _endpoint_slices(self) -> Resource:
        if self._cluster.serves(resource.ENDPOINT_SLICES_V1):
            return resource.ENDPOINT_SLICES_V1
        return resource.ENDPOINT_SLICES_V1BETA1

    def _retry(self, event: str, attempt: Callable[[], _Value]) -> _Value:
        said = ""
        while not self._stopping.is_set():
            try:
                return attempt()
            except ApiError as error:
                if str(error) != said:
                    said = str(error)
                    log.warning(event, error=error, retry_seconds=_RETRY_SECONDS)
            self._stopping.wait(_RETRY_SECONDS)
        raise Stopped

    def _await_synced(self, sources: Sequence[Synced], *, then: Callable[[], None]) -> None:
        for source in sources:
            while not source.wait_synced(_RETRY_SECONDS):
                if self._stopping.is_set() or self.dead():
                    raise Stopped
        then()


def _report_vacancy(
    prober: VacancyProber, announcer: Announcer, reports: ForeignHostReporter, controller: Controller
) -> None:
    def on_vacant(address: Address) -> None:
        announcer.found_vacant(address)
        reports.vacant(address)

    prober.report_to(
        VacancyListener(on_taken=reports.taken, on_vacant=on_vacant, on_asked=reports.asked, whose=controller.whose)
    )
