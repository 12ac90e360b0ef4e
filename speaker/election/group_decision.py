"""One decision about one group of addresses: the transitions that are due, and what they lead to."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from allocator.core.addresses import Address
from speaker.cluster.scope import Scope
from speaker.election.candidates import Candidate
from speaker.election.case import Case
from speaker.election.elected_group import ElectedGroup
from speaker.election.graceful_restart import help_for
from speaker.election.holder_state import Held
from speaker.election.moment import Moment
from speaker.election.outcome import Outcome
from speaker.election.reach import reach
from speaker.election.standings import Standings
from speaker.election.transitions import FREE, HELD, PROBED, State, next_state
from speaker.membership.membership import STEADY_SECONDS
from speaker.membership.ring import EVERYONE_UP_TO
from speaker.membership.send_schedule import BACKGROUND_PER_SECOND
from speaker.membership.state_sync import Claim

SKEW_SECONDS = 0.2
"""How much later than the candidate before it a node takes an address that nobody claims."""

_TURNS_AHEAD = 8
"""How many candidates before this one are looked for at a time: their turns take so long that one of them has the
address by then, nearly always."""
_PROBE_WAIT_TURNS = 2
"""For how many turns a candidate that is not the first advertises that it is about to ask the LAN, before it does:
the first may have begun, too, and where every processor is busy the two hear of each other late. RFC 5227 waits for a
random time (PROBE_WAIT) instead."""
_LISTEN_TURNS = 6
"""For how many turns a node that hears nobody takes nothing after it has got a link back. Kernels ask for hardware
addresses once a second, and what is asked before the switch passes anything is lost."""
_RETURN_TURNS = 2
"""For how many turns a node that was cut off until now takes nothing: it may hear the holder after others."""
_UNLINKED, _LINKED = "without a link", "with a link again"
_CUT_OFF, _RETURNED = "cut off", "cut off no more"
_NOWHERE = Scope(frozenset())


class GroupDecision:
    """Holds the election of one group at one moment. Used once."""

    def __init__(self, group: ElectedGroup, moment: Moment, before: Mapping[Address, Held]) -> None:
        """`before` are the addresses that this node announces; those of the group are changed."""
        self._group = group
        self._moment = moment
        self._now = moment.now
        self._before = before
        self._ends: list[float] = []
        self._out = Outcome()
        addresses = group.candidates.addresses
        own = {
            address: held.claim
            for address in addresses
            if (held := before.get(address)) is not None and held.state in HELD
        }
        self._standings = self._stand(own)
        self._apart = {
            address: self._stand({each: claim for each, claim in own.items() if each == address}, (address, holder))
            for address, holder in self._standings.left_out()
        }

    def _stand(self, own: Mapping[Address, Claim], apart: tuple[Address, str] | None = None) -> Standings:
        moment = self._moment
        return Standings(
            self._group,
            node=moment.node,
            inputs=moment.inputs,
            alive=moment.alive,
            claims=moment.claims,
            own=own,
            apart=apart,
        )

    def _standings_for(self, address: Address) -> Standings:
        """Those of the group, or of the address alone where the group's holder leaves it out."""
        return self._apart.get(address, self._standings)

    def outcome(self) -> Outcome:
        """Make the transitions that are due, and return what they come to."""
        group, out, standings = self._group, self._out, self._standings
        addresses = group.candidates.addresses
        own = group.live.own
        self._note_link()
        self._note_cut_off()
        may_take = self._may_take(standings)
        for index, address in enumerate(addresses):
            known = self._before.get(address)
            current = Held(state=State.WAITING, scope=_NOWHERE) if known is None else known
            if own is not None:
                current.scope = own.scopes[index]
            turn = may_take if address not in self._apart else self._may_take(self._apart[address], of=f" {address}")
            self._walk(address, current, own, turn or standings.is_helped(address))
            current.apart = current.state in HELD and address in self._apart
            out.states[address] = current.state
            if current.state not in FREE:
                out.held[address] = current
                self._settle_boot(current)
            if current.state not in HELD and (named := self._name(address)) is not None:
                out.named[address] = named
        out.unable = not standings.order and own is not None and standings.is_first_of_those_alive()
        for each in out.held.values():
            ends = (each.until, each.help.until if each.help is not None else None, each.offered_until)
            self._ends += [end for end in ends if end is not None]
        out.deadline = min((end for end in self._ends if end > self._now), default=None)
        self._settle()
        return out

    def _walk(self, address: Address, held: Held, own: Candidate | None, may_take: bool) -> None:
        """Make every transition that is due."""
        self._note_contested(address, held)
        while True:
            case = self._case(address, held, own, may_take)
            if held.state is State.HANDING_OVER and not case.runs:
                held.help = None
            to = next_state(held.state, case)
            if to is held.state:
                return
            self._enter(address, held, to, case)
            if to in FREE:
                return
            self._note_contested(address, held)

    def _note_contested(self, address: Address, held: Held) -> None:
        if held.state in HELD and held.state is not State.HANDING_OVER:
            helping = held.help.node if held.help is not None else None
            others = (node for node in self._claimants(address) if node != helping)
            if (other := next(others, None)) is not None:
                self._out.contested[address] = other

    def _claimants(self, address: Address) -> Collection[str]:
        """Who is heard to claim it, or heard of."""
        return self._standings.heard[address].keys() | self._standings.named.get(address, frozenset())

    def _name(self, address: Address) -> str | None:
        """Return whom this node names as the holder: others claim the address, or ask for it, and do not hear that.

        Once they had the time to hear each other, which where not all are neighbours takes rounds of heartbeats; from
        then on, for as long as that one claims it unheard by others.
        """
        standings, reason = self._standings_for(address), f"contested {address}"
        known = self._group.named.get(address)
        holder = standings.to_name(address)
        if holder is not None:
            since = self._out.since[reason] = self._group.since.get(reason, self._now)
            at = since + SKEW_SECONDS
            if len(self._moment.alive) > EVERYONE_UP_TO + 1:
                at += 2 * len(self._moment.alive) / BACKGROUND_PER_SECOND
            self._ends.append(at)
            if self._now >= at:
                return holder
        return known if known in standings.heard[address] and standings.is_unheard_of(known) else None

    def _case(self, address: Address, held: Held, own: Candidate | None, may_take: bool) -> Case:
        standings, inputs, liveness = self._standings_for(address), self._moment.inputs, self._moment.inputs.liveness
        claimed = held.state in HELD
        help_ = held.help
        if not claimed and own is not None and may_take:
            help_ = help_for(address, liveness.states, liveness.leaving, inputs.links, now=self._now)
            if help_ is not None and help_.node not in standings.eligible:
                help_ = None
        preceding: frozenset[str] = frozenset()
        if claimed:
            preceding = standings.preceding(address, held.claim, helping=help_.node if help_ is not None else None)
        # Since this node's turn came, the address may have got a holder that is not heard.
        hidden = held.state in PROBED and standings.is_hidden
        return Case(
            able=reach(address, held.scope, inputs.links).possible and address not in inputs.refused,
            isolated=standings.isolated,
            claimants=self._claimants(address),
            preceding=preceding,
            first_prober=not standings.probed_by_a_better(address),
            is_answered=address in inputs.answered,
            chosen=(standings.chosen and not hidden) or standings.is_helped(address),
            may_take=may_take,
            beaten=not claimed and may_take and (standings.beaten or standings.turns_before > 0),
            vouched=self._moment.terms.vouches_for(address, self._now),
            help=help_,
            runs=help_ is not None and self._now < help_.until and help_.node not in inputs.unforwarding,
            is_over=held.until is not None and self._now >= held.until,
        )

    def _enter(self, address: Address, held: Held, to: State, case: Case) -> None:
        standings, liveness = self._standings, self._moment.inputs.liveness
        was, held.state, held.until = held.state, to, None
        if to is State.HANDING_OVER:
            held.until = self._now + self._moment.handover_seconds
        elif to is State.HELPING:
            held.help = case.help
            held.term = case.help.term if case.help is not None else 0
        elif to not in FREE:
            if to is State.PROBE_WAIT:
                held.until = self._now + _PROBE_WAIT_TURNS * SKEW_SECONDS
            if was in FREE or was is State.PROBING:
                fresh = liveness.booting and not self._moment.terms.had_holder(address)
                held.provisional = held.provisional or (fresh and standings.misses_a_better())
                held.term = self._term(address)
            held.help = None
        elif to is State.WAITING and was in PROBED:
            # What ended it may leave the turn with this node, and no event need follow.
            self._ends.append(self._now + SKEW_SECONDS)

    def _term(self, address: Address) -> int:
        """That of the claim made in this node's place, if there is one: it goes on; else the next."""
        for node, claim in self._standings.heard[address].items():
            if self._standings.helps(node, address):
                return claim.term
        return self._moment.terms.next_term(address, informed=self._moment.inputs.liveness.informed)

    def _may_take(self, standings: Standings, *, of: str = "") -> bool:
        """Whether it is this node's turn to take what nobody, or a lesser holder, has; `of` says of which address,
        where it is of one alone."""
        if standings.me is None or standings.rumoured or standings.unknown:
            return False
        if self._moment.inputs.by_lease:
            return not standings.beaten
        if standings.holder == self._moment.node:
            return True
        if standings.holder is None:
            if standings.probed or standings.left_to_who_hears_all or self._listens() or self._returns():
                return False
            return self._has_waited(standings, "vacant" + of)
        return (
            standings.outdoes_holder
            and self._is_steady(standings)
            and self._has_waited(standings, "lesser holder" + of)
        )

    def _note_link(self) -> None:
        """Remember since when this node has a link for the addresses again, if it had none while it heard nobody."""
        own, group, out = self._group.live.own, self._group, self._out
        if own is None:
            return
        links = self._moment.inputs.links
        reaches = [reach(*each, links) for each in zip(group.candidates.addresses, own.scopes, strict=True)]
        if any(each.lost or not each.possible for each in reaches):
            out.since[_UNLINKED] = group.since.get(_UNLINKED, self._now)
            out.unlinked = True
        elif _UNLINKED in group.since and self._moment.inputs.liveness.alone:
            out.since[_LINKED] = self._now
        elif _LINKED in group.since:
            out.since[_LINKED] = group.since[_LINKED]

    def _listens(self) -> bool:
        """Whether this node hears nobody, maybe because it had no link until now: others may have all that it had."""
        linked_at = self._out.since.get(_LINKED)
        if linked_at is None or not self._moment.inputs.liveness.alone:
            return False
        at = linked_at + _LISTEN_TURNS * SKEW_SECONDS
        if self._now >= at:
            return False
        self._ends.append(at)
        return True

    def _note_cut_off(self) -> None:
        """Remember since when this node is not cut off any more."""
        if self._standings.isolated:
            self._out.since[_CUT_OFF] = self._now
        elif _CUT_OFF in self._group.since:
            self._out.since[_RETURNED] = self._now
        elif _RETURNED in self._group.since:
            self._out.since[_RETURNED] = self._group.since[_RETURNED]

    def _returns(self) -> bool:
        """Whether this node was cut off until just now: others may have all that seems vacant to it."""
        at = self._out.since.get(_RETURNED, -math.inf) + _RETURN_TURNS * SKEW_SECONDS
        if self._now >= at:
            return False
        self._ends.append(at)
        return True

    def _has_waited(self, standings: Standings, reason: str) -> bool:
        """Whether every candidate before this node has had its turn, and would be known to have taken it."""
        since = self._out.since[reason] = self._group.since.get(reason, self._now)
        most = int((self._now - since) / SKEW_SECONDS) + _TURNS_AHEAD
        better = standings.better(at_most=most)
        at = since + SKEW_SECONDS * (len(better) + standings.turns_before)
        # Where there may be more than those, this is only when to see how many more.
        if len(better) == most or self._moment.inputs.liveness.heard.issuperset(better):
            self._ends.append(at)
        return len(better) < most and self._moment.inputs.liveness.heard.issuperset(better) and self._now >= at

    def _is_steady(self, standings: Standings) -> bool:
        """Whether this node may take an address for being preferred: it is heard, and Ready, for long enough."""
        moment = self._moment
        holder = standings.holder
        if holder is None or standings.gives_way_at_once(holder):
            return True
        ready_at = 0.0 if moment.unready_at is None else moment.unready_at + STEADY_SECONDS
        # While it is not Ready there is no time to wait for: it is looked at again once it is.
        if moment.unready_at != self._now:
            self._ends.append(ready_at)
        return holder in moment.inputs.liveness.steady and self._now >= ready_at

    def _settle_boot(self, held: Held) -> None:
        """End what was provisional while the cluster booted: offer it once to whoever comes first."""
        if held.offered_until is not None and self._now >= held.offered_until:
            held.offered_until = None
        if not held.provisional or held.state is not State.HOLDING:
            return
        if self._moment.inputs.liveness.booting:
            if self._standings.misses_a_better():
                return
            # All are to know of each other before one of them takes it.
            since = self._out.since["complete"] = self._group.since.get("complete", self._now)
            self._ends.append(since + SKEW_SECONDS)
            if self._now < since + SKEW_SECONDS:
                return
        held.provisional = False
        if self._standings.beaten:
            held.offered_until = self._now + self._moment.handover_seconds

    def _settle(self) -> None:
        """Return whether nothing is left to decide until its claims, its holder's merit or this node's change."""
        out, standings, claims = self._out, self._standings, self._moment.claims
        inputs = self._moment.inputs
        if inputs.by_lease or standings.rumoured or standings.probed or not inputs.refused.isdisjoint(out.states):
            return
        if out.named or inputs.liveness.in_cycle:
            return
        states = set(out.states.values())
        claimants = {node for by_node in standings.heard.values() for node in by_node}
        if states == {State.HOLDING}:
            out.holder = self._moment.node
            out.settled = not claimants and not any(
                held.help or held.provisional or held.offered_until is not None for held in out.held.values()
            )
        elif states == {State.WAITING} and not claimants:
            out.settled = not standings.order
        elif states == {State.WAITING} and len(claimants) == 1:
            out.holder = holder = next(iter(claimants))
            helped = claims.states[holder].helped
            out.settled = (
                holder in standings.order
                and all(holder in by_node and not by_node[holder].offered for by_node in standings.heard.values())
                and not (helped and any(address in helped for address in standings.heard))
                and not (standings.outdoes_holder and self._is_steady(standings))
            )
