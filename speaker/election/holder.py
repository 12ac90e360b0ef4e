"""What this node announces from one election to the next: taking, keeping, and giving away without a gap."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from speaker.cluster.scope import Scope
from speaker.election.candidates import Contest, Place
from speaker.election.claim_term import PROVISIONAL, Lineage
from speaker.election.election import Contender, elect
from speaker.election.graceful_restart import Loan, borrowed
from speaker.election.unresponsive_winner import Neglect
from speaker.membership.state_sync import NOTHING, Link, Statement

HANDOVER_SECONDS = 2.0
"""How long an address is kept for a successor that does not take it: it may see changes a little later."""

UNHEARD_HANDOVER_SECONDS = 0.5
"""The same for a successor that cannot be heard to take it."""

SETTLING_SECONDS = 60.0
"""How long after a speaker began to serve it gives what it took for want of a better node back to that node: when a
whole cluster starts, the first speaker up would otherwise keep everything for ever."""

LOST_LINK_HANDICAP = 2
"""More than not being Ready: what the node would answer, the clients may not hear."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the other speakers and this node's interfaces are like at one moment.

    `statements` are what each peer was last heard to say, the dead ones included. What the `unheard` of `alive`
    announce, who live by their Lease alone, is not known. `links` are this node's own, `answered` the addresses it
    answers for. The `leaving` have said good-bye last; the `doubtful` nodes may not go on forwarding without their
    speaker. Of the `suspects` of the last decision, those `heard` have just said what they announce.
    """

    alive: Collection[str]
    unheard: Collection[str] = frozenset()
    statements: Mapping[str, Statement] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    answered: Collection[Address] = frozenset()
    leaving: Collection[str] = frozenset()
    doubtful: Collection[str] = frozenset()
    heard: Collection[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tenancy:
    """What to announce now, with the claims to tell the others.

    `unheld` of it none of ours announced until now, and this node does not answer for it yet: the LAN is to be asked,
    and may have been answered that another host has it. It is not claimed, so whoever takes it next asks as well.
    `loans` are those answered for a speaker that is away, whose claim they return to when it is back. `deadline` is
    when to decide again though nothing happens; `leaving` are the addresses kept for a successor,
    `contested` those a peer announces too, `unreachable` those this node would win if it had the interfaces. The
    `suspects` are peers that have won something and do not take it.
    """

    scopes: Mapping[Address, Scope] = field(default_factory=dict)
    unheld: frozenset[Address] = frozenset()
    claims: Mapping[Address, int] = field(default_factory=dict)
    loans: Mapping[Address, Loan] = field(default_factory=dict)
    deadline: float | None = None
    leaving: frozenset[Address] = frozenset()
    contested: Mapping[Address, str] = field(default_factory=dict)
    unreachable: frozenset[Address] = frozenset()
    suspects: frozenset[str] = frozenset()

    def statement(self, links: tuple[Link, ...]) -> Statement:
        """What the other speakers are to know of it, and of this node's interfaces."""
        lenders = {address: loan.lender for address, loan in self.loans.items()}
        return Statement(claims=self.claims, asked=self.unheld, lenders=lenders, links=links)


