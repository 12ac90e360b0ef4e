"""Is every assigned address announced, and evenly?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from allocator.core.addresses import AddressError
from allocator.core.claims import Claim, ClaimState
from allocator.core.listing import listed
from allocator.doctor.checks.layer2_nodes import may_announce_on_layer2
from allocator.doctor.facts import Facts
from allocator.doctor.finding import Finding, error, note, warning
from allocator.kube.resource import LEASES, NODES
from allocator.kube.timestamps import read_time
from allocator.objects.document import Document
from allocator.objects.ip_allocation import claim_from
from allocator.objects.names import IP_ALLOCATIONS, SERVICE_L2_STATUSES, SPEAKER_LEASE_PREFIX
from allocator.rules.conditions import READY

_OF_THE_SERVICE = frozenset({"NoEndpoint", "NoLocalEndpoint", "NoService"})
"""Reasons that are for the Service's owner to fix."""
_A_ROUTER = 3
"""A host with so many addresses of pools does not have them: it answers for others."""
_TAKING = timedelta(seconds=10)
"""How long a node may take to report on a new address."""
_EVEN_WITHIN = 3
"""By how many addresses the fullest node may exceed the emptiest before it is worth a remark."""


def check_announcements(facts: Facts) -> Iterator[Finding]:
    """Find assigned addresses that no node announces, or one that is gone."""
    nodes = {one["metadata"]["name"] for one in facts.all(NODES)}
    for document, claim in _claims(facts):
        subject = f"IPAllocation {claim.address}"
        shown = f"kubectl admitlb explain {claim.holders[0].label}" if claim.holders else "kubectl admitlb pools"
        if claim.state is not ClaimState.BOUND:
            continue
        ready = _ready(document)
        announced = _announced_by(document)
        if announced and nodes and announced not in nodes:
            yield error(subject, f"is announced by {announced}, which is no node any more", shown)
        elif ready.get("status") == "False":
            said = note if ready.get("reason") in _OF_THE_SERVICE else error
            yield said(subject, f"{ready.get('reason')}: {ready.get('message')}", shown)
        elif not announced and ready.get("status") != "True" and not _is_new(claim, facts):
            yield error(subject, "no speaker has said whether it is announced", shown)


def check_foreign_hosts(facts: Facts) -> Iterator[Finding]:
    """Find hosts that are none of ours and answer for addresses of pools; one that answers for many is a router."""
    by_host: dict[str, list[str]] = {}
    for _, claim in _claims(facts):
        if claim.state is ClaimState.CONFLICTED and claim.foreign_host is not None:
            by_host.setdefault(claim.foreign_host.mac, []).append(str(claim.address))
    for mac, addresses in sorted(by_host.items()):
        if len(addresses) >= _A_ROUTER:
            yield error(
                f"host {mac}",
                f"answers for {len(addresses)} addresses of pools ({listed(addresses)}), as a router with proxy ARP "
                "does: none of them is handed out",
                f"turn proxy ARP off on {mac} (Linux: sysctl net.ipv4.conf.IF.proxy_arp=0)",
            )
            continue
        for address in addresses:
            yield warning(
                f"IPAllocation {address}",
                f"a host that is none of ours, {mac}, answers for it: it is not handed out",
                f"admitlb who-has {address}; take it off that host, or out of the pool with spec.excludeAddresses",
            )


def check_announcers(facts: Facts) -> Iterator[Finding]:
    """Find addresses that two nodes say they announce; for a moment that is so while an address moves."""
    nodes: dict[str, set[str]] = {}
    for document in facts.installed(SERVICE_L2_STATUSES):
        status = document.get("status") or {}
        for address in status.get("addresses") or ():
            nodes.setdefault(str(address), set()).add(str(status.get("node")))
    for address, announcing in sorted(nodes.items()):
        if len(announcing) > 1:
            yield warning(
                f"address {address}",
                f"is announced by {listed(sorted(announcing))} on layer 2, as their speakers report",
                f"admitlb who-has {address}",
            )


def check_spread(facts: Facts) -> Iterator[Finding]:
    """Find addresses piled up on few of the nodes that may announce on layer 2."""
    announcing = may_announce_on_layer2(facts)
    serving = [
        one["metadata"]["name"].removeprefix(SPEAKER_LEASE_PREFIX)
        for one in facts.installed(LEASES)
        if one["metadata"]["name"].startswith(SPEAKER_LEASE_PREFIX) and (one.get("spec") or {}).get("holderIdentity")
    ]
    counts = Counter(node for document, _ in _claims(facts) if (node := _announced_by(document)))
    for node in serving:
        if node in announcing:
            counts.setdefault(node, 0)
    if len(counts) < 2:
        return
    mean = counts.total() / len(counts)
    (fullest, most), least = counts.most_common(1)[0], min(counts.values())
    if most - least > max(mean, _EVEN_WITHIN):
        yield note(
            f"node {fullest}",
            f"announces {most} of {counts.total()} addresses, another node {least}",
            "kubectl admitlb rebalance",
        )


def _claims(facts: Facts) -> Iterator[tuple[Document, Claim]]:
    for document in facts.all(IP_ALLOCATIONS):
        try:
            yield document, claim_from(document)
        except (AddressError, KeyError):
            continue


def _is_new(claim: Claim, facts: Facts) -> bool:
    try:
        return facts.now - read_time(max(holder.since for holder in claim.holders)) < _TAKING
    except ValueError:
        return False


def _announced_by(document: Document) -> str:
    return str(((document.get("status") or {}).get("announcedBy") or {}).get("node") or "")


def _ready(document: Document) -> Document:
    conditions = (document.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == READY), {})
