"""What is elected: addresses that belong together, and the nodes that may announce all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from allocator.core.addresses import Address
from allocator.kube.reflector import Key
from speaker.cluster.eligibility import Nobody, Standing
from speaker.cluster.scope import Scope, union
from speaker.election.election import rank

_rank = lru_cache(maxsize=4096)(rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidacy:
    """One address of one Service and the nodes that may announce it; `first` is the Service's first address."""

    service: Key
    address: Address
    first: Address
    nodes: Mapping[str, Standing] = field(default_factory=dict)
    nobody: Nobody | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How a node stands in a contest, and on which interfaces it would announce each address."""

    weight: int
    handicap: int
    scopes: Mapping[Address, Scope]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Addresses that one node is to announce together; `places` lists the candidates in the order of `rank`."""

    addresses: tuple[Address, ...]
    services: tuple[tuple[Key, Address], ...]
    places: Mapping[str, Place]


def contests(candidacies: Iterable[Sequence[Candidacy]]) -> tuple[Contest, ...]:
    """Group the Services' candidacies into contests.

    The addresses of a dual-stack Service go together, so do those of Services that share one; but where no node may
    announce all of them, each goes by itself. An address that several Services share is announced where all of them
    may be, or, where there is no such node, where any may be.
    """
    found: list[Contest] = []
    for group in _connected(candidacies):
        by_address: dict[Address, list[Candidacy]] = {}
        for candidacy in group:
            if candidacy.nodes:
                by_address.setdefault(candidacy.address, []).append(candidacy)
        standings = {address: _shared(sharing) for address, sharing in by_address.items()}
        common = set.intersection(*(set(nodes) for nodes in standings.values())) if standings else set()
        parts = [standings] if common else [{address: nodes} for address, nodes in standings.items()]
        for part in parts:
            services = tuple((each.service, each.address) for each in group if each.address in part and each.nodes)
            key = min(group, key=lambda each: (each.service, each.address)).first if common else next(iter(part))
            found.append(_contest(key, part, services))
    return tuple(found)


def _contest(
    key: Address, standings: Mapping[Address, Mapping[str, Standing]], services: tuple[tuple[Key, Address], ...]
) -> Contest:
    candidates = frozenset.intersection(*(frozenset(nodes) for nodes in standings.values()))
    return Contest(
        addresses=tuple(sorted(standings)),
        services=services,
        places={
            node: Place(
                weight=max(nodes[node].weight for nodes in standings.values()),
                handicap=max(nodes[node].handicap for nodes in standings.values()),
                scopes={address: nodes[node].scope for address, nodes in standings.items()},
            )
            for node in _rank(address=key, candidates=candidates)
        },
    )


def _shared(sharing: Sequence[Candidacy]) -> dict[str, Standing]:
    """Bring together where the Services that share an address may announce it."""
    candidates = set.intersection(*(set(each.nodes) for each in sharing)) or {
        node for each in sharing for node in each.nodes
    }
    merged = {}
    for node in candidates:
        standings = [each.nodes[node] for each in sharing if node in each.nodes]
        merged[node] = Standing(
            scope=union(*(standing.scope for standing in standings)),
            weight=max(standing.weight for standing in standings),
            handicap=max(standing.handicap for standing in standings),
        )
    return merged


def _connected(candidacies: Iterable[Sequence[Candidacy]]) -> list[list[Candidacy]]:
    """Split into groups that have no address in common."""
    groups: dict[Address, list[Candidacy]] = {}
    for of_service in candidacies:
        merged = list(of_service)
        for address in {each.address for each in of_service}:
            known = groups.get(address)
            if known is not None and known is not merged:
                merged += [each for each in known if each not in merged]
        for each in merged:
            groups[each.address] = merged
    return list({id(group): group for group in groups.values()}.values())
