"""Who announces addresses and who should: the reason for each address that nobody announces, and the nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from allocator.core.claims import Claim, ClaimState
from allocator.core.pool_selection import PoolSelection
from allocator.core.pools import Pool
from allocator.kube.client import Object
from allocator.kube.timestamps import read_time
from allocator.objects.bgp_node_status import BgpNodeStatus
from allocator.objects.node import Node
from allocator.rules.pool_coverage import selections_of
from allocator.rules.unannounced import is_covered, why_not_announced
from allocator.status_page.moves import Announcement

_TAKING = timedelta(seconds=10)
"""How long a node may take to report on a new address."""

_NO_SESSION = "only BGPAdvertisements cover it, and no session with a router is up"
_NO_REPORT = (
    "no node reports on it; see whether speakers run: kubectl get pods -A -l app=metallb,component=speaker -o wide"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLine:
    """One node: how many addresses it announces on layer 2, and how many of its BGP sessions are up."""

    name: str
    announced: int
    sessions_up: int
    sessions: int
    remark: str
    """Why it may announce nothing; empty where it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcers:
    """What advertisements cover, and which nodes there are; `layer2` and `nodes` are None until they are listed."""

    at: datetime
    pools: Mapping[str, Pool]
    layer2: tuple[PoolSelection, ...] | None = None
    bgp: tuple[PoolSelection, ...] = ()
    nodes: Mapping[str, Mapping[str, str]] | None = None
    """The labels of each node."""
    statuses: tuple[BgpNodeStatus, ...] = ()

    def only_by_bgp(self, claim: Claim) -> bool:
        """Return whether BGP is to announce the address, and layer 2 is not."""
        if not self.bgp or self.layer2 is None:
            return False
        return is_covered(claim, self.bgp, self.pools) and not is_covered(claim, self.layer2, self.pools)

    def why_silent(self, allocation: Object, claim: Claim, announcement: Announcement) -> str:
        """Say why nobody announces the address of a stored Service; empty where somebody does, or soon may."""
        if claim.state is not ClaimState.BOUND:
            return ""
        if announcement.node:
            gone = bool(self.nodes) and announcement.node not in (self.nodes or {})
            return f"node {announcement.node} announced it last, and there is no such node" if gone else ""
        if self.only_by_bgp(claim):
            return "" if any(one.up for status in self.statuses for one in status.sessions) else _NO_SESSION
        reported = why_not_announced(allocation, claim, selections=self.layer2, pools=self.pools)
        return reported or ("" if self._is_new(allocation) else _NO_REPORT)

    def _is_new(self, allocation: Object) -> bool:
        since = allocation["spec"].get("since") or ""
        try:
            return bool(since) and self.at - read_time(since) < _TAKING
        except ValueError:
            return False

    def node_lines(self, announced: Iterable[str]) -> tuple[NodeLine, ...]:
        """Return every node, by name; `announced` names the announcing node of each address."""
        count = Counter(node for node in announced if node)
        labels = self.nodes or {}
        sessions = {status.node: status.sessions for status in self.statuses}
        return tuple(
            NodeLine(
                name=name,
                announced=count[name],
                sessions_up=sum(one.up for one in sessions.get(name, ())),
                sessions=len(sessions.get(name, ())),
                remark=self._remark(name),
            )
            for name in sorted({*labels, *count, *sessions})
        )

    def _remark(self, name: str) -> str:
        if not self.nodes:
            return ""
        if name not in self.nodes:
            return "there is no such node"
        return Node(name=name, labels=self.nodes[name]).ruled_out


def announcers(
    *,
    at: datetime,
    pools: Mapping[str, Pool],
    layer2: Sequence[Object] | None,
    bgp: Sequence[Object],
    nodes: Mapping[str, Mapping[str, str]] | None,
    statuses: tuple[BgpNodeStatus, ...],
) -> Announcers:
    """Read what L2Advertisements and BGPAdvertisements select."""
    return Announcers(
        at=at,
        pools=pools,
        layer2=selections_of(layer2) if layer2 is not None else None,
        bgp=selections_of(bgp),
        nodes=nodes,
        statuses=statuses,
    )
