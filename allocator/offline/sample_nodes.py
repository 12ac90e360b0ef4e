"""Nodes to plan for where the input has none: one for each combination of labels that selectors ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

from allocator.bgp.configured import Configured
from allocator.bgp.inputs import LocalNode
from allocator.core.selectors import Operator, Selector

MOST_NODES = 200

_ANY = frozenset({"", "other"})
"""Values for a label that only has to be there."""

_Labels = Mapping[str, str]


def sample_nodes(*configurations: Configured) -> list[LocalNode]:
    """Return a node without labels, and one for each labels that a BGPPeer, an advertisement, or one of each select.

    Each is named by its labels. No more than MOST_NODES.
    """
    peers = _labels(
        selector for each in configurations for peer in each.peers.values() for selector in peer.node_selectors
    )
    advertisements = _labels(
        selector for each in configurations for one in each.advertisements.values() for selector in one.node_selectors
    )
    found: dict[str, LocalNode] = {}
    for first, second in product([{}, *peers], [{}, *advertisements]):
        if all(first.get(key, value) == value for key, value in second.items()):
            labels = {**first, **second}
            name = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
            found.setdefault(name, LocalNode(name=name, labels=labels))
    return list(found.values())[:MOST_NODES]


def _labels(selectors: Iterable[Selector]) -> list[_Labels]:
    """Return labels that each selector matches; none for one that nothing can match."""
    sampled = {selector: _sample(selector) for selector in selectors}
    return [labels for selector, labels in sampled.items() if selector.matches(labels)]


def _sample(selector: Selector) -> _Labels:
    """Return the fewest labels that may match, each with the first value that no requirement refuses."""
    values: dict[str, frozenset[str]] = {}
    refused: dict[str, frozenset[str]] = {}
    for each in selector.requirements:
        if each.operator is Operator.IN:
            values[each.key] = values.get(each.key, each.values) & each.values
        elif each.operator is Operator.NOT_IN:
            refused[each.key] = refused.get(each.key, frozenset()) | each.values
    for each in selector.requirements:
        if each.operator is Operator.EXISTS:
            values.setdefault(each.key, _ANY)
    return {key: min(some - refused.get(key, frozenset()), default="") for key, some in values.items()}
