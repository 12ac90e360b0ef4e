"""Which nodes may announce an address of a Service, and on which interfaces: MetalLB's rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from allocator.core.pool_selection import Origin
from allocator.objects.document import Document, labels_of
from speaker.cluster.advertisements import Advertisement
from speaker.cluster.endpoints import Serving
from speaker.cluster.nodes import Node
from speaker.cluster.scope import Scope, union


class Nobody(StrEnum):
    """Why no node may announce, in words for logs."""

    NO_POOL = "in no IPAddressPool"
    NO_ENDPOINT = "no endpoint of the Service serves"
    NO_ADVERTISEMENT = "no L2Advertisement covers its pool and Service"
    SHARED_AND_SELECTED = "it is shared, and an L2Advertisement with serviceSelectors would split it"
    NO_NODE = "no L2Advertisement's nodes can announce"
    NO_LOCAL_ENDPOINT = "externalTrafficPolicy is Local and no node that may announce has a serving endpoint"


NOT_READY_HANDICAP = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one node stands: on which interfaces it would announce, what speaks for it and what against it."""

    scope: Scope
    weight: int = 0
    handicap: int = 0


@dataclass(frozen=True, slots=True)
class Eligibility:
    """The nodes that may announce; or why there are none."""

    nodes: Mapping[str, Standing] = field(default_factory=dict)
    nobody: Nobody | None = None


def eligibility(
    service: Document,
    *,
    origin: Origin,
    serving: Serving,
    advertisements: Iterable[Advertisement],
    nodes: Iterable[Node],
    shared: bool = False,
) -> Eligibility:
    """Apply the rules in MetalLB's order (speaker/layer2_controller.go ShouldAnnounce).

    What is assigned is announced until it is released: by the advertisements that select a pool of its `origin`.
    A node's interfaces are those of all advertisements that cover it together; one that names none means all. Its
    weight is the sum of their preferences. A node that is not Ready has a handicap instead of being ruled out: when
    none is Ready, which may be the API server's trouble rather than theirs, announcing goes on. Whether a speaker is
    alive there, and has the interfaces, is not asked here.
    """
    if not origin:
        return Eligibility(nobody=Nobody.NO_POOL)
    if not serving.anywhere:
        return Eligibility(nobody=Nobody.NO_ENDPOINT)
    labels = labels_of(service)
    covering = [each for each in advertisements if each.covers_pools(origin) and each.covers_service(labels)]
    if not covering:
        return Eligibility(nobody=Nobody.NO_ADVERTISEMENT)
    if shared and any(each.service_selectors for each in covering):
        return Eligibility(nobody=Nobody.SHARED_AND_SELECTED)
    eligible: dict[str, Standing] = {}
    for node in nodes:
        own = [each for each in covering if each.covers_node(node.labels)]
        if own and node.may_announce:
            eligible[node.name] = Standing(
                scope=union(*(each.scope for each in own)),
                weight=sum(each.weight_of(node.labels) for each in own),
                handicap=0 if node.ready else NOT_READY_HANDICAP,
            )
    if not eligible:
        return Eligibility(nobody=Nobody.NO_NODE)
    if (service.get("spec") or {}).get("externalTrafficPolicy") == "Local":
        eligible = {node: standing for node, standing in eligible.items() if node in serving.nodes}
        if not eligible:
            return Eligibility(nobody=Nobody.NO_LOCAL_ENDPOINT)
    return Eligibility(eligible)
