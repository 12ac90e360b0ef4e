"""The parts that report to the API, put together."""

from __future__ import annotations

from collections.abc import Callable

from allocator.kube.client import Cluster, Object
from allocator.kube.reflector import Reflector
from allocator.objects.names import SERVICE_L2_STATUSES
from speaker import layer2
from speaker.status.events import Recorder
from speaker.status.rate_limit import STATUS_WRITES_AT_ONCE, STATUS_WRITES_PER_SECOND, WritePace
from speaker.status.reporter import Reporter
from speaker.status.restoration import RestorationWatch
from speaker.status.service_l2_status import NODE_LABEL
from speaker.status.writer import StatusWriter


class Reporting:
    """What reports for one node: `reporter` takes in what there is to say, the other two have threads."""

    def __init__(self, cluster: Cluster, *, node: str, namespace: str, events: Recorder) -> None:
        self._restoration = RestorationWatch(self._compare_all)
        self.writer = StatusWriter(
            cluster,
            node=node,
            protocol=layer2.PROTOCOL,
            namespace=namespace,
            pace=WritePace(per_second=STATUS_WRITES_PER_SECOND, at_once=STATUS_WRITES_AT_ONCE),
            events=events,
            on_written=self._restoration.on_written,
        )
        self.stored = Reflector(
            cluster,
            SERVICE_L2_STATUSES,
            namespace=namespace,
            label_selector=f"{NODE_LABEL}={node}",
            on_change=self.writer.on_change,
        )
        self.reporter = Reporter(node=node, events=events, statuses=self.writer)
        self._relist: Callable[[], None] = lambda: None

    def on_restored(self, relist: Callable[[], None]) -> None:
        """Call `relist` when etcd turns out to have been restored. To be set before the first `on_lease`."""
        self._relist = relist

    def on_lease(self, lease: Object) -> None:
        """Take note of this node's Lease as the API server returned it after a write."""
        self.writer.on_lease(lease)
        self._restoration.on_lease(lease)

    def _compare_all(self) -> None:
        self._relist()
        self.stored.relist()
        self.writer.compare_all()
