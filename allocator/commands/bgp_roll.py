"""`admitlb bgp roll`: give nodes a new FRR, one after the other, each once the sessions of the last are back."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from allocator import options
from allocator.commands.live import connected
from allocator.kube.access import Access
from allocator.kube.client import ApiError, Cluster, NotFound, Object
from allocator.kube.resource import LEASES, Resource
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, node_status_from
from allocator.objects.names import BGP_NODE_STATUSES
from allocator.rules.silent_speakers import silent_since

FAILED = 1
_DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet")
_REVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
_PODS = Resource("", "v1", "pods", "Pod")
_SELECTOR = "app=metallb,component=frr"
_HASH = "controller-revision-hash"
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Node:
    """A node with the Pod of FRR on it; `outdated` says that the DaemonSet asks for another one by now."""

    name: str
    pod: str
    uid: str
    outdated: bool


@click.command()
@click.option("--apply", is_flag=True, help="Renew them; by default the nodes are only shown.")
@click.option("--all", "everybody", is_flag=True, help="Also those whose FRR is as the DaemonSet has it.")
@click.option("--node", "only", metavar="NODE", multiple=True, help="This node alone; repeatable.")
@click.option(
    "--timeout",
    type=options.Seconds(1.0),
    default=180.0,
    show_default=True,
    help="Seconds for a node's sessions to be back; after that nothing more is renewed.",
)
@options.admitlb_namespace
@options.cluster_access
def roll(
    apply: bool,
    everybody: bool,
    only: tuple[str, ...],
    timeout: float,
    admitlb_namespace: str,
    access: Access,
) -> None:
    """Renew FRR node by node, where the DaemonSet has changed.

    A node leaves as planned, and comes back with all the sessions and prefixes it had before the next one leaves.
    """
    with connected(access) as cluster:
        found = nodes(cluster, admitlb_namespace)
        if unknown := sorted(set(only) - {node.name for node in found}):
            raise click.UsageError(f"no FRR runs on {', '.join(unknown)}")
        chosen = [node for node in found if (everybody or node.outdated) and (not only or node.name in only)]
        if not chosen:
            click.echo(f"FRR is as the DaemonSet has it on all of {len(found)} nodes.")
            return
        if not apply:
            click.echo(f"To be renewed: {', '.join(node.name for node in chosen)}. Nothing is renewed: add --apply.")
            return
        for number, node in enumerate(chosen, start=1):
            problem = _renew(cluster, admitlb_namespace, node, timeout)
            click.echo(f"[{number}/{len(chosen)}] {node.name}: {problem or 'renewed'}", err=True)
            if problem:
                click.echo(f"{len(chosen) - number} more nodes are left as they are.", err=True)
                sys.exit(FAILED)


def nodes(cluster: Cluster, namespace: str) -> list[Node]:
    """Return the nodes on which FRR runs, by name. Raises ApiError."""
    daemon_set = cluster.get(_DAEMON_SETS, "frr", namespace)
    uid = daemon_set["metadata"]["uid"]
    revisions = [
        revision
        for revision in cluster.list(_REVISIONS, namespace)["items"]
        if any(owner["uid"] == uid for owner in revision["metadata"].get("ownerReferences") or ())
    ]
    return outdated(cluster.list(_PODS, namespace, label_selector=_SELECTOR)["items"], revisions)


def outdated(pods: Sequence[Object], revisions: Sequence[Object]) -> list[Node]:
    """Judge Pods by the newest of the DaemonSet's revisions; those that end already are left out."""
    newest = max(revisions, key=lambda each: int(each["revision"]), default=None)
    wanted = (newest["metadata"].get("labels") or {}).get(_HASH) if newest else None
    found = [
        Node(
            name=str(pod["spec"]["nodeName"]),
            pod=str(pod["metadata"]["name"]),
            uid=str(pod["metadata"]["uid"]),
            outdated=wanted is not None and (pod["metadata"].get("labels") or {}).get(_HASH) != wanted,
        )
        for pod in pods
        if pod["spec"].get("nodeName") and not pod["metadata"].get("deletionTimestamp")
    ]
    return sorted(found, key=lambda node: node.name)


def missing(before: BgpNodeStatus, now: BgpNodeStatus) -> list[str]:
    """Return the peers whose sessions were up before and are not again, with all prefixes they are to have.

    A session counts as back once it is up since another moment: what a speaker said before it had noticed does not.
    """
    return [
        session.peer
        for session in before.sessions
        if session.up and not _back(session.since, now.session(session.peer))
    ]


def _back(since: str, entry: SessionEntry | None) -> bool:
    return entry is not None and entry.up and entry.since != since and entry.sent >= entry.wanted


def kept_back(node: str, silent_since: str | None) -> str:
    """Say why a node is not renewed: nobody would configure its new FRR, or know whether it is as before."""
    if silent_since is None:
        return "its sessions are not known (there is no BGPNodeStatus of it): not renewed"
    return (
        f"its speaker has not renewed its Lease since {silent_since}, and a new FRR would announce nothing without "
        f"one: not renewed; see kubectl logs of the speaker on {node}"
    )


def _renew(cluster: Cluster, namespace: str, node: Node, timeout_seconds: float) -> str:
    """Renew one node; return what went wrong, empty for nothing."""
    before = _status(cluster, node.name, namespace)
    silent = silent_since(cluster.list(LEASES, namespace).get("items") or (), datetime.now(UTC))
    if before is None or node.name in silent:
        return kept_back(node.name, silent.get(node.name))
    cluster.delete(_PODS, node.pod, namespace, uid=node.uid)
    end = time.monotonic() + timeout_seconds
    waiting = "its new Pod is not ready"
    while time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
        try:
            pods = cluster.list(_PODS, namespace, label_selector=_SELECTOR)["items"]
            if not any(_ready(pod, node) for pod in pods):
                continue
            now = _status(cluster, node.name, namespace)
        except ApiError as error:
            waiting = f"the API server says {error}"
            continue
        lacking = missing(before, now) if now else [session.peer for session in before.sessions]
        if not lacking:
            return ""
        waiting = f"not back with all prefixes: {', '.join(lacking)}"
    return f"{waiting} after {timeout_seconds:.0f} s"


def _ready(pod: Object, node: Node) -> bool:
    """Whether a Pod is the node's new one, and ready."""
    conditions: Sequence[Mapping[str, str]] = (pod.get("status") or {}).get("conditions") or ()
    return (
        pod["spec"].get("nodeName") == node.name
        and pod["metadata"]["uid"] != node.uid
        and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    )


def _status(cluster: Cluster, node: str, namespace: str) -> BgpNodeStatus | None:
    try:
        return node_status_from(cluster.get(BGP_NODE_STATUSES, node, namespace))
    except NotFound:
        return None
