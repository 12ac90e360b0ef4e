"""What the change of a pool breaks for BGPAdvertisements: it selects them as much as they select it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from allocator.core.pools import Pool
from allocator.objects import names
from allocator.objects.bgp_advertisement import Advertisement
from allocator.objects.document import Problem
from allocator.rules.bgp_advertisement import advertisements_of
from allocator.rules.bgp_advertisement_conflicts import conflicts
from allocator.rules.bgp_aggregation import too_narrow_for
from allocator.rules.bgp_nodes import Nodes
from allocator.rules.cluster_context import ClusterContext


def broken_advertisements(before: Pool | None, after: Pool, context: ClusterContext) -> list[Problem]:
    """List the prefixes that would reach beyond the pool, and the advertisements that would contradict one another.

    What was so before the change is left out.
    """
    advertisements = advertisements_of(context.objects(names.BGP_ADVERTISEMENTS))
    differ = len({one.attributes for one in advertisements}) > 1
    nodes = Nodes(context.nodes() if differ else {})
    stored = {str(one) for one in _problems(before, advertisements, nodes)} if before is not None else set()
    return [problem for problem in _problems(after, advertisements, nodes) if str(problem) not in stored]


def _problems(pool: Pool, advertisements: Sequence[Advertisement], nodes: Nodes) -> Iterator[Problem]:
    yield from too_narrow_for(pool, advertisements)
    covering = [one for one in advertisements if one.pools.covers(pool)]
    for index, one in enumerate(covering):
        for conflict in conflicts(one, covering[:index], [pool], nodes):
            yield Problem("spec.addresses", f"are announced by BGPAdvertisement {one.name}, whose {conflict.problem}")