class Tenure:
    """Decides what one node announces. Pure but for its memory; every method takes the time. Owned by one thread.

    An address that another node wins is kept until that node is heard to announce it, so that no question goes
    unanswered, or until `handover_seconds` are over; it is let go at once where the Service no longer wants it, where
    this node cannot serve it any more, or did not answer for it yet.
    """

    def __init__(self, node: str, *, handover_seconds: float = HANDOVER_SECONDS) -> None:
        self._node = node
        self._patience = handover_seconds
        self._held = Tenancy()
        self._deadlines: dict[Address, float] = {}
        self._lineage = Lineage()
        self._neglect = Neglect()
        self._settled_at: float | None = None

    def decide(self, contests: Sequence[Contest], around: Surroundings, now: float) -> Tenancy:
        """Hold every contest anew and return what this node announces from now on."""
        claims = _claims_of_the_heard(around)
        there_are = [address for contest in contests for address in contest.addresses]
        self._lineage.look(there_are, claims.keys() | self._held.claims.keys(), around.statements, now)
        self._neglect.begin()
        if self._settled_at is None and self._node in around.alive:
            self._settled_at = now + SETTLING_SECONDS
        scopes: dict[Address, Scope] = {}
        deadlines: dict[Address, float] = {}
        loans: dict[Address, Loan] = {}
        contested: dict[Address, str] = {}
        unreachable: set[Address] = set()
        for contest in contests:
            winner = self._winner(contest, around, claims, now)
            own = contest.places.get(self._node)
            for address in contest.addresses:
                rivals = claims.get(address, {})
                if winner is not None and winner.node == self._node and own is not None:
                    scopes[address] = own.scopes[address]
                    loan = self._loan(address, around, now)
                    if loan is not None and loan.lender in contest.places:
                        loans[address] = loan
                elif address in self._held.claims and self._still_served(address, around.links):
                    unheard = winner is not None and winner.node in around.unheard
                    patience = UNHEARD_HANDOVER_SECONDS if unheard else self._patience
                    deadline = self._keep_until(address, winner, rivals, now=now, patience=patience)
                    if deadline is not None:
                        scopes[address] = self._held.scopes[address]
                        deadlines[address] = deadline
                        if (loan := self._held.loans.get(address)) is not None and _runs(loan, around, now):
                            loans[address] = loan
                if address in self._held.claims and address not in self._deadlines:
                    loan = self._held.loans.get(address)
                    others = [node for node in rivals if loan is None or node != loan.lender]
                    if others:
                        contested[address] = others[0]
            if winner is None and own is not None and self._node in around.alive:
                first = next(node for node in contest.places if node in around.alive)
                unreachable |= set(contest.addresses) if first == self._node else set()
        self._deadlines = deadlines
        unheld = frozenset(address for address in scopes if self._is_unheld(address, around, now))
        early = self._early(contests, around, now)
        open_claims = self._held.unheld | {
            address for address in scopes if set(claims.get(address, {}).values()) == {PROVISIONAL}
        }
        terms = self._terms(scopes.keys() - unheld, early=early & open_claims, kept=deadlines.keys() | early)
        ends = [*deadlines.values(), *(loan.until for loan in loans.values()), *self._neglect.deadlines(now)]
        if PROVISIONAL in terms.values() and self._settled_at is not None and now < self._settled_at:
            ends.append(self._settled_at)
        self._held = Tenancy(
            scopes=scopes,
            unheld=unheld,
            claims=terms,
            loans=loans,
            deadline=min(ends, default=None),
            leaving=frozenset(deadlines),
            contested=contested,
            unreachable=frozenset(unreachable),
            suspects=self._neglect.suspects(),
        )
        return self._held

    def _is_unheld(self, address: Address, around: Surroundings, now: float) -> bool:
        if address in around.answered or address in self._held.claims:
            return False
        return address in self._held.unheld or not self._lineage.vouches_for(address, now)

    def _terms(
        self, addresses: Collection[Address], *, early: Collection[Address], kept: Collection[Address]
    ) -> dict[Address, int]:
        """The claims to make: provisional ones on what is taken `early`, which stay so while among the `kept`."""
        terms: dict[Address, int] = {}
        fresh = 0
        for address in addresses:
            term = self._held.claims.get(address)
            if term is None and address in early:
                term = PROVISIONAL
            elif term is None or (term == PROVISIONAL and address not in kept):
                term = fresh = fresh or self._lineage.next_term()
            terms[address] = term
        return terms

    def _early(self, contests: Iterable[Contest], around: Surroundings, now: float) -> frozenset[Address]:
        """What this node may have for no other reason than that it began to serve before a better one."""
        if self._settled_at is None or now >= self._settled_at:
            return frozenset()
        awaited = (contest for contest in contests if _misses_a_better(contest, self._node, around.alive))
        return frozenset(address for contest in awaited for address in contest.addresses)

    def _loan(self, address: Address, around: Surroundings, now: float) -> Loan | None:
        """On what loan to hold an address that this node wins: made on taking the address, and once over, over."""
        loan = self._held.loans.get(address)
        if address not in self._held.scopes and self._lineage.vouches_for(address, now):
            loan = borrowed(address, around.statements, around.leaving, now=now)
        return loan if loan is not None and _runs(loan, around, now) else None

    def _still_served(self, address: Address, links: Iterable[Link]) -> bool:
        scope = self._held.scopes.get(address)
        return scope is not None and any(scope.includes(link.name) for link in links if not link.lost)

    def _winner(
        self, contest: Contest, around: Surroundings, claims: Mapping[Address, Mapping[str, int]], now: float
    ) -> Contender | None:
        """Elect among those that take what they win; who is only believed to live by its Lease is not heard to."""
        contenders = self._contenders(contest, around, claims)
        while (winner := elect(contenders)) is not None:
            if winner.node == self._node or winner.node in around.unheard:
                break
            if not self._neglect.is_due(
                contest.addresses, winner.node, statements=around.statements, heard=around.heard, now=now
            ):
                break
            contenders.remove(winner)
        return winner

    def _contenders(
        self, contest: Contest, around: Surroundings, claims: Mapping[Address, Mapping[str, int]]
    ) -> list[Contender]:
        found = []
        # Whoever is not heard does not hear us either: neither can go by the other's claims.
        silent = any(node in contest.places for node in around.unheard)
        for node, place in contest.places.items():
            if node not in around.alive:
                continue
            own = node == self._node
            lost = 0
            if own or node not in around.unheard:
                links = around.links if own else around.statements.get(node, NOTHING).links
                if not _can(place, links):
                    continue
                lost = LOST_LINK_HANDICAP if _impaired(place, links) else 0
            terms = [
                self._held.claims.get(address, 0) if own else claims.get(address, {}).get(node, 0)
                for address in contest.addresses
            ]
            # Who stands in for a node that is back has its claim no longer.
            terms += [term + 1 for term in self._lent_by(node, contest, around, claims)]
            found.append(
                Contender(
                    node=node,
                    handicap=place.handicap + lost,
                    weight=place.weight,
                    term=0 if silent or max(terms) <= PROVISIONAL else max(terms),
                )
            )
        return found

    def _lent_by(
        self, node: str, contest: Contest, around: Surroundings, claims: Mapping[Address, Mapping[str, int]]
    ) -> Iterator[int]:
        for address in contest.addresses:
            own = self._held.loans.get(address)
            if own is not None and own.lender == node:
                yield self._held.claims[address]
            for holder, term in claims.get(address, {}).items():
                if around.statements[holder].lenders.get(address) == node:
                    yield term

    def _keep_until(
        self, address: Address, winner: Contender | None, rivals: Mapping[str, int], *, now: float, patience: float
    ) -> float | None:
        """Until when to keep an address that this node does not win; None to let go now."""
        if winner is not None and winner.node in rivals:
            return None
        deadline = self._deadlines.get(address, now + patience)
        return deadline if now < deadline else None


