"""Are the sessions with routers up, on every node that is to have them?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from allocator.core.listing import listed
from allocator.doctor.facts import DAEMON_SETS, Facts
from allocator.doctor.finding import Finding, error, note, warning
from allocator.kube.resource import NODES
from allocator.objects.bgp_node_status import SessionEntry, SessionStatus, node_status_from
from allocator.objects.names import BGP_NODE_STATUSES

_FRR: Final = "frr"


def check_bgp_sessions(facts: Facts) -> Iterator[Finding]:
    """Find FRR that does not run, nodes that report trouble, and sessions that are not up."""
    shown = f"kubectl get bgpnodestatuses -n {facts.namespace}"
    yield from _workload(facts)
    nodes = {one["metadata"]["name"] for one in facts.all(NODES)}
    down: dict[tuple[str, str], list[str]] = {}
    for document in facts.installed(BGP_NODE_STATUSES):
        status = node_status_from(document)
        if nodes and status.node not in nodes:
            continue
        if status.message:
            yield warning(
                f"BGP on {status.node}",
                status.message,
                f"kubectl describe bgpnodestatus {status.node} -n {facts.namespace}",
            )
        for session in status.sessions:
            if session.state != SessionStatus.SHUTDOWN and (not session.up or session.rejected):
                down.setdefault((session.peer, _why(session)), []).append(status.node)
    for (peer, why), on in sorted(down.items()):
        yield error(f"BGPPeer {peer}", f"{why}, on {listed(sorted(on))}", shown)


def check_bgp_versions(facts: Facts) -> Iterator[Finding]:
    """Find nodes whose FRR is of another release than that of most: what was tested with one may not be with two."""
    nodes: dict[str, list[str]] = {}
    for status in map(node_status_from, facts.installed(BGP_NODE_STATUSES)):
        if status.frr_version:
            nodes.setdefault(status.frr_version, []).append(status.node)
    if len(nodes) > 1:
        found = "; ".join(f"{version} on {listed(sorted(on))}" for version, on in sorted(nodes.items()))
        yield note("FRR", f"nodes run different releases: {found}", "kubectl admitlb bgp roll")


def _workload(facts: Facts) -> Iterator[Finding]:
    found = facts.named(DAEMON_SETS, _FRR)
    status = (found or {}).get("status") or {}
    desired, ready = int(status.get("desiredNumberScheduled") or 0), int(status.get("numberReady") or 0)
    if ready < desired:
        yield error(
            f"DaemonSet {_FRR}",
            f"{ready} of {desired} Pods are Ready: nodes without FRR announce nothing to routers",
            f"kubectl get pods -n {facts.namespace} -l component=frr -o wide",
        )
    elif int(status.get("updatedNumberScheduled") or 0) < desired:
        yield note(f"DaemonSet {_FRR}", "some Pods are of an earlier template", "kubectl admitlb bgp roll")


def _why(session: SessionEntry) -> str:
    text = session.message or session.last_reset
    state = "FRR refuses part of it" if session.up else f"the session is {session.state}"
    return f"{state}: {text}" if text else state
