"""Which nodes may announce an address of a Service, and on which interfaces: MetalLB's rules, one function a rule.

They apply in MetalLB's order (speaker/layer2_controller.go ShouldAnnounce): `impediment` says why none may, from what
concerns the Service; then each node is looked at (`standing`); and under externalTrafficPolicy Local those without
a serving endpoint are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from allocator.core.pool_selection import Origin
from allocator.objects.endpoint_slice import Serving
from allocator.objects.node import Node
from speaker.cluster.advertisements import Advertisement
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
    """How one node is placed: on which interfaces it would announce, what speaks for it and what against it."""

    scope: Scope
    weight: int = 0
    handicap: int = 0


def covering(
    advertisements: Iterable[Advertisement], *, origin: Origin, labels: Mapping[str, str]
) -> tuple[Advertisement, ...]:
    """Return the advertisements by which an address of these pools of a Service with these labels is announced.

    What is assigned is announced until it is released: by the advertisements that select a pool of its `origin`.
    """
    return tuple(each for each in advertisements if each.covers_pools(origin) and each.covers_service(labels))


def impediment(
    *, origin: Origin, serving: Serving, advertisements: Collection[Advertisement], shared: bool
) -> Nobody | None:
    """Say why no node at all may announce; None where the nodes decide. `advertisements` are those that cover it."""
    if not origin:
        return Nobody.NO_POOL
    if not serving.anywhere:
        return Nobody.NO_ENDPOINT
    if not advertisements:
        return Nobody.NO_ADVERTISEMENT
    if shared and any(each.service_selectors for each in advertisements):
        return Nobody.SHARED_AND_SELECTED
    return None


def standing(node: Node, advertisements: Iterable[Advertisement]) -> Standing | None:
    """Return how a node stands for what these advertisements cover; None where it may not announce.

    Its interfaces are those of all advertisements that cover it together; one that names none means all. Its weight
    is the sum of their preferences. A node that is not Ready has a handicap instead of being ruled out: when none is
    Ready, which may be the API server's trouble rather than theirs, announcing goes on. Whether a speaker is alive
    there, and has the interfaces, is not asked here.
    """
    own = [each for each in advertisements if each.covers_node(node.labels)]
    if not own or not node.may_announce:
        return None
    return Standing(
        scope=union(*(each.scope for each in own)),
        weight=sum(each.weight_of(node.labels) for each in own),
        handicap=0 if node.ready else NOT_READY_HANDICAP,
    )
