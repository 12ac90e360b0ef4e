"""What the heartbeats report: who can announce now, and what each says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from speaker.membership.state_sync import AdvertisedState


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """The speakers on this node's side that can announce now, this one included once it serves.

    `heard` are those of the `alive` that are heard directly, their present state known, `mutual` those of them that
    hear this node; the `steady` have been on
    this side for so long that a preferred one gets its addresses back. `states` are what each peer was last heard to
    advertise, the dead ones included. The `leaving` said so last. `sides` is how many nodes count on each node's
    side, as it says.

    Of the `arriving`, who have just come to this side, or are heard directly only since just now, it is not known yet
    what they claim: nothing is taken that they may hold. Nor is what the `overheard` claim, who are heard and do not
    hear this node, on a side no smaller.

    A node that is cut off knows of others that serve and do not hear it: `cut_off_from` are those, because they are
    heard themselves, or by one that is, or because this node hears nobody (it is `alone`) and their Leases say that
    they hear each other. Where heartbeats that pass one way lead from one to the next and back to this node, each
    would be cut off: those are `in_cycle` with it, and the first that can serve is not. `silent` are those that, like
    this one, hear nobody, by their Leases; they count for what nobody that this node is cut off from can serve. They
    reckon with a node that is `leased`, as it does with them: one that is not cut off, or is so by what the Leases
    say to all. `cut_off_links` are this node's interfaces on whose LANs others hear each other and not this node.

    `informed` says that every peer has been heard since this process began, `booting` that no speaker on this side
    has run for long. `shaken` says that others may have announced in our place meanwhile, `let_go` which addresses
    others have ceased to claim since the report before, `fenced` that nothing may be answered until a report without
    it.
    """

    alive: frozenset[str] = frozenset()
    heard: frozenset[str] = frozenset()
    mutual: frozenset[str] = frozenset()
    steady: frozenset[str] = frozenset()
    leaving: frozenset[str] = frozenset()
    arriving: frozenset[str] = frozenset()
    overheard: frozenset[str] = frozenset()
    states: Mapping[str, AdvertisedState] = field(default_factory=dict)
    sides: Mapping[str, int] = field(default_factory=dict)
    cut_off_from: frozenset[str] = frozenset()
    in_cycle: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    cut_off_links: frozenset[str] = frozenset()
    alone: bool = False
    leased: bool = True
    informed: bool = True
    booting: bool = False
    shaken: bool = False
    let_go: frozenset[Address] = frozenset()
    fenced: bool = False
