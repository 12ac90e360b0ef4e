"""What this node announces from one decision to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from speaker.cluster.scope import Scope
from speaker.election.candidates import Candidate, Candidates
from speaker.election.case import Case
from speaker.election.claim_term import ClaimTerms
from speaker.election.graceful_restart import Help, help_for
from speaker.election.inputs import Claims, Inputs, claims_of_others
from speaker.election.reach import reach
from speaker.election.standings import Standings
from speaker.election.transitions import ANNOUNCED, HELD, State, next_state
from speaker.membership.link import Link
from speaker.membership.membership import STEADY_SECONDS
from speaker.membership.state_sync import AdvertisedState, Claim

SKEW_SECONDS = 0.2
"""How much later than the candidate before it a node takes an address that nobody claims."""

HANDOVER_SECONDS = 2.0
"""How long an address is kept for a successor that does not take it: it may see changes a little later."""


@dataclass(frozen=True, slots=True)
class HolderState:
    """What to announce now, with the claims to advertise.

    `states` are those of the transitions. What is `probing` is announced only once nobody turns out to have it, and
    not claimed until then. `help` are those answered for a restarting node. `deadline` is when to decide again though
    nothing happens. `contested` are those claimed by a peer too, `regained` those that no longer are: the LAN is to
    be told again; `unable` those this node would take if it had the interfaces.
    """

    states: Mapping[Address, State] = field(default_factory=dict)
    scopes: Mapping[Address, Scope] = field(default_factory=dict)
    probing: frozenset[Address] = frozenset()
    claims: Mapping[Address, Claim] = field(default_factory=dict)
    help: Mapping[Address, Help] = field(default_factory=dict)
    deadline: float | None = None
    contested: Mapping[Address, str] = field(default_factory=dict)
    regained: frozenset[Address] = frozenset()
    unable: frozenset[Address] = frozenset()

    def advertised(self, links: tuple[Link, ...]) -> AdvertisedState:
        """What the other speakers are to know of it, and of this node's interfaces."""
        helped = {address: help.node for address, help in self.help.items()}
        return AdvertisedState(claims=self.claims, probed=self.probing, helped=helped, links=links)


@dataclass(slots=True, kw_only=True)
class _Held:
    """An address that is announced: in which state, and since what."""

    state: State
    scope: Scope
    term: int = 0
    help: Help | None = None
    until: float | None = None
    provisional: bool = False
    offered_until: float | None = None

    @property
    def claim(self) -> Claim:
        return Claim(term=self.term, offered=self.offered_until is not None)


class Holder:
    """Decides what one node announces (`election`'s rules). Pure but for its memory. Owned by one thread."""

    def __init__(self, node: str, *, handover_seconds: float = HANDOVER_SECONDS, by_subnet: bool = True) -> None:
        """`by_subnet` ranks nodes without an interface in an address's subnet behind those that have one."""
        self._node = node
        self._patience = handover_seconds
        self._by_subnet = by_subnet
        self._held: dict[Address, _Held] = {}
        self._terms = ClaimTerms()
        self._since: dict[tuple[Address, str], float] = {}
        self._unready_at: float | None = None
        self._contested: frozenset[Address] = frozenset()

    def decide(self, groups: Sequence[Candidates], inputs: Inputs, now: float) -> HolderState:
        """Hold every election anew and return what this node announces from now on."""
        claims = claims_of_others(self._node, inputs.liveness)
        self._look(groups, inputs, claims, now)
        round_ = _Round(self, inputs, claims, now)
        held: dict[Address, _Held] = {}
        for group in groups:
            round_.hold(group, held)
        self._held, self._since = held, round_.since
        return round_.result(held)

    def _look(self, groups: Sequence[Candidates], inputs: Inputs, claims: Claims, now: float) -> None:
        claimed = {address: held.term for address, held in self._held.items() if held.state in HELD}
        for known in (claims.heard, claims.rumoured):
            for address, by_node in known.items():
                claimed[address] = max(claimed.get(address, 0), *(claim.term for claim in by_node.values()))
        addresses = [address for group in groups for address in group.addresses]
        self._terms.look(addresses, claimed, inputs.liveness.states, now)
        if any(group.nodes[self._node].handicap for group in groups if self._node in group.nodes):
            self._unready_at = now


