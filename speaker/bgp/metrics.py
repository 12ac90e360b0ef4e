"""What is counted of BGP: MetalLB's metrics by MetalLB's names and labels, and what those lack.

MetalLB frr-tools/metrics/collector/bgp.go and bfd.go. A session that is configured and that FRR does not know has its
series all the same, at 0: an alert on it must not end because FRR did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from allocator.bgp.command import Daemon, Reset
from allocator.bgp.inputs import Peer
from speaker.bgp.bfd_sessions import BfdSession, bfd_sessions
from speaker.bgp.events import Applied, Connected, Event, Rejected, Resetting
from speaker.bgp.reports import BgpReader, Leave, SessionState, Snapshot

_LABELS = ("peer", "vrf")

_OF_SESSIONS: tuple[tuple[str, str, str], ...] = (
    ("opens_sent", "opensSent", "Number of BGP open messages sent"),
    ("opens_received", "opensRecv", "Number of BGP open messages received"),
    ("notifications_sent", "notificationsSent", "Number of BGP notification messages sent"),
    ("updates_total", "updatesSent", "Number of BGP UPDATE messages sent"),
    ("updates_total_received", "updatesRecv", "Number of BGP UPDATE messages received"),
    ("keepalives_sent", "keepalivesSent", "Number of BGP keepalive messages sent"),
    ("keepalives_received", "keepalivesRecv", "Number of BGP keepalive messages received"),
    ("route_refresh_sent", "routeRefreshSent", "Number of BGP route refresh messages sent"),
    ("total_sent", "totalSent", "Number of total BGP messages sent"),
    ("total_received", "totalRecv", "Number of total BGP messages received"),
)
"""Name, bgpd's `messageStats`, help."""

_OF_BFD: tuple[tuple[str, str, str], ...] = (
    ("control_packet_input", "control-packet-input", "Number of received BFD control packets"),
    ("control_packet_output", "control-packet-output", "Number of sent BFD control packets"),
    ("echo_packet_input", "echo-packet-input", "Number of received BFD echo packets"),
    ("echo_packet_output", "echo-packet-output", "Number of sent BFD echo packets"),
    ("session_up_events", "session-up", "Number of BFD session up events"),
    ("session_down_events", "session-down", "Number of BFD session down events"),
    ("zebra_notifications", "zebra-notifications", "Number of BFD zebra notifications"),
)


