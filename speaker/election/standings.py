"""One election at one moment, as this node sees it: who comes before whom, and what they claim."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from allocator.core.addresses import Address
from speaker.election.claim_index import ClaimIndex
from speaker.election.elected_group import ElectedGroup
from speaker.election.election import Precedence
from speaker.election.inputs import Inputs
from speaker.election.live_candidates import NO_CANDIDATE, Merit
from speaker.membership.state_sync import Claim

_NOBODY: frozenset[str] = frozenset()


class Standings:
    """The candidates for one group of addresses, and which of them the claims make its holder.

    Or for one address of the group alone, that its holder leaves out (`apart`): the candidates are the others then.
    Looks at no more candidates than the question asked needs.
    """

    def __init__(
        self,
        group: ElectedGroup,
        *,
        node: str,
        inputs: Inputs,
        alive: frozenset[str],
        claims: ClaimIndex,
        own: Mapping[Address, Claim],
        apart: tuple[Address, str] | None = None,
    ) -> None:
        """`claims` are the others', `own` those of this node on addresses of the group; `apart` is the one of them
        that these are for, and who holds the others."""
        self._group = group
        self._addresses = group.candidates.addresses if apart is None else (apart[0],)
        self.eligible = group.live.eligible
        self.order = group.live.order
        self.turns_before = 0
        """How many turns come before that of the first candidate: the holder of the others, where there is one."""
        if apart is not None:
            self.turns_before = 1
            self.order = {other: merit for other, merit in self.order.items() if other != apart[1]}
        if inputs.refused and node in self.order and not inputs.refused.isdisjoint(self._addresses):
            self.order = {other: merit for other, merit in self.order.items() if other != node}
        self._node = node
        self._inputs = inputs
        self._alive = alive
        self._claims = claims
        self._own = own
        self.me: Merit | None = self.order.get(node)
        self.heard = {address: claims.claims(address) for address in self._addresses}
        """The claims of others that are heard, by address and node."""
        self.named = {address: named for address in self._addresses if (named := self._named(address))}
        """Whom others name as the holder, by address, where hearing with that is not mutual; it is to keep it."""

    @cached_property
    def beaten(self) -> bool:
        """Whether some candidate comes before this node, or it is none of them."""
        return bool(self.better(at_most=1))

    def better(self, *, at_most: int) -> list[str]:
        """Return those before this node, all of them where it is none of them; no more than so many.

        Each has to be ranked: of hundreds of candidates that costs more than all the rest of a decision.
        """
        me = self.me
        found = [node for node, merit in self.order.items() if me is None or merit < me][:at_most]
        for node, merit in self.order.items() if me is not None and len(found) < at_most else ():
            if merit == me and self.precedes(node):
                found.append(node)
                if len(found) == at_most:
                    break
        return found

    def precedes(self, node: str) -> bool:
        """Whether a candidate that is alive comes before this node."""
        me, merit = self.me, self.order[node]
        if me is None or merit < me:
            return True
        return merit == me and node != self._node and self._group.rank(node) < self._group.rank(self._node)

    @cached_property
    def holder(self) -> str | None:
        """The candidate whose claim precedes all others; None where none claims anything.

        What is claimed apart counts only where nothing is otherwise.
        """
        claims: dict[str, list[Claim]] = {self._node: list(self._own.values())} if self._own else {}
        for by_node in self.heard.values():
            for node, claim in by_node.items():
                claims.setdefault(node, []).append(claim)
        for node in list(claims):
            if node in self.order and not self._helps_another(node, claims):
                continue
            del claims[node]
        if len(self._addresses) > 1:
            whole = {node: [each for each in made if not each.apart] for node, made in claims.items()}
            claims = {node: made for node, made in whole.items() if made} or claims
        if len(claims) <= 1:
            return next(iter(claims), None)
        return min(claims, key=lambda node: min(self._precedence(node, claim) for claim in claims[node]))

    def left_out(self) -> list[tuple[Address, str]]:
        """Return the addresses that another node, which holds the others of the group, neither claims nor asks for:
        it does not know that they belong to them; each with that node."""
        holder = self.holder if len(self._addresses) > 1 else None
        if holder is None or holder == self._node:
            return []
        return [
            (address, holder)
            for address, by_node in self.heard.items()
            if holder not in by_node and holder not in self._claims.probers(address)
        ]

    @cached_property
    def rumoured(self) -> bool:
        """Whether one with which hearing is not mutual was last known to claim something of it, or is named, and is
        to keep it."""
        return any(self.named.values()) or (
            bool(self._claims.rumoured)
            and any(
                node in self.eligible and not self._has_more_against_it(node)
                for address in self._addresses
                for node in self._claims.rumours(address)
            )
        )

    @cached_property
    def unheard_precede(self) -> bool:
        """Whether a candidate that comes before this node is heard by others only, so that it may have it unheard."""
        heard = self._inputs.liveness.heard
        return any(node not in heard and node != self._node and self.precedes(node) for node in self.order)

    @cached_property
    def left_to_who_hears_all(self) -> bool:
        """Whether this node does not hear some candidate, and one that it hears hears all of them.

        That one knows whether the address is vacant, and takes it if it is; this node does not know.
        """
        liveness = self._inputs.liveness
        if self._hears_all(self._node, liveness.heard):
            return False
        return any(
            node != self._node and node in liveness.heard and self._hears_all(node, liveness.states[node].hears)
            for node in self.order
        )

    @cached_property
    def is_hidden(self) -> bool:
        """Whether this node, which is not known to have it, has to reckon with a holder that it does not hear."""
        if self.rumoured:
            return True
        return self.holder != self._node and (self.unheard_precede or self.left_to_who_hears_all)

    @property
    def unknown(self) -> bool:
        """Whether a candidate has just come to this side, so that what it claims is not known."""
        return any(node in self.eligible for node in self._inputs.liveness.arriving)

    @cached_property
    def probed(self) -> bool:
        """Whether another candidate asks the LAN for something of it, or is about to."""
        return any(node in self.order for address in self._addresses for node in self._claims.probers(address))

    def probed_by_a_better(self, address: Address) -> bool:
        """Whether a candidate that comes before this node asks the LAN for it, or is about to."""
        return any(node in self.order and self.precedes(node) for node in self._claims.probers(address))

    @cached_property
    def isolated(self) -> bool:
        """Whether this node is cut off, and a candidate is among those that are not.

        Of those that are cut off from each other in a circle the first is not: by their Leases, or else by what the
        API says.
        """
        liveness, by_lease = self._inputs.liveness, self._inputs.by_lease
        # Those that do not reckon with this node go before it, the others are ranked with it.
        cut_off_from = liveness.cut_off_from - by_lease if liveness.leased else liveness.cut_off_from | by_lease
        if any(node in self.eligible for node in cut_off_from):
            return True
        return any(self._is_better(node) for node in liveness.in_cycle - by_lease)

    @cached_property
    def chosen(self) -> bool:
        """Whether it is for this node to keep what it has of the addresses."""
        if self.me is None:
            return False
        if self._inputs.by_lease:
            return not self.beaten
        return self.holder is None or self.holder == self._node or self.outdoes_holder

    @cached_property
    def outdoes_holder(self) -> bool:
        """Whether this node is to take over from a holder that is alive: it has less against it, or is preferred.

        Only while its side counts no less than the holder's: otherwise the holder's claim would precede its own.
        """
        me, holder = self.me, self.holder
        if me is None or holder is None or holder == self._node:
            return False
        if self._is_offered(holder):
            return not self.precedes(holder)
        its = self.order[holder]
        return me < its and (me[0] < its[0] or counts_no_less(self._inputs, self._node, holder))

    def preceding(self, address: Address, own: Claim, *, helping: str | None) -> frozenset[str]:
        """The nodes whose claim on the address precedes this node's; that of the node it helps always does."""
        heard, named = self.heard[address], self.named.get(address, _NOBODY)
        if not heard:
            return named
        mine = self._precedence(self._node, own)
        return named.union(
            node
            for node, claim in heard.items()
            if node == helping or (not self.helps(node, address) and self._precedence(node, claim) < mine)
        )

    def to_name(self, address: Address) -> str | None:
        """Return whose claim on the address holds, where another that claims it or asks for it does not hear that."""
        claims = self.heard[address]
        others = {*claims, *self._claims.probers(address)}
        if not claims or len(others) == 1:
            return None
        first = self.holder
        if first is None or first not in claims:
            first = min(claims, key=lambda node: self._precedence(node, claims[node]))
        deaf = any(node != first and first not in self._claims.states[node].hears for node in others)
        return first if deaf else None

    def is_unheard_of(self, node: str) -> bool:
        """Whether some other candidate that is heard does not hear this one."""
        states, heard = self._claims.states, self._inputs.liveness.heard
        return any(other in heard and other != node and node not in states[other].hears for other in self.order)

    def gives_way_at_once(self, holder: str) -> bool:
        """Whether the holder has more against it than this node, or only keeps it while the cluster boots."""
        return self._is_offered(holder) or self._has_more_against_it(holder)

    def is_helped(self, address: Address) -> bool:
        """Whether this node may serve, and another claims the address in its place because its speaker restarted."""
        return self.me is not None and any(self.helps(node, address) for node in self.heard[address])

    def helps(self, node: str, address: Address) -> bool:
        """Whether the node claims the address in this node's place."""
        return self._claims.states[node].helped.get(address) == self._node

    def misses_a_better(self) -> bool:
        """Whether a candidate that would come before this node, were its speaker there, is not."""
        if self._node not in self.eligible:
            return False
        return any(self._is_better(node) for node in self.eligible.names() if node not in self._alive)

    def is_first_of_those_alive(self) -> bool:
        """Whether this node would come first if all that are alive could answer."""
        alive = [node for node in self.eligible.names() if node in self._alive]
        return self._node in alive and min(alive, key=self._group.rank) == self._node

    def _is_better(self, node: str) -> bool:
        """Whether a node is a candidate and comes before this one, or this one is none, by what the API says."""
        own, other = self.eligible.get(self._node), self.eligible.get(node)
        if own is None or other is None:
            return other is not None
        mine, its = (own.handicap, -own.weight), (other.handicap, -other.weight)
        return its < mine or (its == mine and self._group.rank(node) < self._group.rank(self._node))

    def _named(self, address: Address) -> frozenset[str]:
        """The named but for those that have more against them than this node, which may take over from them."""
        named = self._claims.named(address)
        return named and frozenset(node for node in named if not self._has_more_against_it(node))

    def _has_more_against_it(self, node: str) -> bool:
        return self.me is not None and node in self.order and self.me[0] < self.order[node][0]

    def _hears_all(self, node: str, hears: frozenset[str]) -> bool:
        return all(other in hears or other == node for other in self.order)

    def _precedence(self, node: str, claim: Claim) -> Precedence:
        merit = self.order.get(node)
        return Precedence(
            handicap=NO_CANDIDATE if merit is None else merit[0],
            apart=claim.apart,
            offered=claim.offered,
            lesser_side=-self._inputs.liveness.sides.get(node, 0),
            lesser_weight=0 if merit is None else merit[1],
            term=claim.term,
            rank=b"" if merit is None else self._group.rank(node),
        )

    def _is_offered(self, node: str) -> bool:
        claims = [by_node[node] for by_node in self.heard.values() if node in by_node]
        return all(claim.offered for claim in claims)

    def _helps_another(self, node: str, claims: Mapping[str, object]) -> bool:
        """Whether the node claims in place of another candidate that claims for itself again."""
        if node == self._node:
            return False
        helped = self._claims.states[node].helped
        return bool(helped) and any(helped.get(address) in claims for address in self._addresses)


def counts_no_less(inputs: Inputs, node: str, other: str) -> bool:
    """Return whether a node's side counts no less than another's."""
    sides = inputs.liveness.sides
    return sides.get(node, 0) >= sides.get(other, 0)
