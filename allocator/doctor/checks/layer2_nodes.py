"""Which nodes may announce anything on layer 2."""

from __future__ import annotations

from allocator.doctor.facts import Facts
from allocator.kube.resource import NODES
from allocator.objects.document import Problems
from allocator.objects.names import L2_ADVERTISEMENTS
from allocator.objects.node import node_from
from allocator.objects.selectors import selectors_from
from allocator.rules.left_out import left_out


def may_announce_on_layer2(facts: Facts) -> frozenset[str]:
    """Return the nodes that an L2Advertisement selects and that nothing rules out; none where nodes are not known."""
    selectors = [
        selectors_from((one.get("spec") or {}).get("nodeSelectors"), "spec.nodeSelectors", Problems())
        for one in facts.installed(L2_ADVERTISEMENTS)
    ]
    nodes = [node_from(one) for one in facts.all(NODES)]
    return frozenset(node.name for node in nodes) - left_out(nodes, selectors).keys()
