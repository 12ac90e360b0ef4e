"""The configuration as a whole: which of its objects are sound, and what is wrong with the others.

Admission refuses what is wrong; what is found here came in while nothing checked it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType

from allocator.core.pool_selection import PoolSelection
from allocator.core.pools import Pool, disjoint, usable_beside
from allocator.kube import resource
from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.objects.document import Document, InvalidDocument, in_deletion
from allocator.objects.pool import not_yet_given_up, pool_from, pool_overlaps
from allocator.rules import bgp_configuration
from allocator.rules.bgp_nodes import Labels, Nodes
from allocator.rules.kinds import BY_KIND
from allocator.rules.pool_coverage import not_announced, selections_of

_NAMESPACE = resource.NAMESPACES.kind


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an object cannot work until somebody changes it."""

    reason: str
    message: str


@dataclass(slots=True)
class Configuration:
    """Every pool that can be read, and the faults by the object's name."""

    pools: dict[str, Pool] = field(default_factory=dict)
    faults: dict[str, dict[str, Fault]] = field(default_factory=dict)
    """By kind and name."""
    awaited: dict[str, str] = field(default_factory=dict)
    """Pools that take addresses from others which still have them, and what that is; `pools` has them without it."""
    selections: tuple[PoolSelection, ...] | None = None
    """What each advertisement selects; None where they are not known."""

    @property
    def pool_faults(self) -> Mapping[str, Fault]:
        """The faults of pools by name."""
        return self.faults.get(names.IP_ADDRESS_POOLS.kind, {})

    @property
    def advertisement_faults(self) -> Mapping[str, Fault]:
        """The faults of L2Advertisements by name."""
        return self.faults.get(names.L2_ADVERTISEMENTS.kind, {})

    def fault(self, kind: Resource, name: str) -> Fault | None:
        """Return what is wrong with an object, None where nothing is."""
        return self.faults.get(kind.kind, {}).get(name)

    def sound_pools(self) -> dict[str, Pool]:
        """Return the pools that may be used; of two that overlap only the older one."""
        return {name: pool for name, pool in self.pools.items() if name not in self.pool_faults}

    def not_announced(self, name: str) -> str:
        """Say that no advertisement covers the pool; empty where one does, or that is not known."""
        pool = self.pools.get(name)
        return not_announced(pool, self.selections) if pool is not None and self.selections is not None else ""

    def errors(self) -> list[str]:
        """Say each fault of our own kinds in one line that names its object."""
        return [line for kind in sorted(self.faults) if kind != _NAMESPACE for line in self._faults_of(kind)]

    def remarks(self) -> list[str]:
        """Say each fault of a Namespace: what has no effect there, and keeps nothing of ours out of use.

        Whoever may annotate one Namespace must not be able to have the whole configuration called invalid.
        """
        return self._faults_of(_NAMESPACE)

    def _faults_of(self, kind: str) -> list[str]:
        return [f"{kind} {name}: {fault.message}" for name, fault in sorted(self.faults.get(kind, {}).items())]

    def copy(self) -> Configuration:
        """Return one that faults can be added to without changing this."""
        faults = {kind: dict(of_kind) for kind, of_kind in self.faults.items()}
        return Configuration(dict(self.pools), faults, dict(self.awaited))

    def add_fault(self, kind: str, name: str, fault: Fault) -> None:
        """Note what is wrong with an object."""
        self.faults.setdefault(kind, {})[name] = fault


def read(
    pools: Iterable[Document],
    others: Mapping[Resource, Sequence[Document]] = MappingProxyType({}),
    nodes: Labels = MappingProxyType({}),
) -> Configuration:
    """Read all of it: `others` are the objects of the other kinds in KINDS that are known, `nodes` the labels of all.

    Of two pools that overlap the one created later is invalid.
    """
    there = sorted((document for document in pools if not in_deletion(document)), key=age)
    found = of_pools((document["metadata"]["name"], parse(document)) for document in there)
    add_others(found, others, nodes)
    return found


def parse(document: Document) -> Pool | InvalidDocument:
    """Read one pool, or say why it cannot be read."""
    try:
        return pool_from(document)
    except InvalidDocument as error:
        return error


def of_pools(parsed: Iterable[tuple[str, Pool | InvalidDocument]]) -> Configuration:
    """Judge pools, the oldest first."""
    found = Configuration()
    listed = list(parsed)
    # As a rule none overlap, which is quickly known; two hundred compared with one another take a while.
    readable = [pool for _, pool in listed if isinstance(pool, Pool)]
    apart = disjoint(readable)
    for name, pool in listed:
        if isinstance(pool, InvalidDocument):
            found.add_fault(names.IP_ADDRESS_POOLS.kind, name, Fault("Invalid", str(pool)))
            continue
        found.pools[name] = pool if apart else _beside(pool, readable, found)
    return found


def _beside(pool: Pool, pools: Iterable[Pool], found: Configuration) -> Pool:
    """Return what may be used of a pool beside all pools, and note its overlaps with those found sound before it."""
    others = [
        other
        for other in found.sound_pools().values()
        if other.name not in pool.addresses_from and pool.name not in other.addresses_from
    ]
    overlaps = pool_overlaps(pool, others)
    if overlaps:
        overlap = Fault("Overlap", "; ".join(str(overlap) for overlap in overlaps))
        found.add_fault(names.IP_ADDRESS_POOLS.kind, pool.name, overlap)
    # Of two that name each other, as a pool renamed to and fro, the older one has the addresses.
    sources = [other for other in pools if pool.name not in other.addresses_from or other.name in found.pools]
    waits = not_yet_given_up(pool, sources)
    if waits:
        found.awaited[pool.name] = waits
    return usable_beside(pool, sources)


def add_others(
    found: Configuration, others: Mapping[Resource, Sequence[Document]], nodes: Labels = MappingProxyType({})
) -> None:
    """Add what objects of other kinds say, and what is wrong with them."""
    if names.L2_ADVERTISEMENTS in others:
        found.selections = selections_of(chain(*(others.get(kind, ()) for kind in names.ADVERTISEMENT_KINDS)))
    for kind, documents in others.items():
        check = BY_KIND[kind.group, kind.kind].check
        for document in documents:
            try:
                check(document)
            except InvalidDocument as error:
                found.add_fault(kind.kind, document["metadata"]["name"], Fault("Invalid", str(error)))
    pools = list(found.sound_pools().values())
    for kind_name, (name, reason, message) in bgp_configuration.faults(others, pools, Nodes(nodes)):
        found.add_fault(kind_name, name, Fault(reason, message))


def age(document: Document) -> tuple[str, str]:
    """Return what sorts pools by age: of two that overlap the younger is invalid."""
    metadata = document["metadata"]
    return metadata.get("creationTimestamp") or "", metadata["name"]
