"""One election at one moment, as this node sees it: the candidates that are alive, and what they claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from allocator.core.addresses import Address
from speaker.cluster.eligibility import NOT_READY_HANDICAP
from speaker.cluster.scope import Scope
from speaker.election.candidates import Candidate, Candidates
from speaker.election.election import Precedence
from speaker.election.inputs import Claims, Inputs
from speaker.election.reach import Reach, reach
from speaker.membership.state_sync import NOTHING, Claim

NO_SUBNET_HANDICAP = 2 * NOT_READY_HANDICAP
LOST_LINK_HANDICAP = 2 * NO_SUBNET_HANDICAP
"""Each is worse than all before it together: what a node without the link would answer, the clients may not hear."""
_NO_CANDIDATE = 2 * LOST_LINK_HANDICAP


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A candidate that is alive and can answer, with everything that speaks against it."""

    node: str
    handicap: int
    weight: int
    rank: int


class Standings:
    """The contenders for one group of addresses, best first, and which of them the claims make its holder."""

    def __init__(
        self,
        group: Candidates,
        *,
        node: str,
        inputs: Inputs,
        claims: Claims,
        own: Mapping[Address, Claim],
        by_subnet: bool,
    ) -> None:
        """`claims` are the others', `own` this node's. `by_subnet` ranks nodes without a fitting subnet last."""
        self._group = group
        self.nodes = group.nodes
        self._node = node
        self._inputs = inputs
        self._claims = claims
        self._own = {address: own[address] for address in group.addresses if address in own}
        self._by_subnet = by_subnet
        found = [
            contender
            for rank, (other, candidate) in enumerate(group.nodes.items())
            if other in inputs.alive and (contender := self._contender(other, candidate, rank)) is not None
        ]
        self.order = tuple(sorted(found, key=lambda each: (each.handicap, -each.weight, each.rank)))
        self._contenders = {contender.node: contender for contender in self.order}
        self.me = self._contenders.get(node)

    @cached_property
    def better(self) -> tuple[Contender, ...]:
        """Those before this node; all of them where it is none of them."""
        return self.order if self.me is None else self.order[: self.order.index(self.me)]

    @cached_property
    def holder(self) -> Contender | None:
        """The contender whose claim precedes all others; None where none claims anything."""
        claims: dict[str, list[Claim]] = {self._node: list(self._own.values())} if self._own else {}
        for address in self._group.addresses:
            for node, claim in self._claims.heard.get(address, {}).items():
                claims.setdefault(node, []).append(claim)
        for node in list(claims):
            if node in self._contenders and not self._helps_another(node, claims):
                continue
            del claims[node]
        if not claims:
            return None
        best = min(claims, key=lambda node: min(self._precedence(node, claim) for claim in claims[node]))
        return self._contenders[best]

    @cached_property
    def rumoured(self) -> bool:
        """Whether a candidate with which hearing is not mutual was last known to claim something of it."""
        return any(
            node in self.nodes for address in self._group.addresses for node in self._claims.rumoured.get(address, ())
        )

    @property
    def unknown(self) -> bool:
        """Whether a candidate has just come to this side, so that what it claims is not known."""
        return any(node in self.nodes for node in self._inputs.liveness.arriving)

    @cached_property
    def probed(self) -> frozenset[str]:
        """The other contenders that ask the LAN for something of it."""
        return frozenset(
            node
            for address in self._group.addresses
            for node in self._claims.probed.get(address, ())
            if node in self._contenders
        )

    @property
    def isolated(self) -> bool:
        """Whether this node is cut off, and a candidate is among those that are not."""
        return any(node in self._group.nodes for node in self._inputs.liveness.cut_off_from)

    @cached_property
    def chosen(self) -> bool:
        """Whether it is for this node to keep what it has of the addresses."""
        if self.me is None:
            return False
        if self._inputs.by_lease:
            return not self.better
        return self.holder is None or self.holder is self.me or self.outdoes_holder

    @cached_property
    def outdoes_holder(self) -> bool:
        """Whether this node is to take over from a holder that is alive: it has less against it, or is preferred.

        Only while its side counts no less than the holder's: otherwise the holder's claim would precede its own.
        """
        me, holder = self.me, self.holder
        if me is None or holder is None or holder is me:
            return False
        if self._is_offered(holder.node):
            return self.order.index(me) < self.order.index(holder)
        liveness = self._inputs.liveness
        if me.handicap != holder.handicap:
            return me.handicap < holder.handicap
        sides = liveness.sides
        return sides.get(self._node, 0) >= sides.get(holder.node, 0) and me.weight > holder.weight

    @cached_property
    def hears_all_better(self) -> bool:
        """Whether every contender before this node is heard, so that it would be known if one took an address."""
        return all(contender.node in self._inputs.liveness.heard for contender in self.better)

    def preceding(self, address: Address, own: Claim, *, helping: str | None) -> frozenset[str]:
        """The nodes whose claim on the address precedes this node's; that of the node it helps always does."""
        mine = self._precedence(self._node, own)
        return frozenset(
            node
            for node, claim in self._claims.heard.get(address, {}).items()
            if node == helping or (not self.helps(node, address) and self._precedence(node, claim) < mine)
        )

    def gives_way_at_once(self, holder: Contender) -> bool:
        """Whether the holder has more against it than this node, or only keeps it while the cluster boots."""
        return self._is_offered(holder.node) or (self.me is not None and self.me.handicap < holder.handicap)

    def is_helped(self, address: Address) -> bool:
        """Whether this node may serve, and another claims the address in its place because its speaker restarted."""
        return self.me is not None and any(self.helps(node, address) for node in self._claims.heard.get(address, ()))

    def helps(self, node: str, address: Address) -> bool:
        """Whether the node claims the address in this node's place."""
        return self._inputs.liveness.states[node].helped.get(address) == self._node

    def misses_a_better(self) -> bool:
        """Whether a candidate that would come before this node, were its speaker there, is not."""
        nodes = self._group.nodes
        if self._node not in nodes:
            return False
        ranked = sorted(nodes, key=lambda each: (nodes[each].handicap, -nodes[each].weight))
        return any(other not in self._inputs.alive for other in ranked[: ranked.index(self._node)])

    def is_first_of_those_alive(self) -> bool:
        """Whether this node would come first if all that are alive could answer."""
        return next((node for node in self._group.nodes if node in self._inputs.alive), None) == self._node

    def _contender(self, node: str, candidate: Candidate, rank: int) -> Contender | None:
        reaches = [self._reach(node, address, scope) for address, scope in candidate.scopes.items()]
        if not all(each.possible for each in reaches):
            return None
        handicap = candidate.handicap
        handicap += LOST_LINK_HANDICAP if any(each.lost for each in reaches) else 0
        handicap += NO_SUBNET_HANDICAP if self._by_subnet and not all(each.subnet for each in reaches) else 0
        return Contender(node=node, handicap=handicap, weight=candidate.weight, rank=rank)

    def _reach(self, node: str, address: Address, scope: Scope) -> Reach:
        """How the node reaches those who ask; as far as its Lease tells where that is all there is, else at best."""
        if node == self._node:
            own = reach(address, scope, self._inputs.links)
            return replace(own, possible=False) if address in self._inputs.refused else own
        state = self._inputs.liveness.states.get(node, NOTHING)
        if node in self._inputs.by_lease:
            subnets = self._inputs.subnets_by_lease.get(node, ())
            return Reach(possible=True, subnet=any(address in subnet for subnet in subnets), lost=False)
        if state is NOTHING:
            return Reach(possible=True, subnet=True, lost=False)
        return reach(address, scope, state.links)

    def _precedence(self, node: str, claim: Claim) -> Precedence:
        contender = self._contenders.get(node)
        return Precedence(
            handicap=_NO_CANDIDATE if contender is None else contender.handicap,
            offered=claim.offered,
            lesser_side=-self._inputs.liveness.sides.get(node, 0),
            lesser_weight=0 if contender is None else -contender.weight,
            term=claim.term,
            rank=0 if contender is None else contender.rank,
        )

    def _is_offered(self, node: str) -> bool:
        claims = [self._claims.heard.get(address, {}).get(node) for address in self._group.addresses]
        return all(claim.offered for claim in claims if claim is not None)

    def _helps_another(self, node: str, claims: Mapping[str, object]) -> bool:
        """Whether the node claims in place of another contender that claims for itself again."""
        if node == self._node:
            return False
        helped = self._inputs.liveness.states[node].helped
        return any(helped.get(address) in claims for address in self._group.addresses)
