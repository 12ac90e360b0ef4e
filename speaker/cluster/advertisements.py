"""L2Advertisements as values: which pools, Services and nodes one covers, and on which interfaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from allocator.core.pool_selection import ALL_POOLS, Origin, PoolSelection
from allocator.core.selectors import Selector, covers
from allocator.objects.document import Document
from allocator.objects.l2_advertisement import pool_selection_from
from allocator.objects.selectors import selector_from
from speaker.cluster.scope import EVERYWHERE, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertisement:
    """One L2Advertisement. An empty list of node or service selectors covers all of them."""

    name: str
    pools: PoolSelection = ALL_POOLS
    node_selectors: tuple[Selector, ...] = ()
    service_selectors: tuple[Selector, ...] = ()
    preferences: tuple[tuple[int, Selector], ...] = ()
    scope: Scope = EVERYWHERE

    def covers_pools(self, origin: Origin) -> bool:
        """Return whether an address of these pools is covered."""
        return self.pools.covers_origin(origin)

    def covers_service(self, labels: Mapping[str, str]) -> bool:
        """Return whether a Service with these labels is covered."""
        return covers(self.service_selectors, labels)

    def covers_node(self, labels: Mapping[str, str]) -> bool:
        """Return whether a node with these labels may announce."""
        return covers(self.node_selectors, labels)

    def weight_of(self, labels: Mapping[str, str]) -> int:
        """Sum the weights of the preferences that match a node with these labels."""
        return sum(weight for weight, selector in self.preferences if selector.matches(labels))


def advertisement_from(document: Document) -> Advertisement:
    """Read an L2Advertisement. Raises InvalidDocument."""
    spec: Document = document.get("spec") or {}

    def selectors(field: str) -> tuple[Selector, ...]:
        return tuple(
            selector_from(selector, f"spec.{field}[{index}]") for index, selector in enumerate(spec.get(field) or ())
        )

    interfaces = spec.get("interfaces")
    preferences = tuple(
        (
            int(each.get("weight") or 0),
            selector_from(each.get("preference") or {}, f"spec.preferredNodeSelectors[{index}].preference"),
        )
        for index, each in enumerate(spec.get("preferredNodeSelectors") or ())
    )
    return Advertisement(
        name=document["metadata"]["name"],
        pools=pool_selection_from(document),
        node_selectors=selectors("nodeSelectors"),
        service_selectors=selectors("serviceSelectors"),
        preferences=preferences,
        scope=Scope(frozenset(interfaces)) if interfaces else EVERYWHERE,
    )
