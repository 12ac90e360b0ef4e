"""Which nodes are left out of announcing, and why, in the same words wherever it is said."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from allocator.core.listing import listed
from allocator.core.selectors import Selector, covers
from allocator.objects.node import Node

_NODES_LISTED = 3
UNSELECTED = "no nodeSelectors match"
NO_SPEAKER = "no speaker runs"
NO_ENDPOINT = "no serving endpoint, which externalTrafficPolicy: Local asks for"
NOT_READY = "not Ready, comes after those that are"
_AFTER_OTHERS = "comes after those that have one"
NO_SUBNET = f"no interface in the address's subnet, {_AFTER_OTHERS}"


def why_left_out(node: Node, node_selectors: Iterable[Sequence[Selector]]) -> str:
    """Return why a node may not announce what advertisements with these nodeSelectors cover; empty where it may.

    A list without selectors selects every node.
    """
    if not any(covers(selectors, node.labels) for selectors in node_selectors):
        return UNSELECTED
    return node.ruled_out


def left_out(nodes: Iterable[Node], node_selectors: Collection[Sequence[Selector]]) -> dict[str, str]:
    """Return the nodes that are left out, by name, with the reason for each."""
    found = {node.name: why_left_out(node, node_selectors) for node in nodes}
    return {name: found[name] for name in sorted(found) if found[name]}


def without_subnet(candidates: AbstractSet[str], inside: AbstractSet[str]) -> AbstractSet[str]:
    """Return the candidates that come after others for want of an interface in an address's subnet.

    The nodes `inside` have one; where no candidate has, all are alike.
    """
    return frozenset() if candidates.isdisjoint(inside) else candidates - inside


def without_subnets(
    candidates: AbstractSet[str], insides: Mapping[str, Iterable[AbstractSet[str]]]
) -> dict[str, str]:
    """Return the candidates that come after others for some addresses of these pools, each with the reason.

    `insides` has, by pool, the nodes with an interface in the subnet of some of its addresses, for each such part.
    """
    lacking: dict[str, list[str]] = {}
    for pool in sorted(insides):
        for name in frozenset().union(*(without_subnet(candidates, inside) for inside in insides[pool])):
            lacking.setdefault(name, []).append(pool)
    return {
        name: f"no interface in a subnet of pool{'s' if len(pools) > 1 else ''} {listed(pools)}, {_AFTER_OTHERS}"
        for name, pools in sorted(lacking.items())
    }


def by_reason(reasons: Mapping[str, str], *, counted: bool = True) -> tuple[tuple[str, str], ...]:
    """Return each reason after the nodes that it leaves out: the first few, and how many more there are."""
    return tuple(
        (listed(names, limit=_NODES_LISTED, counted=counted), reason) for reason, names in _nodes_by(reasons)
    )


def few_by_reason(reasons: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return each reason after the nodes that it leaves out; of more than a few that there are more than that.

    For what is stored once an address: in a large cluster, where most nodes are left out for one reason, a node that
    comes or goes, whatever its name, has nothing written again.
    """
    return tuple(
        (listed(names) if len(names) <= _NODES_LISTED else f"more than {_NODES_LISTED} nodes", reason)
        for reason, names in _nodes_by(reasons)
    )


def in_one_line(pairs: Iterable[tuple[str, str]]) -> str:
    """Return what `by_reason` found as `a, b (has the label x); c (no speaker runs)`."""
    return "; ".join(f"{nodes} ({reason})" for nodes, reason in pairs)


def summary(reasons: Mapping[str, str], *, counted: bool = True) -> str:
    """Return all reasons in one line."""
    return in_one_line(by_reason(reasons, counted=counted))


def _nodes_by(reasons: Mapping[str, str]) -> Iterable[tuple[str, list[str]]]:
    nodes: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        nodes.setdefault(reason, []).append(name)
    return sorted(nodes.items())
