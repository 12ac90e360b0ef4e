"""What this node announces from one election to the next: taking, keeping, and giving away without a gap."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from speaker.contest import Contest, Place
from speaker.election import Contender, elect
from speaker.loans import Loan, borrowed
from speaker.scope import Scope
from speaker.statement import NOTHING, Link, Statement

HANDOVER_SECONDS = 2.0
"""How long an address is kept for a successor that does not take it: it may see changes a little later."""

UNHEARD_HANDOVER_SECONDS = 0.5
"""The same for a successor that cannot be heard to take it."""

LOST_LINK_HANDICAP = 2
"""More than not being Ready: what the node would answer, the clients may not hear."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the other speakers and this node's interfaces are like at one moment.

    `statements` are what each peer was last heard to say, the dead ones included. What the `unheard` of `alive`
    announce, who live by their Lease alone, is not known. `links` are this node's own. The `leaving` have said
    good-bye last; the `doubtful` nodes may not go on forwarding without their speaker.
    """

    alive: Collection[str]
    unheard: Collection[str] = frozenset()
    statements: Mapping[str, Statement] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    leaving: Collection[str] = frozenset()
    doubtful: Collection[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tenancy:
    """What to announce now, with the claims to tell the others; `unheld` of it nobody was ever heard to announce.

    `loans` are those answered for a speaker that is away, whose claim they return to when it is back. `deadline` is
    when to decide again though nothing happens; `leaving` are the addresses kept for a successor,
    `contested` those a peer announces too, `unreachable` those this node would win if it had the interfaces.
    """

    scopes: Mapping[Address, Scope] = field(default_factory=dict)
    unheld: frozenset[Address] = frozenset()
    claims: Mapping[Address, int] = field(default_factory=dict)
    loans: Mapping[Address, Loan] = field(default_factory=dict)
    deadline: float | None = None
    leaving: frozenset[Address] = frozenset()
    contested: Mapping[Address, str] = field(default_factory=dict)
    unreachable: frozenset[Address] = frozenset()


class Tenure:
    """Decides what one node announces. Pure but for its memory; every method takes the time. Owned by one thread.

    An address that another node wins is kept until that node is heard to announce it, so that no question goes
    unanswered, or until `handover_seconds` are over; it is let go at once where the Service no longer wants it or
    this node cannot serve it any more.
    """

    def __init__(self, node: str, *, handover_seconds: float = HANDOVER_SECONDS) -> None:
        self._node = node
        self._patience = handover_seconds
        self._held = Tenancy()
        self._deadlines: dict[Address, float] = {}
        self._highest: dict[Address, int] = {}

    def decide(self, contests: Iterable[Contest], around: Surroundings, now: float) -> Tenancy:
        """Hold every contest anew and return what this node announces from now on."""
        claims = self._claims(around)
        scopes: dict[Address, Scope] = {}
        deadlines: dict[Address, float] = {}
        loans: dict[Address, Loan] = {}
        contested: dict[Address, str] = {}
        unreachable: set[Address] = set()
        for contest in contests:
            winner = elect(self._contenders(contest, around, claims))
            own = contest.places.get(self._node)
            for address in contest.addresses:
                rivals = claims.get(address, {})
                if winner is not None and winner.node == self._node and own is not None:
                    scopes[address] = own.scopes[address]
                    loan = self._loan(address, around, now)
                    if loan is not None and loan.lender in contest.places:
                        loans[address] = loan
                elif self._still_served(address, around.links):
                    unheard = winner is not None and winner.node in around.unheard
                    patience = UNHEARD_HANDOVER_SECONDS if unheard else self._patience
                    deadline = self._keep_until(address, winner, rivals, now=now, patience=patience)
                    if deadline is not None:
                        scopes[address] = self._held.scopes[address]
                        deadlines[address] = deadline
                        if address in self._held.loans:
                            loans[address] = self._held.loans[address]
                if address in self._held.scopes and address not in self._deadlines:
                    loan = self._held.loans.get(address)
                    others = [node for node in rivals if loan is None or node != loan.lender]
                    if others:
                        contested[address] = others[0]
            if winner is None and own is not None and self._node in around.alive:
                first = next(node for node in contest.places if node in around.alive)
                unreachable |= set(contest.addresses) if first == self._node else set()
        self._deadlines = deadlines
        new = scopes.keys() - self._held.scopes.keys()
        self._held = Tenancy(
            scopes=scopes,
            unheld=frozenset(address for address in new if address not in self._highest),
            claims={address: self._term(address) for address in scopes},
            loans=loans,
            deadline=min([*deadlines.values(), *(loan.until for loan in loans.values())], default=None),
            leaving=frozenset(deadlines),
            contested=contested,
            unreachable=frozenset(unreachable),
        )
        return self._held

    def _loan(self, address: Address, around: Surroundings, now: float) -> Loan | None:
        """On what loan to hold an address that this node wins: made on taking the address, and once over, over."""
        loan = self._held.loans.get(address)
        if address not in self._held.scopes:
            loan = borrowed(address, around.statements, around.leaving, now=now)
        return loan if loan is not None and now < loan.until and loan.lender not in around.doubtful else None

    def _still_served(self, address: Address, links: Iterable[Link]) -> bool:
        scope = self._held.scopes.get(address)
        return scope is not None and any(scope.includes(link.name) for link in links if not link.lost)

    def _claims(self, around: Surroundings) -> dict[Address, dict[str, int]]:
        claims: dict[Address, dict[str, int]] = {}
        for node, statement in around.statements.items():
            present = node in around.alive and node not in around.unheard
            for address, term in statement.claims.items():
                if present:
                    claims.setdefault(address, {})[node] = term
                if term > self._highest.get(address, 0):
                    self._highest[address] = term
        return claims

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
                    term=0 if silent else max(terms),
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

    def _term(self, address: Address) -> int:
        own = self._held.claims.get(address)
        if own is None:
            own = self._highest.get(address, 0) + 1
            self._highest[address] = own
        return own


def _can(place: Place, links: Iterable[Link]) -> bool:
    """Tell whether every address can be announced on some interface."""
    there = [link.name for link in links if not link.lost]
    return all(any(map(scope.includes, there)) for scope in place.scopes.values())


def _impaired(place: Place, links: Iterable[Link]) -> bool:
    lost = [link.name for link in links if link.lost]
    return any(scope.includes(name) for scope in place.scopes.values() for name in lost)
