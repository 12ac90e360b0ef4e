"""What is elected: addresses that belong together, and the nodes that may announce all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from allocator.core.addresses import Address
from allocator.kube.reflector import Key
from speaker.cluster.eligibility import Standing
from speaker.cluster.eligible_nodes import EligibleNodes
from speaker.cluster.scope import Scope, union
from speaker.election.election import rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What speaks for and against a node, and on which interfaces it would announce each of the addresses."""

    weight: int
    handicap: int
    scopes: tuple[Scope, ...]


Slots = tuple[tuple[EligibleNodes, ...], ...]
"""For each address of a group the eligible nodes of each Service that has it."""


class CandidateSet:
    """The candidates of every group whose addresses have the same eligible nodes; compared by identity.

    An address that several Services share is announced where all of them may be, or, where there is no such node,
    where any may be; the addresses of a group are announced where each of them may be. Nothing of that is computed
    for a group whose addresses all have the same eligible nodes, and for others once.
    """

    __slots__ = ("_merged", "_merged_of", "_plain", "groups", "slots")

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.groups = 0
        first = slots[0][0]
        self._plain = first if all(each is first for slot in slots for each in slot) else None
        self._merged: Mapping[str, Candidate] = {}
        self._merged_of: tuple[Mapping[str, Standing], ...] | None = None

    @property
    def confined_to(self) -> frozenset[str] | None:
        """The nodes outside of which there is no candidate whatever becomes of them; None for any."""
        return None if self._plain is None else self._plain.serving

    def names(self) -> Collection[str]:
        """The candidates."""
        return self._plain.nodes.keys() if self._plain is not None else self._all().keys()

    def __contains__(self, node: str) -> bool:
        return node in (self._plain.nodes if self._plain is not None else self._all())

    def get(self, node: str) -> Candidate | None:
        """Return what is known of a candidate; None for a node that is none."""
        if self._plain is None:
            return self._all().get(node)
        standing = self._plain.nodes.get(node)
        if standing is None:
            return None
        scopes = (standing.scope,) * len(self.slots)
        return Candidate(weight=standing.weight, handicap=standing.handicap, scopes=scopes)

    def _all(self) -> Mapping[str, Candidate]:
        current = tuple(each.nodes for slot in self.slots for each in slot)
        known = self._merged_of
        if known is None or any(now is not then for now, then in zip(current, known, strict=True)):
            self._merged, self._merged_of = _merged(self.slots), current
        return self._merged


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Addresses, ascending, that one node is to announce together; `ranked_by` is the address that ranks the nodes.

    `services` are those that have them, each with the address.
    """

    addresses: tuple[Address, ...]
    services: tuple[tuple[Key, Address], ...]
    ranked_by: Address
    eligible: CandidateSet

    @property
    def nodes(self) -> dict[str, Candidate]:
        """The candidates in the order of `rank`: all are ranked anew at every call."""
        ranked = rank(address=self.ranked_by, candidates=self.eligible.names())
        return {node: found for node in ranked if (found := self.eligible.get(node)) is not None}


def shared(sharing: tuple[EligibleNodes, ...]) -> Mapping[str, Standing]:
    """Bring together where the Services that share an address may announce it."""
    first, *others = (each.nodes for each in sharing)
    if not others:
        return first
    nodes = set(first).intersection(*others) or set(first).union(*others)
    merged = {}
    for node in nodes:
        standings = [each.nodes[node] for each in sharing if node in each.nodes]
        merged[node] = Standing(
            scope=union(*(standing.scope for standing in standings)),
            weight=max(standing.weight for standing in standings),
            handicap=max(standing.handicap for standing in standings),
        )
    return merged


def _merged(slots: Slots) -> dict[str, Candidate]:
    of_each = [shared(slot) for slot in slots]
    first, *others = of_each
    return {
        node: Candidate(
            weight=max(nodes[node].weight for nodes in of_each),
            handicap=max(nodes[node].handicap for nodes in of_each),
            scopes=tuple(nodes[node].scope for nodes in of_each),
        )
        for node in first
        if all(node in nodes for nodes in others)
    }
