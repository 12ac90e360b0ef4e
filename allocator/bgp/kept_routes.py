"""Prefixes that FRR announces and no advertisement accounts for, while there is one that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from allocator.bgp.frr_config import Config, class_name
from allocator.bgp.inputs import Peer
from allocator.bgp.route_class import Attributes, Contribution, Prefix, RouteClass, prefix_of
from allocator.bgp.running_values import routes_of
from allocator.core.addresses import Address


class KeptRoutes:
    """They count like advertisements: each goes on as it is as long as an address in it may be announced from here.

    An advertisement's name has no colon, which each of the names here has.
    """

    def __init__(self, routes: Mapping[Prefix, RouteClass] | None = None) -> None:
        self.contributions: dict[str, Contribution] = {}
        """What is advertised with the prefixes, and to whom, by name."""
        self._names: dict[Prefix, tuple[str, ...]] = {}
        named: dict[RouteClass, tuple[str, ...]] = {}
        for prefix, route_class in (routes or {}).items():
            if route_class not in named:
                parts = {
                    f"{class_name(route_class)}:{number}": each for number, each in enumerate(_parts(route_class))
                }
                self.contributions |= parts
                named[route_class] = tuple(parts)
            self._names[prefix] = named[route_class]
        self._lengths = sorted({(prefix.family, prefix.length) for prefix in self._names})

    def of(self, address: Address) -> tuple[tuple[str, int], ...]:
        """Return the names that announce an address, and the length of the prefix that each makes of it."""
        return tuple(
            (name, length)
            for family, length in self._lengths
            if family is address.family
            for name in self._names.get(prefix_of(address, length), ())
        )


def unaccounted(running: Config, peers: Iterable[Peer], announced: Mapping[Prefix, RouteClass]) -> KeptRoutes:
    """Return what FRR announces to these peers otherwise than the advertisements that can be read say."""
    names = {prefix: name for (_, prefix), name in running.networks.items()}
    return KeptRoutes(
        {
            prefix: route_class
            for prefix, route_class in routes_of(running, peers).items()
            if prefix not in announced or class_name(announced[prefix]) != names[prefix]
        }
    )


def _parts(route_class: RouteClass) -> list[Contribution]:
    given: dict[Attributes, set[str]] = {}
    for peer, attributes in route_class.named:
        if attributes is not None:
            given.setdefault(attributes, set()).add(peer)
    everyone = [Contribution(route_class.default)] if route_class.default is not None else []
    return [*everyone, *(Contribution(attributes, frozenset(peers)) for attributes, peers in given.items())]
