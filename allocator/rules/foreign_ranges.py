"""What else in a cluster uses addresses, as far as the API shows: nodes, their Pods, Services."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from allocator.core.addresses import AddressError, AddressRange
from allocator.core.pools import Pool
from allocator.objects.document import Document


def foreign_ranges(nodes: Iterable[Document], service_cidrs: Iterable[str]) -> list[tuple[str, AddressRange]]:
    """Return each range with what uses it; texts that are no addresses are passed over."""
    ranges = []
    for what, text in (*_of_nodes(nodes), *(("the Service CIDR", cidr) for cidr in service_cidrs)):
        try:
            ranges.append((what, AddressRange.parse(text)))
        except AddressError:
            continue
    return ranges


def overlaps(pool: Pool, foreign: Sequence[tuple[str, AddressRange]]) -> list[str]:
    """Say which ranges of the pool overlap what else uses addresses; excluded ones do not."""
    return [
        f"{owned} overlaps {used}, {what}; leave it out with spec.excludeAddresses"
        for owned in pool.ranges
        for what, used in foreign
        if owned.overlaps(used) and not any(_covers(hole, owned, used) for hole in pool.excluded)
    ]


def _of_nodes(nodes: Iterable[Document]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        name = node["metadata"]["name"]
        for one in (node.get("status") or {}).get("addresses") or ():
            if "IP" in one["type"]:
                yield f"an address of node {name}", one["address"]
        for cidr in (node.get("spec") or {}).get("podCIDRs") or ():
            yield f"the Pod CIDR of node {name}", cidr


def _covers(hole: AddressRange, owned: AddressRange, used: AddressRange) -> bool:
    """Whether an excluded range takes all that the two have in common out of the pool."""
    return (
        hole.family is used.family
        and hole.first <= max(owned.first, used.first)
        and min(owned.last, used.last) <= hole.last
    )
