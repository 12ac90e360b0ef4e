"""Notes: what the author of a Service should know of an assignment that was made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from allocator.core.claims import Claim
from allocator.core.pools import Pool, owning_pool
from allocator.core.reasons import Reasons
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.sharing import obstacle, place_among
from allocator.core.verdicts import How, Note, NoteKind, Placement


@dataclass(frozen=True, slots=True)
class Notes:
    """Says what of an assignment is not as the author of the request may think; each note is one line."""

    reasons: Reasons

    def on(self, placements: Sequence[Placement], *, complete: bool) -> list[Note]:
        """Return the notes on what is placed; `complete` is set where no refusal says what is missing."""
        request = self.reasons.request
        found: list[Note] = []
        if complete and request.policy is FamilyPolicy.PREFER_DUAL:
            found += self._missing_family(placements)
        for place in placements:
            if place.claim is not None and place.claim.in_use:
                found += self._sharers_without_consent(place, place.claim)
            elif place.how is How.CONFLICTED and place.claim is not None:
                found.append(self._foreign_host(place.claim))
        if request.sharing_key and not request.pins:
            found += self._unshared(placements)
        return found

    def _missing_family(self, placements: Sequence[Placement]) -> Iterator[Note]:
        """PreferDualStack that comes to one address is served, and yet not what its author had in mind."""
        request = self.reasons.request
        families = [place.address.family for place in placements]
        missing = [family for family in request.families if family not in families]
        if missing and families and not request.pins:
            yield self._note(
                NoteKind.FAMILY_MISSING,
                f"PreferDualStack gets {' and '.join(families)} only, no {missing[0]} address is "
                f"left ({self.reasons.considered()}); open a pool with {missing[0]} to have both",
            )

    def _foreign_host(self, claim: Claim) -> Note:
        return self._note(
            NoteKind.CONFLICTED,
            f"{claim.address} is answered for by another host, {claim.foreign_host or 'unknown'}; it is assigned as "
            "asked for, but not announced until that host gives it up: take it off that host or ask for another",
        )

    def _sharers_without_consent(self, place: Placement, claim: Claim) -> Iterator[Note]:
        pool = owning_pool(place.address, self.reasons.pools, recorded=claim.pool)
        sharers = place_among(self.reasons.request, claim, pool).without_consent
        if sharers:
            more = f" and {len(sharers) - 1} more" if len(sharers) > 1 else ""
            yield self._note(
                NoteKind.OTHER_NAMESPACE,
                f"shares {place.address} with {sharers[0].label}{more} of another namespace, "
                "which nothing allows or forbids; say which namespaces may with "
                "admitlb.io/allow-shared-ip-namespaces, or set allowCrossNamespaceSharing on the pool",
            )

    def _unshared(self, placements: Sequence[Placement]) -> Iterator[Note]:
        """Of a Service with a sharing key: with whom it does not share, and why; by family."""
        request = self.reasons.request
        alone = [place for place in placements if not _shared(place, request)]
        joined = next((place for place in placements if _joined(place, request)), None)
        for place in alone:
            claim = self._older_under_key(place)
            if claim is not None:
                yield self._note(
                    NoteKind.NOT_SHARED,
                    f"does not share under key {request.sharing_key!r}: {self._why_not(claim)}",
                )
            elif joined is not None:
                yield self._note(
                    NoteKind.NOT_SHARED,
                    f"shares {joined.address} only: nobody holds an {place.address.family} address under key "
                    f"{request.sharing_key!r} that it could share, so {place.address} is its own",
                )

    def _note(self, kind: NoteKind, text: str) -> Note:
        return Note(kind, f"{self.reasons.request.label}: {text}")

    def _older_under_key(self, place: Placement) -> Claim | None:
        """The first address under the key that others held before the Service got its own."""
        request = self.reasons.request
        mine = request.holder_in(place.claim) if place.claim and place.claim.in_use else None
        for claim in self.reasons.ledger.shared_under(request.sharing_key):
            if claim.address.family is not place.address.family or claim.address == place.address:
                continue
            if not request.others_in(claim):
                continue
            if mine is None or claim.holders[0].since < mine.since:
                return claim
        return None

    def _why_not(self, claim: Claim) -> str:
        request = self.reasons.request
        pool = owning_pool(claim.address, self.reasons.pools, recorded=claim.pool)
        others = request.others_in(claim)
        found = obstacle(others, request.as_holder(), pool_allows=_allows(pool))
        if found is not None:
            return f"{found.held_text(claim.address)}; change that or give it another key"
        closed = pool.takes_away(claim.address, request.applicant) if pool is not None else None
        if closed is not None:
            return f"{claim.address} is held by {others[0].label}, and {closed}"
        return (
            f"a free address came before {claim.address}, which {others[0].label} holds; ask for {claim.address} in "
            "metallb.io/loadBalancerIPs to share it"
        )


def _shared(place: Placement, request: ServiceRequest) -> bool:
    claim = place.claim
    return claim is not None and claim.in_use and bool(request.others_in(claim))


def _joined(place: Placement, request: ServiceRequest) -> bool:
    claim = place.claim
    return _shared(place, request) and claim is not None and claim.holders[0] is not request.holder_in(claim)


def _allows(pool: Pool | None) -> bool | None:
    return pool.allow_cross_namespace_sharing if pool is not None else None
