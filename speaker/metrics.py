"""What the speaker counts. Names and labels are MetalLB's where MetalLB has them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector


class ExactCounter(Collector):
    """A counter by address whose name stays as written.

    prometheus_client's own Counter appends `_total`, which MetalLB's layer 2 metrics do not have; dashboards ask
    for the bare names. `_values` is guarded by `_lock`.
    """

    def __init__(self, name: str, documentation: str, *, label: str = "ip") -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._values: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, label: str, amount: int = 1) -> None:
        """Count."""
        with self._lock:
            self._values[label] = self._values.get(label, 0) + amount

    def value(self, label: str) -> int:
        """What has been counted so far."""
        with self._lock:
            return self._values.get(label, 0)

    def collect(self) -> Iterator[Metric]:
        """Report every label seen."""
        # Typed "unknown" because the exposition writer appends _total to a counter's name.
        metric = Metric(self._name, self._documentation, "unknown")
        with self._lock:
            values = dict(self._values)
        for label, value in values.items():
            metric.add_sample(self._name, {self._label: label}, value)
        yield metric


class SpeakerMetrics:
    """All of the speaker's metrics, registered once in `registry`.

    Labels known from the start are counted from zero: a series that begins at 1 has not increased, to Prometheus, and
    the first takeover or forged heartbeat would go unseen.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests_received = ExactCounter(
            "metallb_layer2_requests_received", "Number of layer2 requests received for owned IPs"
        )
        self.responses_sent = ExactCounter(
            "metallb_layer2_responses_sent", "Number of layer2 responses sent for owned IPs in response to requests"
        )
        self.gratuitous_sent = ExactCounter(
            "metallb_layer2_gratuitous_sent", "Number of gratuitous layer2 packets sent for owned IPs"
        )
        for counter in (self.requests_received, self.responses_sent, self.gratuitous_sent):
            registry.register(counter)
        self.frames_received = Counter(
            "admitlb_layer2_frames_received",
            "Frames the kernel's filter let through",
            ["interface"],
            registry=registry,
        )
        self.frames_dropped = Counter(
            "admitlb_layer2_frames_dropped",
            "Frames the kernel's filter let through that need no answer, and frames lost to a full queue",
            ["interface", "reason"],
            registry=registry,
        )
        self.announcements = Counter(
            "admitlb_layer2_announcements",
            "Unsolicited announcements, by reason; each is one address on one interface",
            ["reason"],
            registry=registry,
        )
        self.conflicts = Counter(
            "admitlb_address_conflicts",
            "Reports of somebody else claiming an announced address, at most one in ten seconds an address",
            ["ip", "claimant"],
            registry=registry,
        )
        self.new_addresses = Counter(
            "admitlb_new_addresses",
            "Addresses announced here that were new to the cluster, by when the LAN was asked about them",
            ["asked"],
            registry=registry,
        )
        for asked in ("before", "then"):
            self.new_addresses.labels(asked)
        self.foreign_hosts = Gauge(
            "admitlb_foreign_hosts",
            "Hosts that are none of ours and answer this node for addresses that wait to be given",
            registry=registry,
        )
        self.packet_loop_lag = Histogram(
            "admitlb_packet_loop_lag_seconds",
            "How much later than due the thread that answers woke, sampled once a second",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0),
            registry=registry,
        )
        self.errors = Counter(
            "admitlb_layer2_errors", "Failed socket operations", ["interface", "operation"], registry=registry
        )
        self.refused = Gauge(
            "admitlb_addresses_refused",
            "Addresses that this node cannot answer for because the kernel refuses what that needs",
            registry=registry,
        )
        self.addresses = Gauge(
            "admitlb_announced_addresses",
            "Addresses announced from this node, 0 included: the skew is the largest less the smallest",
            registry=registry,
        )
        self.announced = Gauge(
            "metallb_speaker_announced",
            "Services being announced from this node",
            ["service", "protocol", "node", "ip"],
            registry=registry,
        )
        self.heartbeats_dropped = Counter(
            "admitlb_heartbeats_dropped", "Heartbeats not accepted, by reason", ["reason"], registry=registry
        )
        for reason in ("malformed", "forged", "stranger"):
            self.heartbeats_dropped.labels(reason)
        self.peers_alive = Gauge("admitlb_speakers_alive", "Speakers alive, this one included", registry=registry)
        self.peers_known = Gauge(
            "admitlb_speakers_known", "Nodes that have a speaker, alive or not, this one included", registry=registry
        )
        self.peers_by_lease = Gauge(
            "admitlb_speakers_alive_by_lease_only",
            "Speakers that renew their Lease but whose heartbeats do not arrive",
            registry=registry,
        )
        self.detection_seconds = Histogram(
            "admitlb_speaker_detection_seconds",
            "Silence after which another speaker was given up",
            buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.5, 2.0, 5.0, 30.0),
            registry=registry,
        )
        self.takeovers = Counter(
            "admitlb_takeovers",
            "Addresses taken by this node, by why: new, handed over, or lost by their last node",
            ["reason"],
            registry=registry,
        )
        for reason in ("new", "handed-over", "lost"):
            self.takeovers.labels(reason)
        self.double_announcers = Counter(
            "admitlb_double_announcers",
            "Addresses found to be announced by another speaker too after a partition healed",
            registry=registry,
        )
        self.decision_seconds = Histogram(
            "admitlb_speaker_decision_seconds",
            "Time from the event of a lost or returned speaker to answering for what it moved here",
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0),
            registry=registry,
        )
