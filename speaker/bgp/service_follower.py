"""The Services that are announced, from what the controller knows of the cluster to what BGP needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from allocator.bgp.inputs import Service
from allocator.bgp.object_values import service_value
from allocator.kube.reflector import Key
from speaker.cluster.state import View


class ServiceFollower:
    """Passes on Services that may have changed. Called on the controller's thread, on which the view is read."""

    def __init__(
        self, follow: Callable[[Mapping[Key, Service | None]], None], *, on_known: Callable[[], None]
    ) -> None:
        self._follow = follow
        self._on_known = on_known

    def follow(self, view: View, services: AbstractSet[Key]) -> None:
        """These Services, or where they are served, may be others than before."""
        self._follow({key: _value(view, key) for key in services})

    def on_known(self) -> None:
        """All Services of the cluster have been followed."""
        self._on_known()


def _value(view: View, key: Key) -> Service | None:
    known = view.served(key)
    if known is None:
        return None
    service, serving = known
    return service_value(service, pools=view.pools, serving=serving)
