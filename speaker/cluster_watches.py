"""The watches of what decides about announcing, joined to those who are to know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from allocator.kube.client import Cluster
from allocator.kube.reflector import Change, Reflector, identity
from allocator.kube.resource import NODES, SERVICES, Resource
from allocator.objects.names import IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS, MOVING_LABEL
from speaker.netdev.interfaces import Interface, announcing


class Follower(Protocol):
    """Somebody who follows the same objects as the controller."""

    def on_change(self, change: Change) -> None:
        """Take note of a change; returns at once."""
        ...

    def on_listed(self, resource: Resource) -> None:
        """Take note that all objects of a kind have been passed on; returns at once."""
        ...

    def relist(self) -> None:
        """List anew what it watches itself."""
        ...

    def retry(self) -> None:
        """Try at once again to reach the API server, where that failed."""
        ...


class ClusterWatches:
    """Services, EndpointSlices (of the version `slices`), Nodes, pools, advertisements, and requested moves."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        slices: Resource,
        on_change: Callable[[Change], None],
        follower: Follower | None = None,
    ) -> None:
        def on_each(change: Change) -> None:
            on_change(change)
            if follower is not None:
                follower.on_change(change)

        def on_listed(resource: Resource) -> None:
            if follower is not None:
                follower.on_listed(resource)

        self._follower = follower
        self._linked: frozenset[str] = frozenset()
        self.waited_for: Sequence[Reflector] = [
            Reflector(
                cluster,
                resource,
                namespace=within,
                kept=identity,
                on_change=on_each,
                on_listed=partial(on_listed, resource),
            )
            for resource, within in (
                (SERVICES, None),
                (slices, None),
                (NODES, None),
                (IP_ADDRESS_POOLS, namespace),
                (L2_ADVERTISEMENTS, namespace),
            )
        ]
        """Those whose first lists are the whole cluster."""
        # Not waited for at the start: to move addresses on request is not what a speaker is there for.
        self._moves = Reflector(cluster, IP_ALLOCATIONS, label_selector=MOVING_LABEL, on_change=on_change)

    @property
    def parts(self) -> Mapping[str, Reflector]:
        """All of them, by the name that logs have for each."""
        names = {f"watch of {reflector.resource.plural}": reflector for reflector in self.waited_for}
        return {**names, "watch of requested moves": self._moves}

    def on_interfaces(self, interfaces: Iterable[Interface]) -> None:
        """Have those that cannot reach the API server try again at once when a link is back. One thread calls it."""
        before, self._linked = self._linked, frozenset(interface.name for interface in announcing(interfaces))
        if self._linked <= before:
            return
        for reflector in (*self.waited_for, self._moves):
            reflector.retry()
        if self._follower is not None:
            self._follower.retry()

    def relist(self) -> None:
        """List all anew, because the API server has lost the state they are of."""
        for reflector in (*self.waited_for, self._moves):
            reflector.relist()
        if self._follower is not None:
            self._follower.relist()
