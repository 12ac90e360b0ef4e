"""What do Services show, and which of them wait?"""

from __future__ import annotations

from collections.abc import Iterator

from allocator.core.addresses import AddressError
from allocator.core.listing import listed
from allocator.core.pools import Pool
from allocator.doctor.facts import Facts, name_of
from allocator.doctor.finding import Finding, error, note, warning
from allocator.kube.resource import NAMESPACES, SERVICES
from allocator.objects import names
from allocator.objects.document import Document
from allocator.objects.ip_allocation import claim_from
from allocator.objects.service import addresses_in_status, wants_address
from allocator.rules import configuration
from allocator.rules.foreign_status import left_alone, why_left_alone


def check_services(facts: Facts) -> Iterator[Finding]:
    """Find Services that show an address nobody holds for them, another controller's, or none."""
    pools = list(configuration.read(facts.installed(names.IP_ADDRESS_POOLS)).sound_pools().values())
    holders = _holders(facts)
    namespaces = {one["metadata"]["name"]: one for one in facts.all(NAMESPACES)}
    waiting = []
    for service in facts.all(SERVICES):
        if not wants_address(service, lb_class=facts.lb_class):
            continue
        name, held = name_of(service), holders.get(name_of(service), set())
        namespace = namespaces.get(service["metadata"]["namespace"])
        if not held and left_alone(
            service, namespace=namespace, pools=pools, take_over_foreign=facts.take_over_foreign
        ):
            yield warning(f"Service {name}", why_left_alone(service), f"kubectl admitlb explain {name}")
            continue
        shown = {str(address) for address in addresses_in_status(service)}
        lost = sorted(address for address in shown - held if _in_pool(pools, service, address))
        if lost:
            yield error(
                f"Service {name}",
                f"shows {', '.join(lost)}, which no IPAllocation holds for it",
                f"kubectl logs -n {facts.namespace} -l component=controller -c reconciler --tail=50",
            )
        if not shown:
            waiting.append(name)
    if waiting:
        yield note(
            "Services",
            f"{len(waiting)} {'waits' if len(waiting) == 1 else 'wait'} for an address: {listed(waiting)}",
            f"kubectl admitlb explain {waiting[0]}",
        )


def _holders(facts: Facts) -> dict[str, set[str]]:
    held: dict[str, set[str]] = {}
    for document in facts.all(names.IP_ALLOCATIONS):
        try:
            claim = claim_from(document)
        except (AddressError, KeyError):
            continue
        for holder in claim.holders if claim.in_use else ():
            held.setdefault(holder.label, set()).add(str(claim.address))
    return held


def _in_pool(pools: list[Pool], service: Document, address: str) -> bool:
    return any(str(one) == address and pool.spans(one) for pool in pools for one in addresses_in_status(service))
