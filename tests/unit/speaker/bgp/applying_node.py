"""What sends to played daemons, and what sums up its reports."""

from __future__ import annotations

from allocator.bgp.command import Reset
from allocator.bgp.desired import Difference
from allocator.bgp.inputs import Peer
from allocator.bgp.rendering import Rendering
from speaker.bgp.applying import Applying
from speaker.bgp.events import Event
from speaker.bgp.frr_reports import FrrReports
from speaker.bgp.reports import Snapshot
from tests.unit.speaker.bgp.vty_daemons import VtyDaemons

FINAL = ("removed", "shutdown set")


class Node:
    """Driven step by step; while it is not `permitted`, resets wait."""

    def __init__(self, daemons: VtyDaemons) -> None:
        self.reports = FrrReports()
        self.rendering = Rendering()
        self.events: list[Event] = []
        self.permitted = True
        self.applying = Applying(self.rendering, daemons.sockets, report=self._take, may_reset=self._may_reset)
        assert self.applying.connect()

    def want(self, *peers: Peer) -> Snapshot:
        """Have FRR asked for these sessions; return what is reported then."""
        self.rendering.update(Difference({peer.name: peer for peer in peers}))
        self.applying.apply()
        return self.reports.snapshot(Snapshot(node="node-1"))

    def _may_reset(self, reset: Reset) -> bool:
        return self.permitted or reset.reason in FINAL

    def _take(self, event: Event) -> None:
        self.events.append(event)
        self.reports.take(event)
