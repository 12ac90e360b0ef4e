"""What a decision can say: placements, refusals, and the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from allocator.core.addresses import Address
from allocator.core.claims import Claim


class RefusalKind(StrEnum):
    """Why a request is not met."""

    MALFORMED = "malformed"
    POOL_CLOSED = "pool-closed"
    QUOTA = "quota"
    HELD = "held"
    UNKNOWN_POOL = "unknown-pool"
    NOT_IN_POOL = "not-in-pool"
    NO_POOL = "no-pool"
    EXHAUSTED = "exhausted"

    @property
    def code(self) -> int:
        """The HTTP code of a denial for this reason."""
        return _CODES[self]

    @property
    def heals(self) -> bool:
        """Whether a later change elsewhere can meet the request: then, outside `strict`, the Service is admitted
        and waits."""
        return self not in (RefusalKind.MALFORMED, RefusalKind.POOL_CLOSED, RefusalKind.QUOTA)

    @property
    def asks_pools(self) -> bool:
        """Whether the reason lies with the pools, so that each can say why it did not serve."""
        return self not in (RefusalKind.MALFORMED, RefusalKind.QUOTA)


_CODES = {
    RefusalKind.MALFORMED: 422,
    RefusalKind.POOL_CLOSED: 403,
    RefusalKind.QUOTA: 403,
    RefusalKind.HELD: 409,
    RefusalKind.UNKNOWN_POOL: 422,
    RefusalKind.NOT_IN_POOL: 422,
    RefusalKind.NO_POOL: 422,
    RefusalKind.EXHAUSTED: 409,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One request that cannot be met now: one line saying what was asked, why not, and what would make it work."""

    kind: RefusalKind
    message: str


class How(StrEnum):
    """How an address comes to a Service, which is also what must be written for it."""

    KEPT = "kept"
    FREE = "free"
    COOLING = "cooling"
    CONFLICTED = "conflicted"
    """Another host answers for it, and the Service asks for that very address, or shows it."""
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Placement:
    """One address for the Service; `claim` is the claim on it now, None without one."""

    address: Address
    pool: str
    how: How
    claim: Claim | None = None
    reassign: bool = False
    """Whether the pool moves its Services away from what is taken out of it (shrinkPolicy Reassign)."""

    @property
    def given_from(self) -> str:
        """The pool the address was given from; `pool` but for one whose address another pool contains now."""
        if self.claim is None or not self.claim.in_use:
            return self.pool
        return self.claim.original_pool or self.claim.pool


class NoteKind(StrEnum):
    """What a note is about."""

    FAMILY_MISSING = "family-missing"
    """PreferDualStack comes to one address: the Service waits for the second."""
    NOT_SHARED = "not-shared"
    """It carries a sharing key and shares an address with nobody, or not both."""
    OTHER_NAMESPACE = "other-namespace"
    """It shares with a Service of another namespace, which nobody has allowed or forbidden."""
    CONFLICTED = "conflicted"
    """The address that it asks for is answered for by another host."""
    DEFERRED = "deferred"
    """Nothing is reserved at admission: the reconciler assigns once the Service is stored."""


@dataclass(frozen=True, slots=True)
class Note:
    """One line of what the author of a Service should know though the request is met."""

    kind: NoteKind
    message: str


class Outcome(StrEnum):
    """What becomes of the Service."""

    ASSIGNED = "Assigned"
    PENDING = "Pending"
    DENIED = "Denied"


@dataclass(frozen=True, slots=True)
class Decision:
    """`placements` in the order status shall list them; `refusal` is set unless all of the request is met.

    An assigned Service may carry a refusal too: what it holds stays, and the refusal says what is still wanted.
    """

    outcome: Outcome
    placements: tuple[Placement, ...] = ()
    refusal: Refusal | None = None
    lost_share: Refusal | None = None
    """Set when the Service can no longer share an address with older holders and gives it up to them."""
    displaced: Refusal | None = None
    """Set when younger holders can no longer share an address with the Service and give it up."""
    notes: tuple[Note, ...] = ()
    """What the author should know of the placements."""
    considered: tuple[tuple[str, str], ...] = ()
    """With a refusal: the pools in the order of trial, and why each did not serve."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What admission warns of, one line each; a denial is an error and no warning."""
        unmet = self.refusal if self.outcome is not Outcome.DENIED else None
        refusals = (self.lost_share, self.displaced, unmet)
        return tuple(said.message for said in (*refusals, *self.notes) if said is not None)

    @property
    def is_complete(self) -> bool:
        """Whether the Service has all that it asks for or prefers: no change elsewhere can give it more."""
        short = any(note.kind is NoteKind.FAMILY_MISSING for note in self.notes)
        return self.refusal is None and bool(self.placements) and not short

    @property
    def pools(self) -> str:
        """The pools that serve, comma-joined in the order of the addresses."""
        return ",".join(dict.fromkeys(placement.pool for placement in self.placements))

    @property
    def original_pools(self) -> str:
        """The pools each address was given from, comma-joined; empty where those are the pools that serve."""
        original = [placement.given_from for placement in self.placements]
        moved = original != [placement.pool for placement in self.placements]
        return ",".join(original) if moved else ""
