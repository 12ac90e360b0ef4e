"""Is what users wrote sound, and is every pool announced by a node?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from allocator.core.addresses import Address, Family
from allocator.core.pools import Pool
from allocator.doctor.facts import Facts
from allocator.doctor.finding import Finding, error, note, warning
from allocator.kube.resource import LEASES, NODES, Resource
from allocator.objects import names
from allocator.objects.document import Document, Problems, labels_of
from allocator.objects.lease import subnets_by_node
from allocator.objects.node import node_from
from allocator.objects.selectors import selectors_from
from allocator.rules import configuration
from allocator.rules.conditions import READY
from allocator.rules.foreign_ranges import foreign_ranges, overlaps
from allocator.rules.left_out import left_out, summary
from allocator.rules.pool_coverage import not_announced, selections_of

_KINDS: Sequence[Resource] = (names.IP_ADDRESS_POOLS, names.L2_ADVERTISEMENTS, *names.BGP_KINDS)


def check_objects(facts: Facts) -> Iterator[Finding]:
    """Find objects that cannot work as they are, and those whose status says that they do not."""
    others = {
        kind: facts.installed(kind) for kind in (names.L2_ADVERTISEMENTS, *names.BGP_KINDS) if kind in facts.objects
    }
    nodes = {one["metadata"]["name"]: labels_of(one) for one in facts.all(NODES)}
    found = configuration.read(facts.installed(names.IP_ADDRESS_POOLS), others, nodes)
    for kind in _KINDS:
        for document in facts.installed(kind):
            name = document["metadata"]["name"]
            fault = found.fault(kind, name)
            if fault is not None:
                edit = f"kubectl edit {kind.plural} {name} -n {facts.namespace}"
                yield error(f"{kind.kind} {name}", fault.message, edit)
            else:
                yield from _by_status(facts, kind, document)
    for kind in (names.IP_ADDRESS_POOLS, names.L2_ADVERTISEMENTS):
        for document in facts.all(kind):
            namespace = document["metadata"].get("namespace")
            if namespace != facts.namespace:
                yield warning(
                    f"{kind.kind} {namespace}/{document['metadata']['name']}",
                    f"is not read: only those of namespace {facts.namespace} are",
                    f"create it in namespace {facts.namespace}, then kubectl delete {kind.plural} "
                    f"{document['metadata']['name']} -n {namespace}",
                )


def check_pool_coverage(facts: Facts) -> Iterator[Finding]:
    """Find pools whose addresses no advertisement covers, and that there are none."""
    pools = _pools(facts)
    if not pools:
        yield note("pools", "there are none", "docs/install.md has a first one")
    advertisements = [*facts.installed(names.L2_ADVERTISEMENTS), *facts.installed(names.BGP_ADVERTISEMENTS)]
    selections = selections_of(advertisements)
    for pool in pools:
        lacks = not_announced(pool, selections)
        if lacks:
            yield error(
                f"IPAddressPool {pool.name}",
                lacks,
                f"kubectl get l2advertisements,bgpadvertisements -n {facts.namespace}",
            )


def check_advertising_nodes(facts: Facts) -> Iterator[Finding]:
    """Find advertisements that no node may follow."""
    nodes = [node_from(one) for one in facts.all(NODES)]
    for kind in names.ADVERTISEMENT_KINDS:
        for document in facts.installed(kind):
            written = (document.get("spec") or {}).get("nodeSelectors")
            selectors = selectors_from(written, "spec.nodeSelectors", Problems())
            reasons = left_out(nodes, [selectors])
            if nodes and len(reasons) == len(nodes):
                yield error(
                    f"{kind.kind} {document['metadata']['name']}",
                    f"no node may announce what it covers: {summary(reasons)}",
                    "kubectl get nodes --show-labels",
                )


def check_address_ranges(facts: Facts) -> Iterator[Finding]:
    """Find pools that overlap addresses of nodes, Pods or Services."""
    foreign = foreign_ranges(facts.all(NODES), facts.service_cidrs)
    for pool in _pools(facts):
        for overlap in overlaps(pool, foreign):
            yield error(
                f"IPAddressPool {pool.name}", overlap, f"kubectl edit ipaddresspool {pool.name} -n {facts.namespace}"
            )


def check_lan_addresses(facts: Facts) -> Iterator[Finding]:
    """Find pools for layer 2 that have the network or broadcast address of a LAN: its hosts do not connect to it."""
    covered = selections_of(facts.installed(names.L2_ADVERTISEMENTS))
    subnets = subnets_by_node(facts.installed(LEASES)).values()
    lans = {str(lan): lan for of_node in subnets for lan in of_node if lan.family is Family.IPV4 and lan.size > 2}
    for pool in _pools(facts):
        if not_announced(pool, covered):
            continue
        for lan in lans.values():
            for what, value in (("network", lan.first), ("broadcast", lan.last)):
                address = Address(lan.family, value)
                if pool.contains(address):
                    yield warning(
                        f"IPAddressPool {pool.name}",
                        f"{address} is the {what} address of the nodes' LAN {lan}: its hosts do not use it; "
                        "leave it out with spec.excludeAddresses",
                        f"kubectl edit ipaddresspool {pool.name} -n {facts.namespace}",
                    )


def _pools(facts: Facts) -> list[Pool]:
    return list(configuration.read(facts.installed(names.IP_ADDRESS_POOLS)).sound_pools().values())


def _by_status(facts: Facts, kind: Resource, document: Document) -> Iterator[Finding]:
    for one in (document.get("status") or {}).get("conditions") or ():
        if one.get("type") == READY and one.get("status") == "False":
            name = document["metadata"]["name"]
            yield warning(
                f"{kind.kind} {name}",
                f"{one.get('reason')}: {one.get('message')}",
                f"kubectl describe {kind.plural} {name} -n {facts.namespace}",
            )