def _claims_of_the_heard(around: Surroundings) -> dict[Address, dict[str, int]]:
    claims: dict[Address, dict[str, int]] = {}
    for node, statement in around.statements.items():
        if node in around.alive and node not in around.unheard:
            for address, term in statement.claims.items():
                claims.setdefault(address, {})[node] = term
    return claims


def _runs(loan: Loan, around: Surroundings, now: float) -> bool:
    return now < loan.until and loan.lender not in around.doubtful


def _can(place: Place, links: Iterable[Link]) -> bool:
    """Tell whether every address can be announced on some interface."""
    there = [link.name for link in links if not link.lost]
    return all(any(map(scope.includes, there)) for scope in place.scopes.values())


def _impaired(place: Place, links: Iterable[Link]) -> bool:
    lost = [link.name for link in links if link.lost]
    return any(scope.includes(name) for scope in place.scopes.values() for name in lost)


def _misses_a_better(contest: Contest, node: str, alive: Collection[str]) -> bool:
    """Tell whether a node that would come before this one, were its speaker there, is not."""
    standings = {other: (place.handicap, -place.weight) for other, place in contest.places.items()}
    ranked = sorted(contest.places, key=standings.__getitem__)
    return node in contest.places and any(other not in alive for other in ranked[: ranked.index(node)])
