"""What is advertised with a prefix: its attributes for each peer, merged from all advertisements that name it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from allocator.bgp.communities import MAXIMUM_PER_PREFIX, Community
from allocator.core.addresses import Address, Family


class Prefix(NamedTuple):
    """An IP prefix whose host bits are zero."""

    family: Family
    value: int
    length: int

    def __str__(self) -> str:
        return f"{Address(self.family, self.value)}/{self.length}"


def prefix_of(address: Address, length: int) -> Prefix:
    """Return the prefix of that length that contains the address."""
    host_bits = address.family.bits - length
    # Of a whole address the number itself: an equal one beside it would be memory for each.
    value = address.value >> host_bits << host_bits if host_bits else address.value
    return Prefix(address.family, value, length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """Path attributes that are set; None is not set. `prepend` is how often our ASN is put before the path."""

    communities: frozenset[Community] = frozenset()
    local_pref: int | None = None
    med: int | None = None
    prepend: int | None = None


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one advertisement says of a prefix, and to which peers; None is all of them.

    `attributes` is None where it waits for a community that has no meaning yet.
    """

    attributes: Attributes | None
    peers: frozenset[str] | None = None

    def reaches(self, peer: str) -> bool:
        """Return whether it is for this peer."""
        return self.peers is None or peer in self.peers


@dataclass(frozen=True, slots=True)
class RouteClass:
    """The attributes of a prefix for each peer: `default` for those that `named` has not, None where they get none.

    A named one of None does not get what all others get. It says nothing of which peers there are, so that a new one
    changes no class. Two that say the same are equal.
    """

    default: Attributes | None = None
    named: tuple[tuple[str, Attributes | None], ...] = ()

    def for_peer(self, name: str) -> Attributes | None:
        """Return what this peer gets; None when it does not get the prefix."""
        for peer, attributes in self.named:
            if peer == name:
                return attributes
        return self.default

    @property
    def told(self) -> list[Attributes]:
        """What peers get, whichever they are; nothing where the prefix is for none."""
        return [each for each in (self.default, *(attributes for _, attributes in self.named)) if each is not None]

    @property
    def announceable(self) -> bool:
        """Whether it is for any peer, and none would get more communities than MetalLB announces."""
        told = self.told
        return bool(told) and all(len(each.communities) <= MAXIMUM_PER_PREFIX for each in told)


def merged(contributions: Iterable[Contribution]) -> RouteClass:
    """Merge what all advertisements say of one prefix.

    Communities add up, as in MetalLB (internal/bgp/frr/templates/prefixfilters.tmpl). Of several values that
    admission lets through, routers get the one they prefer: the highest local preference, the lowest MED, the fewest
    prepends. MetalLB takes the local preference that sorts last as text.

    What waits for a community says nothing; `held` is for the peers that it is for.
    """
    everyone: list[Attributes] = []
    by_name: dict[str, list[Attributes]] = {}
    for contribution in contributions:
        if contribution.attributes is None:
            continue
        if contribution.peers is None:
            everyone.append(contribution.attributes)
            continue
        for peer in contribution.peers:
            by_name.setdefault(peer, []).append(contribution.attributes)
    default = _merge(everyone) if everyone else None
    named = ((peer, _merge(everyone + own)) for peer, own in sorted(by_name.items()))
    return RouteClass(default, tuple((peer, attributes) for peer, attributes in named if attributes != default))


def held(now: RouteClass, before: RouteClass | None, waiting: Iterable[Contribution]) -> RouteClass:
    """Return what a prefix is advertised with while contributions wait: to the peers of these, what it was before."""
    before = before or RouteClass()
    waiting = list(waiting)
    if any(each.peers is None for each in waiting):
        return before
    peers = frozenset[str]().union(*(each.peers or () for each in waiting))
    told = {peer: attributes for peer, attributes in now.named if peer not in peers}
    told |= {peer: before.for_peer(peer) for peer in peers}
    return RouteClass(now.default, tuple((peer, each) for peer, each in sorted(told.items()) if each != now.default))


def _merge(several: list[Attributes]) -> Attributes:
    if len(several) == 1:
        return several[0]
    return Attributes(
        communities=frozenset().union(*(each.communities for each in several)),
        local_pref=max((each.local_pref for each in several if each.local_pref is not None), default=None),
        med=min((each.med for each in several if each.med is not None), default=None),
        prepend=min((each.prepend for each in several if each.prepend is not None), default=None),
    )
