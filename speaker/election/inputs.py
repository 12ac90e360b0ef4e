"""What a decision is made from, besides the candidates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from speaker.membership.link import Link, Subnet
from speaker.membership.liveness import Liveness


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The other speakers and this node's interfaces at one moment.

    `links` are this node's own, `answered` the addresses it answers for, `refused` those that its kernel does not let
    it answer for. The addresses `let_go` are those that others have ceased to claim since the decision before,
    whether or not their claims were known here. The `unforwarding` nodes may not go on forwarding without their
    speaker, and the kernels of the `unreachable` do not answer this node.
    """

    liveness: Liveness = field(default_factory=Liveness)
    links: tuple[Link, ...] = ()
    answered: Collection[Address] = frozenset()
    refused: frozenset[Address] = frozenset()
    unforwarding: Collection[str] = frozenset()
    unreachable: Collection[str] = frozenset()
    let_go: frozenset[Address] = frozenset()
    subnets_by_lease: Mapping[str, tuple[Subnet, ...]] = field(default_factory=dict)
    """The subnets of each node's interfaces, by its Lease."""

    @property
    def by_lease(self) -> frozenset[str]:
        """The nodes that live by their Leases alone, where nobody hears anybody and their kernels answer."""
        silent = self.liveness.silent
        return silent - frozenset(self.unreachable) if silent else silent

    @property
    def alive(self) -> frozenset[str]:
        """All that may take an address."""
        return self.liveness.alive | self.by_lease