class _Round:
    """One decision under way: what it found so far."""

    def __init__(self, holder: Holder, inputs: Inputs, claims: Claims, now: float) -> None:
        self._holder = holder
        self._inputs = inputs
        self._claims = claims
        self._now = now
        self.since: dict[tuple[Address, str], float] = {}
        self._states: dict[Address, State] = {}
        self._ends: list[float] = []
        self._contested: dict[Address, str] = {}
        self._unable: set[Address] = set()

    def hold(self, group: Candidates, held: dict[Address, _Held]) -> None:
        """Decide about one group of addresses; what is announced of it is put into `held`."""
        before = self._holder._held
        standings = Standings(
            group,
            node=self._holder._node,
            inputs=self._inputs,
            claims=self._claims,
            own={
                address: before[address].claim
                for address in group.addresses
                if address in before and before[address].state in HELD
            },
            by_subnet=self._holder._by_subnet,
        )
        own = group.nodes.get(self._holder._node)
        may_take = self._may_take(group, standings)
        for address in group.addresses:
            known = before.get(address)
            current = _Held(state=State.WAITING, scope=Scope(frozenset())) if known is None else known
            if own is not None:
                current.scope = own.scopes[address]
            self._walk(address, current, own, standings, may_take or standings.is_helped(address))
            self._states[address] = current.state
            if current.state in ANNOUNCED:
                held[address] = current
                self._settle(address, current, standings)
        if not standings.order and own is not None and standings.is_first_of_those_alive():
            self._unable |= set(group.addresses)

    def result(self, held: Mapping[Address, _Held]) -> HolderState:
        """Return what this decision comes to."""
        for each in held.values():
            ends = (each.until, each.help.until if each.help is not None else None, each.offered_until)
            self._ends += [end for end in ends if end is not None]
        claimed = {address: each for address, each in held.items() if each.state in HELD}
        regained = frozenset(
            address
            for address in self._holder._contested - self._contested.keys()
            if address in held and held[address].state is State.HOLDING
        )
        self._holder._contested = frozenset(self._contested)
        return HolderState(
            states=self._states,
            scopes={address: each.scope for address, each in held.items()},
            probing=frozenset(address for address, each in held.items() if each.state is State.PROBING),
            claims={address: each.claim for address, each in claimed.items()},
            help={address: each.help for address, each in claimed.items() if each.help is not None},
            deadline=min((end for end in self._ends if end > self._now), default=None),
            contested=self._contested,
            regained=regained,
            unable=frozenset(self._unable),
        )

    def _walk(
        self, address: Address, held: _Held, own: Candidate | None, standings: Standings, may_take: bool
    ) -> None:
        """Make every transition that is due."""
        heard = self._claims.heard.get(address, {})
        helping = held.help.node if held.help is not None else None
        others = [node for node in heard if node != helping]
        if others and held.state in HELD and held.state is not State.HANDING_OVER:
            self._contested[address] = others[0]
        while True:
            case = self._case(address, held, own, standings, may_take)
            if held.state is State.HANDING_OVER and not case.runs:
                held.help = None
            to = next_state(held.state, case)
            if to is held.state:
                return
            self._enter(address, held, to, case, standings)
            if to not in ANNOUNCED:
                return

    def _case(
        self, address: Address, held: _Held, own: Candidate | None, standings: Standings, may_take: bool
    ) -> Case:
        inputs, liveness = self._inputs, self._inputs.liveness
        heard = self._claims.heard.get(address, {})
        claimed = held.state in HELD
        help_ = held.help
        if not claimed and own is not None and may_take:
            help_ = help_for(address, liveness.states, liveness.leaving, inputs.links, now=self._now)
            if help_ is not None and help_.node not in standings.nodes:
                help_ = None
        better_probers = frozenset(each.node for each in standings.better) & self._claims.probed.get(
            address, frozenset()
        )
        return Case(
            now=self._now,
            able=reach(address, held.scope, inputs.links).possible and address not in inputs.refused,
            isolated=standings.isolated,
            claims=heard,
            preceding=(
                standings.preceding(
                    address, held.claim, helping=help_.node if help_ is not None and claimed else None
                )
                if claimed
                else frozenset()
            ),
            first_prober=not better_probers,
            is_answered=address in inputs.answered,
            chosen=(standings.chosen and (claimed or not standings.rumoured)) or standings.is_helped(address),
            may_take=may_take,
            vouched=self._holder._terms.vouches_for(address, self._now),
            help=help_,
            runs=help_ is not None and self._now < help_.until and help_.node not in inputs.unforwarding,
            until=held.until,
        )

    def _enter(self, address: Address, held: _Held, to: State, case: Case, standings: Standings) -> None:
        terms, liveness = self._holder._terms, self._inputs.liveness
        was, held.state = held.state, to
        held.until = None
        if to is State.HANDING_OVER:
            held.until = self._now + self._holder._patience
        elif to is State.HELPING:
            held.help = case.help
            held.term = case.help.term if case.help is not None else 0
        elif to in (State.HOLDING, State.PROBING):
            if was not in HELD:
                fresh = liveness.booting and not terms.had_holder(address)
                held.provisional = held.provisional or (fresh and standings.misses_a_better())
                held.term = self._term(address, standings)
            held.help = None
        if to not in ANNOUNCED:
            held.help = None

    def _term(self, address: Address, standings: Standings) -> int:
        """That of the claim made in this node's place, if there is one: it goes on; else the next."""
        claims = self._claims.heard.get(address, {})
        for node, claim in claims.items():
            if standings.helps(node, address):
                return claim.term
        return self._holder._terms.next_term(address, informed=self._inputs.liveness.informed)

    def _may_take(self, group: Candidates, standings: Standings) -> bool:
        """Whether it is this node's turn to take what nobody, or a lesser holder, has of the group."""
        if standings.me is None or standings.rumoured or standings.unknown:
            return False
        if self._inputs.by_lease:
            return not standings.better
        if standings.holder is standings.me:
            return True
        if standings.holder is None:
            if standings.probed:
                return False
            return self._has_waited(group.addresses[0], "vacant", standings)
        if not standings.outdoes_holder or not self._is_steady(standings):
            return False
        return self._has_waited(group.addresses[0], "lesser holder", standings)

    def _has_waited(self, address: Address, reason: str, standings: Standings) -> bool:
        since = self.since[address, reason] = self._holder._since.get((address, reason), self._now)
        if not standings.hears_all_better:
            return False
        at = since + SKEW_SECONDS * len(standings.better)
        self._ends.append(at)
        return self._now >= at

    def _is_steady(self, standings: Standings) -> bool:
        """Whether this node may take an address for being preferred: it is heard, and Ready, for long enough."""
        me, holder = standings.me, standings.holder
        if me is None or holder is None or standings.gives_way_at_once(holder):
            return True
        ready_at = 0.0 if self._holder._unready_at is None else self._holder._unready_at + STEADY_SECONDS
        self._ends.append(ready_at)
        return holder.node in self._inputs.liveness.steady and self._now >= ready_at

    def _settle(self, address: Address, held: _Held, standings: Standings) -> None:
        """End what was provisional while the cluster booted: offer it once to whoever comes first."""
        if held.offered_until is not None and self._now >= held.offered_until:
            held.offered_until = None
        if not held.provisional or held.state is not State.HOLDING:
            return
        if self._inputs.liveness.booting:
            if standings.misses_a_better():
                return
            # All are to know of each other before one of them takes it.
            since = self.since[address, "complete"] = self._holder._since.get((address, "complete"), self._now)
            self._ends.append(since + SKEW_SECONDS)
            if self._now < since + SKEW_SECONDS:
                return
        held.provisional = False
        if standings.better:
            held.offered_until = self._now + self._holder._patience