class BgpMetrics(Collector):
    """Collects from what the reader says when it is asked; a `BgpListener` for what can only be counted.

    Called by the thread that decides about BGP and by those that answer scrapes. `_daemons` and `_resetting` are the
    former's.
    """

    def __init__(self, reader: BgpReader, registry: CollectorRegistry) -> None:
        self._reader = reader
        self._daemons: dict[Daemon, int] = {}
        self._states: Mapping[str, SessionState] = {}
        self._resetting: set[tuple[str, str]] = set()
        self._apply_seconds = Histogram(
            "admitlb_bgp_apply_seconds",
            "Time from the first command of a change to the last daemon's answer",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
            registry=registry,
        )
        self._resets = Counter(
            "admitlb_bgp_session_resets",
            "Sessions that ended: by a change of configuration, with what was changed, or as FRR reports it",
            ["by", "reason"],
            registry=registry,
        )
        self._restarts = Counter(
            "admitlb_bgp_frr_restarts", "Daemons of FRR found to be others than before", ["daemon"], registry=registry
        )
        self._rejections = Counter(
            "admitlb_bgp_config_rejected", "Commands that FRR refused", ["kind"], registry=registry
        )
        # Counted from zero: what begins at 1 has not increased, to Prometheus.
        for daemon in Daemon:
            self._restarts.labels(daemon.value)
        for kind in ("BGPPeer", "BFDProfile", "prefix", "other"):
            self._rejections.labels(kind)
        self.counters = (self._apply_seconds, self._resets, self._restarts, self._rejections)
        registry.register(self)

    def on_services(self, keys: frozenset[str] | None) -> None:
        """Pass over it."""

    def on_event(self, event: Event) -> None:
        """Count."""
        match event:
            case Applied(_, seconds):
                self._apply_seconds.observe(seconds)
            case Rejected():
                self._rejections.labels(_kind(event)).inc()
            case Resetting(resets):
                self._note_resets(resets)
            case Connected(daemon, pid, _):
                # In a PID namespace of its own it has no number here, and a new connection is all there is to go by.
                if daemon in self._daemons and (not pid or pid != self._daemons[daemon]):
                    self._restarts.labels(daemon.value).inc()
                self._daemons[daemon] = pid

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Count the sessions that have ended by themselves."""
        before, self._states = self._states, snapshot.states
        for name, peer in snapshot.sessions.items():
            old, new = before.get(name), snapshot.states.get(name)
            if old is not None and not old.is_of(peer):
                old = None
            ended = int(old is not None and old.up) if new is None else _ended(old, new)
            if ended and (peer.vrf, peer.id) in self._resetting:
                # Seen by the reading after the change: until then the session is up, as it was read before.
                self._resetting.discard((peer.vrf, peer.id))
                ended -= 1
            if ended:
                reason = new.last_reset if new is not None else "FRR ended"
                self._resets.labels("session", reason).inc(ended)

    def collect(self) -> Iterator[Metric]:
        """Yield what is to be said now."""
        snapshot = self._reader.snapshot()
        yield from self._sessions(snapshot)
        yield from _bfd(bfd_sessions(self._reader.ask) if _uses_bfd(snapshot) else ())
        yield _gauge(
            "admitlb_bgp_frr_connected",
            "1 if the daemon of FRR takes commands",
            ("daemon",),
            [((daemon.value,), _connected(snapshot, daemon)) for daemon in Daemon],
        )
        yield _single("admitlb_bgp_refused", "Things that FRR refused and does not have", len(snapshot.rejected))
        yield _single(
            "admitlb_bgp_resets_withheld",
            "Resets of sessions that wait for this node's turn",
            len(snapshot.withheld),
        )
        yield _single(
            "admitlb_bgp_leaving", "1 if the node is leaving, or has left", int(snapshot.leave is not Leave.NO)
        )

    def _sessions(self, snapshot: Snapshot) -> Iterator[Metric]:
        named = [(_labels(peer, snapshot.states.get(name)), name) for name, peer in snapshot.sessions.items()]
        states = {name: snapshot.states.get(name) for _, name in named}

        def family(name: str, text: str, value: Mapping[str, float], kind: str = "gauge") -> Metric:
            return _metric(name, text, kind, _LABELS, [(labels, value.get(peer, 0)) for labels, peer in named])

        up = {name: 1.0 for name, state in states.items() if state is not None and state.up}
        sent = {name: float(state.sent_prefixes) for name, state in states.items() if state is not None}
        drops = {name: float(state.drops) for name, state in states.items() if state is not None}
        wanted = {name: float(count) for name, count in self._reader.wanted().items()}
        yield family("metallb_bgp_session_up", "BGP session state (1 is up, 0 is down)", up)
        yield family(
            "metallb_bgp_announced_prefixes_total",
            "Number of prefixes currently being advertised on the BGP session",
            sent,
        )
        for name, key, text in _OF_SESSIONS:
            counts = {
                peer: float(state.message_counts.get(key, 0)) for peer, state in states.items() if state is not None
            }
            yield family(f"metallb_bgp_{name}", text, counts, "unknown")
        yield family("admitlb_bgp_wanted_prefixes", "Prefixes that the peer is to have", wanted)
        yield family(
            "admitlb_bgp_route_lag_seconds",
            "For how long a session that is up has been sent other prefixes than wanted, or FRR does not have it",
            self._reader.lags(),
        )
        yield family("admitlb_bgp_session_drops_total", "How often FRR says the session has ended", drops, "unknown")

    def _note_resets(self, resets: Iterable[Reset]) -> None:
        up = {(state.vrf, state.neighbor) for state in self._states.values() if state.up}
        for reset in resets:
            if (reset.vrf, reset.neighbor) in up:
                self._resetting.add((reset.vrf, reset.neighbor))
            self._resets.labels("configuration", reset.reason).inc()


def _ended(before: SessionState | None, now: SessionState) -> int:
    """Return how often a session has ended since it was last looked at; bgpd counts anew when it restarts."""
    return max(0, now.drops - before.drops) if before is not None else 0


def _bfd(sessions: Iterable[BfdSession]) -> Iterator[Metric]:
    listed = [((each.peer, each.vrf), each) for each in sessions]
    up = [(labels, float(each.up)) for labels, each in listed]
    yield _metric("metallb_bfd_session_up", "BFD session state (1 is up, 0 is down)", "gauge", _LABELS, up)
    for name, key, text in _OF_BFD:
        counts = [(labels, float(each.counts.get(key, 0))) for labels, each in listed]
        yield _metric(f"metallb_bfd_{name}", text, "unknown", _LABELS, counts)


def _labels(peer: Peer, state: SessionState | None) -> tuple[str, str]:
    """As MetalLB has them; the port is known before the first connection, so that a series keeps its labels."""
    port = state.port if state is not None and state.port else peer.port
    return f"{peer.id}:{port}", peer.vrf or "default"


def _uses_bfd(snapshot: Snapshot) -> bool:
    return _connected(snapshot, Daemon.BFDD) > 0 and any(peer.bfd_profile for peer in snapshot.sessions.values())


def _connected(snapshot: Snapshot, daemon: Daemon) -> float:
    state = snapshot.daemons.get(daemon)
    return float(state is not None and state.connected)


def _kind(event: Rejected) -> str:
    if event.peer:
        return "BGPPeer"
    if event.profile:
        return "BFDProfile"
    return "prefix" if event.network is not None else "other"


def _single(name: str, text: str, value: float) -> Metric:
    return _gauge(name, text, (), [((), value)])


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    return _metric(name, text, "gauge", labels, values)


def _metric(
    name: str, text: str, kind: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    """Return a metric whose name stays as written: of a "counter" the writer would append `_total`."""
    metric = Metric(name, text, kind)
    for of_labels, value in values:
        metric.add_sample(name, dict(zip(labels, of_labels, strict=True)), value)
    return metric
