"""What two BGPPeers that one node connects to may not differ in, or have in common.

MetalLB internal/config/validation.go validatePeers. FRR has one process a VRF, with one AS number and one restart
time, and one router ID is asked for on each node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from allocator.objects.bgp_peer import Peer
from allocator.objects.document import Problem
from allocator.rules.bgp_conflict import Conflict
from allocator.rules.bgp_nodes import Nodes, on_node


def conflicts(peer: Peer, others: Iterable[Peer], nodes: Nodes) -> list[Conflict]:
    """List what keeps the peer from being beside the others."""
    found: list[Conflict] = []
    for other in others:
        if not any(_problems(peer, other, "")):
            continue
        node = nodes.shared(peer.node_selectors, other.node_selectors)
        if node is not None:
            where = f"of BGPPeer {other.name} {on_node(node)}"
            found += [Conflict(other.name, problem) for problem in _problems(peer, other, where)]
    return found


def _problems(peer: Peer, other: Peer, where: str) -> Iterator[Problem]:
    if peer.router_id != other.router_id:
        mine, its = peer.router_id or "no ID", other.router_id or "no ID"
        why = f"{mine} differs from {its} {where}, and a node has one router ID; {_AGREE}"
        yield Problem("spec.routerID", why)
    if peer.vrf != other.vrf:
        return
    if peer.endpoint == other.endpoint:
        field = "peerAddress" if peer.address is not None else "interface"
        why = f"{peer.endpoint} is that {where}; write another, or other nodeSelectors"
        yield Problem(f"spec.{field}", why)
    if peer.my_asn != other.my_asn:
        vrf = f"VRF {peer.vrf}" if peer.vrf else "the default VRF"
        why = f"{peer.my_asn} differs from {other.my_asn} {where}, and a node has one AS number in {vrf}"
        yield Problem("spec.myASN", f"{why}; {_AGREE}, or write one of them as localASN")
    mine_restart, its_restart = peer.timers.restart_seconds, other.timers.restart_seconds
    if mine_restart and its_restart and mine_restart != its_restart:
        why = f"{mine_restart}s differs from {its_restart}s {where}, and a node has one in a VRF; {_AGREE}"
        yield Problem("spec.restartTime", why)


_AGREE = "write the same in both (to change it in both, delete the other first), or other nodeSelectors"
