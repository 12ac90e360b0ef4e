"""What this node announces from one decision to the next."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from typing import TypeVar

from allocator.core.addresses import Address
from allocator.core.sorted_addresses import SortedAddresses
from speaker.election.candidates import Candidates
from speaker.election.claim_index import ClaimIndex
from speaker.election.claim_term import ClaimTerms
from speaker.election.elected_group import ElectedGroup
from speaker.election.electorate import Electorate
from speaker.election.group_decision import SKEW_SECONDS, GroupDecision
from speaker.election.groups import GroupChanges
from speaker.election.holder_state import Held, HolderState
from speaker.election.inputs import Inputs
from speaker.election.moment import Moment
from speaker.election.outcome import Outcome
from speaker.election.transitions import HELD, PROBED, State
from speaker.membership.state_sync import NOTHING, Claim
from speaker.persistent_map import PersistentMap

__all__ = ["HANDOVER_SECONDS", "SKEW_SECONDS", "Holder", "HolderState"]

_Value = TypeVar("_Value")

HANDOVER_SECONDS = 2.0
"""How long an address is kept for a successor that does not take it: it may see changes a little later."""


def always() -> bool:
    """There is time for everything."""
    return True


class Holder:
    """Decides what one node announces (`election`'s rules). Pure but for its memory. Owned by one thread.

    A decision looks at the groups of addresses

    - that are new, or about whose addresses something else is claimed or asked than before;
    - whose holder's merit, or this node's, is another than before;
    - whose time has come;
    - of which this node has begun or ceased to claim something, or ceased to ask for it, the last time;
    - about which something was left to decide, when something has changed among the speakers.

    All others would come to the same again (`GroupDecision` has which those are).
    """

    def __init__(self, node: str, *, handover_seconds: float = HANDOVER_SECONDS, by_subnet: bool = True) -> None:
        """`by_subnet` ranks nodes without an interface in an address's subnet behind those that have one."""
        self._node = node
        self._handover_seconds = handover_seconds
        self._claims = ClaimIndex(node)
        self._terms = ClaimTerms()
        self._electorate = Electorate(node, by_subnet=by_subnet)
        self._inputs = Inputs()
        self._groups: dict[Address, ElectedGroup] = {}
        self._elected = SortedAddresses()
        self._dirty: dict[ElectedGroup, None] = {}
        self._unsettled: dict[ElectedGroup, None] = {}
        self._changed: dict[ElectedGroup, None] = {}
        self._deadlines: list[tuple[float, int, ElectedGroup]] = []
        self._numbers = itertools.count()
        self._held: dict[Address, Held] = {}
        self._unlooked: set[Address] = set()
        self._gone: set[Address] = set()
        self._heard_of: Set[Address] = frozenset()
        self._unready_at: float | None = None
        self._state = HolderState()

    def group_of(self, address: Address) -> Candidates | None:
        """Return the group that the address is elected in."""
        group = self._groups.get(address)
        return None if group is None else group.candidates

    def claimants(self, address: Address) -> Collection[str]:
        """Return the other nodes that are heard to claim an address."""
        return self._claims.claims(address).keys()

    def last_claims(self, address: Address) -> Mapping[str, Claim]:
        """Return what each other node was last heard to claim of an address, the dead included."""
        return self._claims.last_claims(address)

    def outside(self, address: Address) -> tuple[str, ...]:
        """Return the candidates that come after others for want of an interface in the address's subnet."""
        group = self._groups.get(address)
        return () if group is None else group.live.outside

    def take_outside_changed(self) -> bool:
        """Return whether `outside` may be others of any address than at the last call."""
        changed, self._electorate.outside_changed = self._electorate.outside_changed, False
        return changed

    def elect(self, changes: GroupChanges) -> None:
        """Follow what is elected; the next decision looks at what is new."""
        former: dict[Address, ElectedGroup] = {}
        for candidates in changes.removed:
            group = self._groups[candidates.addresses[0]]
            former[candidates.addresses[0]] = group
            self._forget(group)
            for address in candidates.addresses:
                del self._groups[address]
                self._elected.keep(address, kept=False)
                self._gone.add(address)
        for candidates in changes.added:
            before = former.get(candidates.addresses[0])
            group = ElectedGroup(candidates, self._electorate.join(candidates))
            if before is not None:
                group.since, group.named = before.since, before.named
            for address in candidates.addresses:
                self._groups[address] = group
                self._elected.keep(address, kept=True)
                if address in self._gone:
                    self._gone.discard(address)
                else:
                    self._unlooked.add(address)
            self._dirty[group] = None
        for eligible, nodes in changes.eligible.items():
            self._electorate.note_eligible(eligible, nodes)

    def doubt(self) -> None:
        """Have the next decision look at everything."""
        self._dirty.update(dict.fromkeys(self._groups.values()))

    def decide(self, inputs: Inputs, now: float, *, may_go_on: Callable[[], bool] = always) -> HolderState:
        """Hold the elections that may come out otherwise than before, as long as there is time, and return what this
        node announces from now on."""
        self._follow(inputs, now)
        for group in self._electorate.refresh(inputs, may_go_on):
            self._dirty[group] = None
        if self._electorate.unready:
            self._unready_at = now
        outcomes: dict[ElectedGroup, Outcome] = {}
        if not self._electorate.stale:
            outcomes = self._decide_dirty(inputs, now, may_go_on)
        state = self._state = self._sum_up(outcomes, now)
        return state

    def _decide_dirty(self, inputs: Inputs, now: float, may_go_on: Callable[[], bool]) -> dict[ElectedGroup, Outcome]:
        moment = Moment(
            node=self._node,
            now=now,
            inputs=inputs,
            alive=self._electorate.alive,
            claims=self._claims,
            terms=self._terms,
            handover_seconds=self._handover_seconds,
            unready_at=self._unready_at,
        )
        outcomes: dict[ElectedGroup, Outcome] = {}
        while self._dirty and may_go_on():
            group = next(iter(self._dirty))
            del self._dirty[group]
            outcome = outcomes[group] = GroupDecision(group, moment, self._held).outcome()
            self._note(group, outcome)
        return outcomes

    def _follow(self, inputs: Inputs, now: float) -> None:
        """Find out about which groups is to be decided, but for those whose candidates are other ones."""
        before, self._inputs = self._inputs, inputs
        touched, renewed = self._claims.update(inputs.liveness)
        self._heard_of = touched
        self._look(touched, renewed, now)
        for subnet in self._electorate.follow(inputs, renewed):
            within = self._elected.between(subnet.family, subnet.value, subnet.last)
            for group in {self._groups[address]: None for address in within}:
                self._rejoin(group)
        groups = self._groups
        self._dirty.update(dict.fromkeys(groups[address] for address in touched if address in groups))
        self._dirty.update(self._changed)
        for address in before.refused ^ inputs.refused:
            if address in groups:
                self._dirty[groups[address]] = None
        answered = (each for each in self._state.probing if each in inputs.answered and each in groups)
        self._dirty.update(dict.fromkeys(groups[address] for address in answered))
        while self._deadlines and self._deadlines[0][0] <= now:
            at, _, group = heapq.heappop(self._deadlines)
            if group.deadline == at:
                self._dirty[group] = None
        if _surroundings(before) == _surroundings(inputs) and not _hear_others(renewed, before, inputs):
            if self._electorate.stale:
                self._dirty.update(self._unsettled)
            return
        self._dirty.update(self._unsettled)
        if _cut_off(before) != _cut_off(inputs) or before.links != inputs.links:
            self._dirty.update(dict.fromkeys(groups[address] for address in self._held if address in groups))
        if before.by_lease or inputs.by_lease:
            self._dirty.update(dict.fromkeys(groups.values()))
        steady = inputs.liveness.steady
        for live in self._electorate.with_lesser():
            for holder in live.lesser & steady & live.settled.keys():
                self._dirty.update(live.settled[holder])

    def _look(self, touched: Iterable[Address], renewed: Iterable[str], now: float) -> None:
        """Take note of who claimed what until now, for the addresses of which that may be new."""
        claims = self._claims
        for node in renewed:
            state = claims.states.get(node)
            if state is not None and node not in claims.heard and node not in claims.rumoured:
                for address, claim in state.claims.items():
                    if address in self._groups:
                        self._terms.said(address, claim.term, now)
        for address in {*touched, *self._unlooked}:
            if address not in self._groups:
                continue
            terms = [claim.term for claim in claims.claims(address).values()]
            terms += [claim.term for claim in claims.rumours(address).values()]
            held = self._held.get(address)
            if held is not None and held.state in HELD:
                terms.append(held.term)
            self._terms.look(address, terms, now)
        self._unlooked.clear()

    def _note(self, group: ElectedGroup, outcome: Outcome) -> None:
        """Remember what a decision about a group came to."""
        self._unsettle(group)
        group.since, group.named = outcome.since, outcome.named
        if outcome.deadline != group.deadline:
            group.deadline = outcome.deadline
            if outcome.deadline is not None:
                heapq.heappush(self._deadlines, (outcome.deadline, next(self._numbers), group))
        group.live.note_link(group, unlinked=outcome.unlinked)
        group.settled, group.holder = outcome.settled, outcome.holder
        if outcome.settled:
            group.ranking = None
            group.live.settle(group, outcome.holder)
        else:
            self._unsettled[group] = None
        changed = State.YIELDING in outcome.states.values()
        for address, state in outcome.states.items():
            was = self._state.claims.get(address)
            held = outcome.held.get(address)
            if held is None:
                self._held.pop(address, None)
            else:
                self._held[address] = held
            if was != (held.claim if held is not None and held.state in HELD else None):
                self._unlooked.add(address)
                changed = True
            if state is State.WAITING and self._state.states.get(address) in PROBED:
                changed = True
        if changed:
            self._changed[group] = None
        else:
            self._changed.pop(group, None)

    def _unsettle(self, group: ElectedGroup) -> None:
        if group.settled:
            group.live.unsettle(group, group.holder)
            group.settled = False
        self._unsettled.pop(group, None)

    def _forget(self, group: ElectedGroup) -> None:
        self._unsettle(group)
        self._leave(group)
        self._dirty.pop(group, None)
        self._changed.pop(group, None)
        group.deadline = None

    def _rejoin(self, group: ElectedGroup) -> None:
        """Its addresses lie in other subnets than before."""
        self._unsettle(group)
        self._unsettled[group] = None
        self._leave(group)
        group.live = self._electorate.join(group.candidates)
        self._dirty[group] = None

    def _leave(self, group: ElectedGroup) -> None:
        group.live.note_link(group, unlinked=False)
        self._electorate.leave(group.live)

    def _sum_up(self, outcomes: Mapping[ElectedGroup, Outcome], now: float) -> HolderState:
        before = self._state
        gone, self._gone = self._gone, set()
        for address in gone:
            self._held.pop(address, None)
            self._terms.forget(address)
        states = {address: state for each in outcomes.values() for address, state in each.states.items()}
        held = {address: one for each in outcomes.values() for address, one in each.held.items()}
        claims = {address: one.claim for address, one in held.items() if one.state in HELD}
        let_go = {
            address for address in self._inputs.let_go | self._claims.confirmed if _is_held(self._held.get(address))
        }
        touched = states.keys() | gone
        contested = {address: node for each in outcomes.values() for address, node in each.contested.items()}
        helped = {address: one.help for address, one in held.items() if one.help is not None and one.state in HELD}
        named = {address: node for each in outcomes.values() for address, node in each.named.items()}
        probing = frozenset(address for address, one in held.items() if one.state in PROBED)
        unable = {address for each in outcomes.values() if each.unable for address in each.states}
        uncontested = (address for address in before.contested.keys() & touched if address not in contested)
        regained = {each for each in uncontested if each in held and held[each].state is State.HOLDING}
        pending = self._electorate.stale or bool(self._dirty)
        scopes = {address: one.scope for address, one in held.items() if one.state is not State.PROBE_WAIT}
        return HolderState(
            states=_updated(before.states, states, gone),
            scopes=_updated(before.scopes, scopes, touched),
            probing=_replaced_set(before.probing, probing, touched),
            claims=_updated(before.claims, claims, touched),
            help=_replaced(before.help, helped, touched),
            deadline=now if pending else self._next_deadline(),
            contested=_replaced(before.contested, contested, touched),
            regained=frozenset(regained | let_go),
            named=_replaced(before.named, named, touched),
            unable=_replaced_set(before.unable, frozenset(unable), touched),
            touched=touched | let_go | self._heard_of,
            pending=pending,
        )

    def _next_deadline(self) -> float | None:
        while self._deadlines and self._deadlines[0][2].deadline != self._deadlines[0][0]:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None


def _is_held(held: Held | None) -> bool:
    return held is not None and held.state in HELD


def _hear_others(renewed: Iterable[str], before: Inputs, now: Inputs) -> bool:
    """Whether some of these nodes hear others than before."""
    old, new = before.liveness.states, now.liveness.states
    return any(old.get(node, NOTHING).hears != new.get(node, NOTHING).hears for node in renewed)


def _cut_off(inputs: Inputs) -> tuple[object, ...]:
    return inputs.liveness.cut_off_from, inputs.liveness.in_cycle, inputs.liveness.leased


def _surroundings(inputs: Inputs) -> tuple[object, ...]:
    """All of the inputs that concerns every group; what is claimed and answered concerns its own address only."""
    liveness = inputs.liveness
    return (
        liveness.alive,
        liveness.heard,
        liveness.mutual,
        liveness.steady,
        liveness.leaving,
        liveness.arriving,
        liveness.overheard,
        liveness.sides,
        liveness.cut_off_from,
        liveness.in_cycle,
        liveness.leased,
        liveness.silent,
        liveness.informed,
        liveness.booting,
        inputs.links,
        inputs.unforwarding,
        inputs.unreachable,
        inputs.subnets_by_lease,
    )


def _updated(
    before: Mapping[Address, _Value], values: Mapping[Address, _Value], touched: Iterable[Address]
) -> PersistentMap[Address, _Value]:
    """Of the touched addresses those have values that have one now."""
    known = before if isinstance(before, PersistentMap) else PersistentMap(before)
    changed = {address: value for address, value in values.items() if known.get(address) != value}
    return known.updated(changed, without=[each for each in touched if each not in values and each in before])


def _replaced(
    before: Mapping[Address, _Value], values: Mapping[Address, _Value], touched: Set[Address]
) -> Mapping[Address, _Value]:
    """The same for what is always little."""
    if not values and touched.isdisjoint(before):
        return before
    return {**{address: value for address, value in before.items() if address not in touched}, **values}


def _replaced_set(before: frozenset[Address], now: frozenset[Address], touched: Set[Address]) -> frozenset[Address]:
    return (before - touched) | now if now or not touched.isdisjoint(before) else before
