"""Which nodes are left out of announcing, and why, in the same words wherever it is said."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from allocator.core.listing import listed
from allocator.core.selectors import Selector, covers
from allocator.objects.node import Node

_NODES_LISTED = 3
UNSELECTED = "no nodeSelectors match"
NO_SPEAKER = "no speaker runs"
NO_ENDPOINT = "no serving endpoint, which externalTrafficPolicy: Local asks for"
NOT_READY = "not Ready, comes after those that are"
NO_SUBNET = "no interface in the address's subnet, comes after those that have one"


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


def by_reason(reasons: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return each reason after the nodes that it leaves out: the first few, and how many more there are."""
    nodes: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        nodes.setdefault(reason, []).append(name)
    return tuple((listed(names, limit=_NODES_LISTED), reason) for reason, names in nodes.items())


def in_one_line(pairs: Iterable[tuple[str, str]]) -> str:
    """Return what `by_reason` found as `a, b (has the label x); c (no speaker runs)`."""
    return "; ".join(f"{nodes} ({reason})" for nodes, reason in pairs)


def summary(reasons: Mapping[str, str]) -> str:
    """Return all reasons in one line."""
    return in_one_line(by_reason(reasons))
