"""Which nodes a BGPPeer or BGPAdvertisement is for, and whether two of them meet on one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from allocator.core.selectors import Selector, matches_any

Nodes = Mapping[str, Mapping[str, str]]
"""Labels by the node's name; empty where no node is known."""


def chosen(selectors: Sequence[Selector], nodes: Nodes) -> list[str]:
    """Return the names of the nodes that the selectors choose: all of them where there are no selectors."""
    return sorted(name for name, labels in nodes.items() if is_chosen(selectors, labels))


def is_chosen(selectors: Sequence[Selector], labels: Mapping[str, str]) -> bool:
    """Return whether a node with these labels is chosen."""
    return not selectors or matches_any(selectors, labels)


def shared_node(several: Iterable[Sequence[Selector]], nodes: Nodes) -> str | None:
    """Return a node that all of them choose, None where there is none.

    Where no node is known it is the empty name: they may share one (MetalLB internal/config/validation.go
    peersShareNode). Of several nodes the first by name.
    """
    if not nodes:
        return ""
    listed = list(several)
    return next(
        (name for name in sorted(nodes) if all(is_chosen(selectors, nodes[name]) for selectors in listed)), None
    )


def on_node(name: str) -> str:
    """Say on which node two objects meet."""
    return f"on node {name}" if name else "on a node that both may choose"
