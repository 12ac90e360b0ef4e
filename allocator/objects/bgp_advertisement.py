"""BGPAdvertisements as values (MetalLB internal/config/config.go bgpAdvertisementFromCR)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from allocator.core.addresses import Family, quoted
from allocator.core.pool_selection import ALL_POOLS, PoolSelection
from allocator.core.selectors import Selector
from allocator.objects.document import Document, Problems, name_of, names_from
from allocator.objects.selectors import selectors_from

SELECTORS = ("ipAddressPoolSelectors", "nodeSelectors", "serviceSelectors")
_LARGEST_UINT32: Final = (1 << 32) - 1
MOST_PREPENDS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What one prefix can have but one of at one peer; None where FRR's default applies."""

    local_pref: int | None = None
    med: int | None = None
    as_path_prepend: int = 0


NO_ATTRIBUTES: Final = Attributes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertisement:
    """Which addresses go to which peers, from which nodes, as prefixes of which length, with which attributes."""

    name: str
    pools: PoolSelection = ALL_POOLS
    lengths: tuple[int, int] = (Family.IPV4.bits, Family.IPV6.bits)
    """Of IPv4 and IPv6 prefixes."""
    attributes: Attributes = NO_ATTRIBUTES
    communities: tuple[str, ...] = ()
    """As written: numbers, names of Communities, or well-known names."""
    peers: tuple[str, ...] = ()
    """Names of BGPPeers; all where there are none."""
    node_selectors: tuple[Selector, ...] = ()
    service_selectors: tuple[Selector, ...] = ()

    def length(self, family: Family) -> int:
        """Return how long the family's prefixes are."""
        return self.lengths[0 if family is Family.IPV4 else 1]

    @property
    def aggregates(self) -> bool:
        """Whether prefixes are wider than single addresses."""
        return any(self.length(family) != family.bits for family in Family)


LENGTH_FIELDS: Final = {Family.IPV4: "aggregationLength", Family.IPV6: "aggregationLengthV6"}


def advertisement_from(document: Document) -> Advertisement:
    """Read a BGPAdvertisement by itself. Raises InvalidDocument."""
    problems = Problems()
    spec = document.get("spec") or {}
    lengths = tuple(_length(spec, family, problems) for family in Family)
    advertisement = Advertisement(
        name=name_of(document),
        pools=PoolSelection(
            names=frozenset(names_from(spec.get("ipAddressPools"), "spec.ipAddressPools", problems)),
            selectors=_selectors(spec, "ipAddressPoolSelectors", problems),
        ),
        lengths=(lengths[0], lengths[1]),
        attributes=Attributes(
            # MetalLB has no other way to say "not set".
            local_pref=_uint32(spec, "localPref", problems) or None,
            med=_uint32(spec, "med", problems),
            as_path_prepend=_prepends(spec, problems),
        ),
        communities=names_from(spec.get("communities"), "spec.communities", problems),
        peers=names_from(spec.get("peers"), "spec.peers", problems),
        node_selectors=_selectors(spec, "nodeSelectors", problems),
        service_selectors=_selectors(spec, "serviceSelectors", problems),
    )
    for index, community in enumerate(advertisement.communities):
        if not community.strip():
            problems.add(f"spec.communities[{index}]", f"{quoted(community)} is empty; remove it")
    if advertisement.service_selectors and advertisement.aggregates:
        for family, field in LENGTH_FIELDS.items():
            length = advertisement.length(family)
            if length != family.bits:
                why = f"{length} is set beside serviceSelectors, and a prefix of several addresses is of all Services"
                problems.add(f"spec.{field}", f"{why}; write {family.bits}, or remove serviceSelectors")
    problems.raise_if_any()
    return advertisement


def _length(spec: Document, family: Family, problems: Problems) -> int:
    field = LENGTH_FIELDS[family]
    length: int | None = spec.get(field)
    if length is None:
        return family.bits
    if not 1 <= length <= family.bits:
        problems.add(f"spec.{field}", f"{length} is no length of an {family} prefix; write 1 to {family.bits}")
    return length


def _uint32(spec: Document, field: str, problems: Problems) -> int | None:
    number: int | None = spec.get(field)
    if number is not None and not 0 <= number <= _LARGEST_UINT32:
        problems.add(f"spec.{field}", f"{number} is out of range; write 0 to {_LARGEST_UINT32}")
    return number


def _prepends(spec: Document, problems: Problems) -> int:
    number: int = spec.get("asPathPrepend") or 0
    if not 0 <= number <= MOST_PREPENDS:
        problems.add("spec.asPathPrepend", f"{number} is out of range; write 0 to {MOST_PREPENDS}")
    return number


def _selectors(spec: Document, field: str, problems: Problems) -> tuple[Selector, ...]:
    return selectors_from(spec.get(field), f"spec.{field}", problems)
