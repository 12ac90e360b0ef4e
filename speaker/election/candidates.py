"""What is elected: addresses that belong together, and the nodes that may announce all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from allocator.core.addresses import Address
from allocator.kube.reflector import Key
from speaker.cluster.eligibility import Standing
from speaker.cluster.scope import Scope, union
from speaker.cluster.service_address import ServiceAddress
from speaker.election.election import rank

_rank = lru_cache(maxsize=4096)(rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What speaks for and against a node, and on which interfaces it would announce each address."""

    weight: int
    handicap: int
    scopes: Mapping[Address, Scope]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Addresses that one node is to announce together; `nodes` are the candidates in the order of `rank`."""

    addresses: tuple[Address, ...]
    services: tuple[tuple[Key, Address], ...]
    nodes: Mapping[str, Candidate]


def candidates(service_addresses: Iterable[Sequence[ServiceAddress]]) -> tuple[Candidates, ...]:
    """Group the Services' addresses into what is elected together.

    The addresses of a dual-stack Service go together, so do those of Services that share one; but where no node may
    announce all of them, each goes by itself. An address that several Services share is announced where all of them
    may be, or, where there is no such node, where any may be.
    """
    found: list[Candidates] = []
    for group in _connected(service_addresses):
        by_address: dict[Address, list[ServiceAddress]] = {}
        for each in group:
            if each.nodes:
                by_address.setdefault(each.address, []).append(each)
        standings = {address: _shared(sharing) for address, sharing in by_address.items()}
        common = set.intersection(*(set(nodes) for nodes in standings.values())) if standings else set()
        parts = [standings] if common else [{address: nodes} for address, nodes in standings.items()]
        for part in parts:
            services = tuple((each.service, each.address) for each in group if each.address in part and each.nodes)
            key = min(group, key=lambda each: (each.service, each.address)).first if common else next(iter(part))
            found.append(_candidates(key, part, services))
    return tuple(found)


def _candidates(
    key: Address, standings: Mapping[Address, Mapping[str, Standing]], services: tuple[tuple[Key, Address], ...]
) -> Candidates:
    nodes = frozenset.intersection(*(frozenset(nodes) for nodes in standings.values()))
    return Candidates(
        addresses=tuple(sorted(standings)),
        services=services,
        nodes={
            node: Candidate(
                weight=max(nodes[node].weight for nodes in standings.values()),
                handicap=max(nodes[node].handicap for nodes in standings.values()),
                scopes={address: nodes[node].scope for address, nodes in standings.items()},
            )
            for node in _rank(address=key, candidates=nodes)
        },
    )


def _shared(sharing: Sequence[ServiceAddress]) -> dict[str, Standing]:
    """Bring together where the Services that share an address may announce it."""
    nodes = set.intersection(*(set(each.nodes) for each in sharing)) or {
        node for each in sharing for node in each.nodes
    }
    merged = {}
    for node in nodes:
        standings = [each.nodes[node] for each in sharing if node in each.nodes]
        merged[node] = Standing(
            scope=union(*(standing.scope for standing in standings)),
            weight=max(standing.weight for standing in standings),
            handicap=max(standing.handicap for standing in standings),
        )
    return merged


def _connected(service_addresses: Iterable[Sequence[ServiceAddress]]) -> list[list[ServiceAddress]]:
    """Split into groups that have no address in common."""
    groups: dict[Address, list[ServiceAddress]] = {}
    for of_service in service_addresses:
        merged = list(of_service)
        for address in {each.address for each in of_service}:
            known = groups.get(address)
            if known is not None and known is not merged:
                merged += [each for each in known if each not in merged]
        for each in merged:
            groups[each.address] = merged
    return list({id(group): group for group in groups.values()}.values())
