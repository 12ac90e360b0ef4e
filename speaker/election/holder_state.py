"""What this node announces, as of one decision."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from speaker.cluster.scope import Scope
from speaker.election.graceful_restart import Help
from speaker.election.transitions import State
from speaker.membership.link import Link
from speaker.membership.state_sync import AdvertisedState, Claim
from speaker.persistent_map import PersistentMap


@dataclass(frozen=True, slots=True)
class HolderState:
    """What to announce now, with the claims to advertise.

    `states` are those of the transitions. What is `probing` is announced only once nobody turns out to have it, and
    not claimed until then; what of it is in probe wait is not among the `scopes`, and not asked for. `help` are those
    answered for a restarting node. `deadline` is when to decide again though nothing happens. `contested` are those
    claimed by a peer too, `regained` those that no peer claims any more, though one did, known here or not: they are
    announced to the LAN again; `named` are the holders that this node names to others, which may not hear them;
    `unable` those this node would take if it had the interfaces.

    `touched` are the addresses that were decided about, those that are no Service's any more, and those of which
    another node says something new: of all others nothing has changed. `pending` says that there was no time for
    some; they are to be decided about as soon as what is urgent is done.
    """

    states: Mapping[Address, State] = field(default_factory=PersistentMap)
    scopes: Mapping[Address, Scope] = field(default_factory=PersistentMap)
    probing: frozenset[Address] = frozenset()
    claims: Mapping[Address, Claim] = field(default_factory=PersistentMap)
    help: Mapping[Address, Help] = field(default_factory=dict)
    deadline: float | None = None
    contested: Mapping[Address, str] = field(default_factory=dict)
    regained: frozenset[Address] = frozenset()
    named: Mapping[Address, str] = field(default_factory=dict)
    unable: frozenset[Address] = frozenset()
    touched: Set[Address] = frozenset()
    pending: bool = False

    def advertised(self, links: tuple[Link, ...]) -> AdvertisedState:
        """What the other speakers are to know of it, and of this node's interfaces."""
        helped = {address: help.node for address, help in self.help.items()}
        return AdvertisedState(claims=self.claims, probed=self.probing, helped=helped, links=links, named=self.named)


@dataclass(slots=True, kw_only=True)
class Held:
    """An address that is not free: in which state, and since what. `until` is when something ends by itself."""

    state: State
    scope: Scope
    term: int = 0
    help: Help | None = None
    until: float | None = None
    provisional: bool = False
    offered_until: float | None = None
    apart: bool = False

    @property
    def claim(self) -> Claim:
        """What is advertised of it."""
        return Claim(term=self.term, offered=self.offered_until is not None, apart=self.apart)
