"""What do Services show, and which of them wait?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from allocator.core.addresses import Address, AddressError
from allocator.core.claims import Claim
from allocator.core.listing import listed
from allocator.core.pools import Pool
from allocator.doctor.facts import Facts, name_of
from allocator.doctor.finding import Finding, error, note, warning
from allocator.kube.resource import NAMESPACES, SERVICES
from allocator.kube.timestamps import read_time
from allocator.objects import names
from allocator.objects.document import Document
from allocator.objects.ip_allocation import claim_from
from allocator.objects.service import addresses_in_status, wants_address
from allocator.rules import configuration
from allocator.rules.foreign_status import left_alone, why_left_alone

_GOING: Final = timedelta(minutes=1)
"""As long as a controller that runs may take to remove its finalizer."""


def check_services(facts: Facts) -> Iterator[Finding]:
    """Find Services that show an address nobody holds for them, another controller's, or none, or cannot go."""
    pools = list(configuration.read(facts.installed(names.IP_ADDRESS_POOLS)).sound_pools().values())
    claims = list(_claims(facts))
    yield from _of_no_pool(facts, claims, pools)
    holders: dict[str, set[str]] = {}
    for claim in claims:
        for holder in claim.holders:
            holders.setdefault(holder.label, set()).add(str(claim.address))
    namespaces = {one["metadata"]["name"]: one for one in facts.all(NAMESPACES)}
    waiting = []
    for service in facts.all(SERVICES):
        if not wants_address(service, lb_class=facts.lb_class):
            continue
        if name_of(service) in facts.changing:
            continue
        name, held = name_of(service), holders.get(name_of(service), set())
        if service["metadata"].get("deletionTimestamp"):
            yield from _kept_from_going(facts, service)
            continue
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


def check_external_ips(facts: Facts) -> Iterator[Finding]:
    """Find Services whose spec.externalIPs take traffic of a pool's addresses, whoever holds those."""
    pools = list(configuration.read(facts.installed(names.IP_ADDRESS_POOLS)).sound_pools().values())
    holders = {str(claim.address): claim.holders for claim in _claims(facts)}
    for service in facts.all(SERVICES):
        for text in (service.get("spec") or {}).get("externalIPs") or ():
            with suppress(AddressError):
                address = Address.parse(text)
                pool = next((one for one in pools if one.spans(address)), None)
                if pool is None:
                    continue
                others = [one.label for one in holders.get(str(address), ()) if one.label != name_of(service)]
                held = f", which {listed(others)} holds" if others else ""
                metadata = service["metadata"]
                yield (error if others else warning)(
                    f"Service {name_of(service)}",
                    f"spec.externalIPs has {address} of pool {pool.name}{held}: kube-proxy gives this Service what "
                    "comes to its ports there, and AdmitLB does not count it as in use; request the address with "
                    f"{names.LOAD_BALANCER_IPS_ANNOTATIONS[0]} instead",
                    f"kubectl edit service {metadata['name']} -n {metadata['namespace']}",
                )


def _kept_from_going(facts: Facts, service: Document) -> Iterator[Finding]:
    metadata = service["metadata"]
    deleted, finalizers = metadata["deletionTimestamp"], metadata.get("finalizers") or ()
    name = f"-n {metadata['namespace']} {metadata['name']}"
    if finalizers and facts.now - read_time(deleted) > _GOING:
        patch = json.dumps({"metadata": {"$deleteFromPrimitiveList/finalizers": list(finalizers)}})
        yield warning(
            f"Service {name_of(service)}",
            f"was deleted at {deleted} and stays, with its address, until the owner of the finalizer "
            f"{listed(finalizers)} removes it",
            f"if that controller is gone: kubectl patch service {name} -p '{patch}'",
        )


def _claims(facts: Facts) -> Iterator[Claim]:
    for document in facts.all(names.IP_ALLOCATIONS):
        with suppress(AddressError, KeyError):
            claim = claim_from(document)
            if claim.in_use:
                yield claim


def _of_no_pool(facts: Facts, claims: Sequence[Claim], pools: Sequence[Pool]) -> Iterator[Finding]:
    # Also those that cannot be read.
    there = {one["metadata"]["name"] for one in facts.installed(names.IP_ADDRESS_POOLS)}
    for claim in claims:
        if claim.holders and claim.pool not in there and not any(pool.spans(claim.address) for pool in pools):
            yield note(
                f"IPAllocation {claim.address}",
                f"is of pool {claim.pool}, which does not exist; {listed([one.label for one in claim.holders])} "
                "keeps it, and it is announced",
                "where it came from another cluster: docs/restore.md",
            )


def _in_pool(pools: list[Pool], service: Document, address: str) -> bool:
    return any(str(one) == address and pool.spans(one) for pool in pools for one in addresses_in_status(service))
