"""What two BGPAdvertisements of one prefix, to one peer, from one node may not differ in.

MetalLB internal/config/config.go validateDuplicateBGPAdv and advertisementsAreCompatible, there for localPref alone.
Communities add up. Where a serviceSelector decides, it shows only when a Service is announced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from allocator.core.addresses import Family
from allocator.core.pools import Pool
from allocator.objects.bgp_advertisement import Advertisement, Attributes
from allocator.objects.document import Problem
from allocator.rules.bgp_conflict import Conflict
from allocator.rules.bgp_nodes import Nodes, on_node

_FIELDS: tuple[tuple[str, Callable[[Attributes], int | None]], ...] = (
    ("localPref", lambda attributes: attributes.local_pref),
    ("med", lambda attributes: attributes.med),
    ("asPathPrepend", lambda attributes: attributes.as_path_prepend),
)


def conflicts(
    advertisement: Advertisement, others: Iterable[Advertisement], pools: Sequence[Pool], nodes: Nodes
) -> list[Conflict]:
    """List the attributes that contradict those of others for the same prefixes."""
    found = []
    differing = (other for other in others if other.attributes != advertisement.attributes)
    for other, pool, node in _meetings(advertisement, differing, pools, nodes):
        for field, value in _FIELDS:
            mine, its = value(advertisement.attributes), value(other.attributes)
            if mine != its:
                why = (
                    f"{_shown(mine)} differs from {_shown(its)} of BGPAdvertisement {other.name} for the same "
                    f"prefixes of pool {pool.name} {on_node(node)}; write the same in both, or "
                    "other peers, nodeSelectors or aggregation lengths"
                )
                found.append(Conflict(other.name, Problem(f"spec.{field}", why)))
    return found


def added_communities(
    advertisement: Advertisement, others: Iterable[Advertisement], pools: Sequence[Pool], nodes: Nodes
) -> Iterator[str]:
    """Name the others whose communities are attached to the same prefixes as well."""
    if not advertisement.communities:
        return
    mine = set(advertisement.communities)
    adding = (other for other in others if set(other.communities) - mine)
    for other, pool, node in _meetings(advertisement, adding, pools, nodes):
        yield (
            f"spec.communities: prefixes of pool {pool.name} get those of BGPAdvertisement {other.name} as well "
            f"{on_node(node)}"
        )


def _meetings(
    one: Advertisement, others: Iterable[Advertisement], pools: Sequence[Pool], nodes: Nodes
) -> Iterator[tuple[Advertisement, Pool, str]]:
    """The others that announce a prefix of the same pool to the same peer from the same node; each once."""
    mine = [pool for pool in pools if one.pools.covers(pool)]
    for other in others:
        if one.service_selectors or other.service_selectors or _peers_differ(one, other):
            continue
        pool = next((pool for pool in mine if other.pools.covers(pool) and _same_prefixes(one, other, pool)), None)
        node = nodes.shared(one.node_selectors, other.node_selectors) if pool is not None else None
        if pool is not None and node is not None:
            yield other, pool, node


def _peers_differ(one: Advertisement, other: Advertisement) -> bool:
    return bool(one.peers and other.peers) and set(one.peers).isdisjoint(other.peers)


def _same_prefixes(one: Advertisement, other: Advertisement, pool: Pool) -> bool:
    return any(pool.has_family(family) and one.length(family) == other.length(family) for family in Family)


def _shown(value: object) -> str:
    return "not set" if value is None else str(value)
