"""Which nodes may announce an address of a Service, and on which interfaces: MetalLB's rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from allocator.core.pools import Pool
from allocator.documents import Document, labels_of
from speaker.advertisements import Advertisement
from speaker.endpoints import Serving
from speaker.nodes import Node
from speaker.scope import Scope, union


class Nobody(StrEnum):
    """Why no node may announce, in words for logs."""

    NO_POOL = "in no IPAddressPool"
    NO_ENDPOINT = "no endpoint of the Service serves"
    NO_ADVERTISEMENT = "no L2Advertisement covers its pool and Service"
    NO_NODE = "no L2Advertisement's nodes can announce"
    NO_LOCAL_ENDPOINT = "externalTrafficPolicy is Local and no node that may announce has a serving endpoint"


@dataclass(frozen=True, slots=True)
class Eligibility:
    """The nodes that may announce, each with its interfaces; or why there are none."""

    nodes: Mapping[str, Scope] = field(default_factory=dict)
    nobody: Nobody | None = None


def eligibility(
    service: Document,
    *,
    pool: Pool | None,
    serving: Serving,
    advertisements: Iterable[Advertisement],
    nodes: Iterable[Node],
) -> Eligibility:
    """Apply the rules in MetalLB's order (speaker/layer2_controller.go ShouldAnnounce).

    A node's interfaces are those of all advertisements that cover it together; one that names none means all.
    Whether a speaker is alive there is not asked here.
    """
    if pool is None:
        return Eligibility(nobody=Nobody.NO_POOL)
    if not serving.anywhere:
        return Eligibility(nobody=Nobody.NO_ENDPOINT)
    labels = labels_of(service)
    covering = [each for each in advertisements if each.covers_pool(pool) and each.covers_service(labels)]
    if not covering:
        return Eligibility(nobody=Nobody.NO_ADVERTISEMENT)
    eligible: dict[str, Scope] = {}
    for node in nodes:
        scopes = [each.scope for each in covering if each.covers_node(node.labels)]
        if scopes and node.may_announce:
            eligible[node.name] = union(*scopes)
    if not eligible:
        return Eligibility(nobody=Nobody.NO_NODE)
    if (service.get("spec") or {}).get("externalTrafficPolicy") == "Local":
        eligible = {node: scope for node, scope in eligible.items() if node in serving.nodes}
        if not eligible:
            return Eligibility(nobody=Nobody.NO_LOCAL_ENDPOINT)
    return Eligibility(eligible)
