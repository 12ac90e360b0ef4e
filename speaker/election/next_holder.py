"""Which node would hold an address if a Service were given it now: that one asks the LAN about it beforehand."""

from __future__ import annotations

from collections.abc import Iterable

from allocator.core.addresses import Address
from speaker.cluster.eligible_nodes import EligibleNodes
from speaker.cluster.scope import Scope
from speaker.cluster.service_address import ServiceAddress
from speaker.election.candidates import CandidateSet
from speaker.election.claim_index import ClaimIndex
from speaker.election.elected_group import ElectedGroup
from speaker.election.groups import parts
from speaker.election.inputs import Inputs
from speaker.election.live_candidates import LiveCandidates
from speaker.election.standings import Standings

_Placed = tuple[tuple[Address, Address, EligibleNodes | None], ...]
"""Addresses that a Service has or may get: each with its first one, and the nodes that may announce it."""


class NextHolder:
    """Remembers what it worked out for as long as the speakers and their interfaces are the same. One owner."""

    def __init__(self, node: str, *, by_subnet: bool) -> None:
        self._node = node
        self._by_subnet = by_subnet
        self._decided_by: object = None
        self._known: dict[_Placed, dict[Address, Scope]] = {}

    def would_hold(
        self, service_addresses: Iterable[tuple[ServiceAddress, ...]], inputs: Inputs
    ) -> dict[Address, Scope]:
        """Return the addresses that this node would take, with the interfaces on which it would announce them.

        The candidates are ranked as for an address that nobody claims, so that all nodes that hear each other agree,
        and each address is asked about by one of them.
        """
        decided_by = what_decides(inputs)
        before = self._known if decided_by == self._decided_by else {}
        self._decided_by, self._known = decided_by, {}
        found: dict[Address, Scope] = {}
        for of_service in service_addresses:
            # Whose they are decides nothing: an address that waits and is given is worked out once.
            placed = tuple((each.address, each.first, each.eligible) for each in of_service)
            known = before.get(placed)
            if known is None:
                known = self._hold(of_service, inputs)
            self._known[placed] = known
            found.update(known)
        return found

    def _hold(self, of_service: tuple[ServiceAddress, ...], inputs: Inputs) -> dict[Address, Scope]:
        found: dict[Address, Scope] = {}
        for part in parts(sorted(of_service, key=lambda each: (each.service, each.address))):
            eligible = CandidateSet(part.slots)
            if self._node not in eligible:
                continue
            live = LiveCandidates(eligible, part.addresses, None, node=self._node)
            live.refresh(None, inputs, inputs.alive, by_subnet=self._by_subnet)
            standings = Standings(
                ElectedGroup(part.candidates(eligible), live),
                node=self._node,
                inputs=inputs,
                alive=inputs.alive,
                claims=ClaimIndex(self._node),
                own={},
            )
            if live.own is not None and standings.me is not None and not (standings.beaten or standings.isolated):
                found.update(zip(part.addresses, live.own.scopes, strict=True))
        return found


def what_decides(inputs: Inputs) -> object:
    """Return what of the inputs decides who comes first for an address that nobody claims, to be compared."""
    liveness = inputs.liveness
    links = {node: state.links for node, state in liveness.states.items()}
    cut_off = liveness.cut_off_from, liveness.in_cycle, liveness.leased
    return inputs.alive, inputs.by_lease, cut_off, inputs.links, inputs.subnets_by_lease, links
