"""Do the speakers live, and do they hear each other?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from allocator.core.listing import listed
from allocator.doctor.checks.layer2_nodes import may_announce_on_layer2
from allocator.doctor.facts import Facts
from allocator.doctor.finding import Finding, error, warning
from allocator.kube.resource import LEASES
from allocator.objects.document import Document, annotations_of
from allocator.objects.lease import renewal
from allocator.objects.names import (
    HEARD_SPEAKERS_ANNOTATION,
    HEARTBEAT_ADDRESSES_ANNOTATION,
    SPEAKER_LEASE_PREFIX,
    SPEAKER_SUBNETS_ANNOTATION,
)

_LATE = timedelta(seconds=45)
"""A Lease says that it lasts 30 s."""
_OPEN = "open UDP 7946 between all nodes (firewall, security group, NetworkPolicy)"


def check_speaker_leases(facts: Facts) -> Iterator[Finding]:
    """Find speakers that do not renew their Lease, do not hear the others, or have no LAN to announce on."""
    leases = {
        one["metadata"]["name"].removeprefix(SPEAKER_LEASE_PREFIX): one
        for one in facts.installed(LEASES)
        if one["metadata"]["name"].startswith(SPEAKER_LEASE_PREFIX)
    }
    serving = {node: lease for node, lease in leases.items() if _serves(facts, lease)}
    # One that is not scheduled has no node, and is found by the check of workloads.
    pods = {
        node: one["metadata"]["name"]
        for one in facts.pods("speaker")
        if (node := str((one.get("spec") or {}).get("nodeName") or ""))
    }
    announcing = may_announce_on_layer2(facts)
    for node, pod in sorted(pods.items()):
        logs = f"kubectl logs -n {facts.namespace} {pod} --tail=50"
        lease = serving.get(node)
        if lease is None:
            yield error(f"speaker on {node}", "does not renew its Lease: others take it for dead", logs)
            continue
        heard, others = _heard(lease), len(serving) - 1
        if others > 0 and heard == 0:
            yield error(
                f"speaker on {node}",
                f"hears none of {others} others, so that a takeover takes seconds: UDP 7946 between nodes is blocked",
                _OPEN,
            )
        elif heard is not None and heard < others:
            yield warning(f"speaker on {node}", f"hears {heard} of {others} others", _OPEN)
        if node in announcing and not annotations_of(lease).get(SPEAKER_SUBNETS_ANNOTATION):
            yield warning(
                f"speaker on {node}",
                "has no interface with a subnet that could announce",
                f"kubectl describe node {node}; the ConfigMap metallb-excludel2 names the interfaces left out",
            )
    gone = sorted(set(serving) - set(pods))
    if pods and gone:
        yield warning("Leases", f"no speaker's Pod runs on {listed(gone)}, whose Leases are renewed", _pods(facts))


def _serves(facts: Facts, lease: Document) -> bool:
    renewed = renewal(lease)
    holder = (lease.get("spec") or {}).get("holderIdentity")
    return bool(holder) and renewed is not None and facts.now - renewed <= _LATE


def _heard(lease: Document) -> int | None:
    """How many others it hears; None where it sends no heartbeats."""
    annotations = annotations_of(lease)
    text = annotations.get(HEARD_SPEAKERS_ANNOTATION, "")
    if not annotations.get(HEARTBEAT_ADDRESSES_ANNOTATION) or not (text.isascii() and text.isdigit()):
        return None
    return int(text[:9])


def _pods(facts: Facts) -> str:
    return f"kubectl get pods -n {facts.namespace} -l component=speaker -o wide"
