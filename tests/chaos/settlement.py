"""Whether Services, what they show and the claims agree, once nobody changes anything any more."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

from allocator.kube.resource import SERVICES
from tests.chaos.clients import NAMESPACE
from tests.chaos.service_needs import Needs
from tests.cluster.installation import Installation, Object, ingress


def disagreement(installation: Installation, *, pool_size: int) -> str:
    """Name one thing that is not as it must be in the end; empty when there is none.

    Every address shown is claimed by exactly those that show it, they may share it, every claim is shown, and no
    Service that would take any address waits while one is free.
    """
    services = [one for one in installation.cluster.list(SERVICES, NAMESPACE)["items"] if _ours(one)]
    claims = installation.claims()
    needs = {one["metadata"]["name"]: Needs.of(one) for one in services}
    showing: dict[str, set[str]] = defaultdict(set)
    for one in services:
        for address in ingress(one):
            showing[address].add(one["metadata"]["name"])
    held = {
        address: {holder.get("name", "") for holder in spec["holders"]}
        for address, spec in claims.items()
        if spec["state"] != "Cooling"
    }
    for address in showing.keys() | held.keys():
        if showing.get(address) != held.get(address):
            return f"{address} is shown by {showing.get(address)} and held by {held.get(address)}"
    for address, names in showing.items():
        for one, two in combinations(sorted(names), 2):
            if not needs[one].may_share_with(needs[two]):
                return f"{address} is shared by {one} ({needs[one]}) and {two} ({needs[two]})"
    if stale := [name for names in showing.values() for name in names if not needs[name].load_balancer]:
        return f"{stale} show addresses and want none"
    waiting = [
        one["metadata"]["name"]
        for one in services
        if not ingress(one) and needs[one["metadata"]["name"]].load_balancer
    ]
    if (idle := [name for name in waiting if not needs[name].pins]) and len(held) < pool_size:
        return f"{idle} wait beside {pool_size - len(held)} free addresses"
    return ""


def _ours(service: Object) -> bool:
    return str(service["metadata"]["name"]) != "kubernetes"
