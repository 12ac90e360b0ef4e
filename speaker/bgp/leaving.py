"""A node that leaves: its routes are marked first, so that the routers move away, and withdrawn a moment later.

RFC 8326: `bgp graceful-shutdown` marks all routes with the community 65535:0, and gives them the lowest local
preference towards routers of our own AS. A node leaves that has the exclude label or the out-of-service taint, that
shuts down, whose Node is deleted or gone and, where that is asked for, that is cordoned. MetalLB withdraws for the
label alone, and at once (speaker/bgp_controller.go ShouldAnnounce).

    here    --a reason-->            marked  (before anything was announced: left, at once)
    marked  --marked_seconds-->      left
    marked  --the reason goes-->     here
    left    --the reason goes-->     here, once `may_return` says that the node can serve again

NetworkUnavailable is no leave: what comes to such a node is lost already, and its routes go at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from allocator.bgp.inputs import LocalNode
from allocator.bgp.object_values import node_value
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL, OUT_OF_SERVICE_TAINT
from allocator.objects.node import Node
from speaker.bgp.reports import Leave


class Leaving:
    """How far this node is in leaving. Belongs to one thread; reads no clock."""

    def __init__(self, name: str, *, on_cordon: bool = False, marked_seconds: float) -> None:
        self._name = name
        self._on_cordon = on_cordon
        self._marked_seconds = marked_seconds
        self._last: Node | None = None
        self._gone = False
        self.stage = Leave.NO
        self.reason = ""
        """Why it leaves, in words; empty while it does not."""
        self.deadline: float | None = None
        """When to call `advance` again at the latest."""

    def set_node(self, node: Node | None) -> None:
        """Take in the Node; None when it is gone: its labels go on choosing sessions."""
        self._gone = node is None
        self._last = node or self._last

    @property
    def node(self) -> LocalNode:
        """The node as it is to be announced from; before it was ever seen, from nowhere."""
        if self._last is None:
            return LocalNode(name=self._name, leaving=True)
        leaving, marked = self.stage is not Leave.NO, self.stage is Leave.MARKED
        return replace(node_value(self._last), leaving=leaving, marked=marked)

    def advance(self, now: float, *, announcing: bool, may_return: Callable[[], bool] = lambda: True) -> LocalNode:
        """Go on as far as it is time to, and return the node as it is now.

        `announcing` says whether anything may have been announced already; where not, nothing is to be marked.
        """
        self.reason = self._why()
        if self.reason:
            if self.stage is Leave.NO:
                self.stage = Leave.MARKED if announcing else Leave.LEFT
                self.deadline = now + self._marked_seconds if announcing else None
            elif self.deadline is not None and now >= self.deadline:
                self.stage, self.deadline = Leave.LEFT, None
        elif self.stage is not Leave.LEFT or may_return():
            self.stage, self.deadline = Leave.NO, None
        return self.node

    def _why(self) -> str:
        if self._gone:
            return "its Node is gone"
        node = self._last
        if node is None:
            # No leave: the return from one waits for kube-proxy, and what FRR serves would go meanwhile.
            return ""
        signs = (
            (EXCLUDE_FROM_LB_LABEL in node.labels, f"has the label {EXCLUDE_FROM_LB_LABEL}"),
            (node.out_of_service, f"has the taint {OUT_OF_SERVICE_TAINT}"),
            (node.deleted, "is being deleted"),
            (node.shutting_down, "is shutting down"),
            (node.cordoned and self._on_cordon, "is cordoned"),
        )
        return next((why for given, why in signs if given), "")
