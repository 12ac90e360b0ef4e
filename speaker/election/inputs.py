"""What a decision is made from, besides the candidates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from speaker.membership.link import Link, Subnet
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import AdvertisedState, Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The other speakers and this node's interfaces at one moment.

    `links` are this node's own, `answered` the addresses it answers for, `refused` those that its kernel does not let
    it answer for. The `unforwarding` nodes may not go on forwarding without their speaker, and the kernels of the
    `unreachable` do not answer this node.
    """

    liveness: Liveness = field(default_factory=Liveness)
    links: tuple[Link, ...] = ()
    answered: Collection[Address] = frozenset()
    refused: Collection[Address] = frozenset()
    unforwarding: Collection[str] = frozenset()
    unreachable: Collection[str] = frozenset()
    subnets_by_lease: Mapping[str, tuple[Subnet, ...]] = field(default_factory=dict)
    """The subnets of each node's interfaces, by its Lease."""

    @property
    def by_lease(self) -> frozenset[str]:
        """The nodes that live by their Leases alone, where nobody hears anybody and their kernels answer."""
        return self.liveness.silent - frozenset(self.unreachable)

    @property
    def alive(self) -> frozenset[str]:
        """All that may take an address."""
        return self.liveness.alive | self.by_lease


@dataclass(frozen=True, slots=True)
class Claims:
    """Who else claims what, by address and node.

    `heard` are claims known as of now. `rumoured` are those of nodes that only others hear, or that do not hear this
    one: they keep an address from being taken, and nobody yields to them. `probed` are the nodes that are heard to
    ask the LAN for an address.
    """

    heard: Mapping[Address, Mapping[str, Claim]]
    rumoured: Mapping[Address, Mapping[str, Claim]]
    probed: Mapping[Address, frozenset[str]]


def claims_of_others(node: str, liveness: Liveness) -> Claims:
    """Sort out what the other speakers advertise to claim."""
    heard: dict[Address, dict[str, Claim]] = {}
    rumoured: dict[Address, dict[str, Claim]] = {}
    probed: dict[Address, frozenset[str]] = {}
    for other, state in liveness.states.items():
        if other == node:
            continue
        if other in liveness.heard:
            _add(heard, other, state)
            for address in state.probed:
                probed[address] = probed.get(address, frozenset()) | {other}
        elif other in liveness.alive or other in liveness.overheard:
            _add(rumoured, other, state)
    return Claims(heard, rumoured, probed)


def _add(claims: dict[Address, dict[str, Claim]], node: str, state: AdvertisedState) -> None:
    for address, claim in state.claims.items():
        claims.setdefault(address, {})[node] = claim
