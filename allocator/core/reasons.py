"""Why a request is not met, in words: every pool considered, and why each did not serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from allocator.core.addresses import Family
from allocator.core.ledger import Ledger
from allocator.core.listing import cut, each_with_reason, listed
from allocator.core.pools import Pool
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.search import Search
from allocator.core.sharing import place_among
from allocator.core.verdicts import Refusal, RefusalKind

_POOL_ANNOTATION = "metallb.io/address-pool"


@dataclass(frozen=True, slots=True)
class Reasons:
    """Phrases refusals of one request; `pools` in the order in which they are tried."""

    request: ServiceRequest
    pools: Sequence[Pool]
    ledger: Ledger

    def refusal(self, kind: RefusalKind, why: str, remedy: str) -> Refusal:
        """Return a refusal as one line: who, why, and what would help."""
        return Refusal(kind, cut(f"{self.request.label}: {why}; {remedy}"))

    def considered(self) -> str:
        """Return the first pools that are tried, each with its reason, and how many more say what, on one line."""
        return each_with_reason(self.of_each_pool()) or "no pools"

    def of_each_pool(self) -> list[tuple[str, str]]:
        """Name every pool and why it said no."""
        return [(pool.name, self._reason(pool)) for pool in self.pools if pool.ranges or pool.awaited]

    def nothing_left(self, open_pools: Sequence[Pool]) -> Refusal:
        """Refuse because no pool has what is wanted; `open_pools` are those that might have had it."""
        request = self.request
        if not self.pools:
            return self.refusal(RefusalKind.NO_POOL, "there are no pools", "create an IPAddressPool")
        both = request.policy is FamilyPolicy.REQUIRE_DUAL
        unserved = [family for family in request.families if not _any_has(open_pools, family)]
        if len(unserved) == len(request.families) or (both and unserved):
            lacking = " and ".join(unserved)
            why = f"no pool serves it {lacking} ({self.considered()})"
            return self.refusal(RefusalKind.NO_POOL, why, f"open or create a pool for it{self._on_request()}")
        if both and len(request.families) < 2:
            return self.refusal(
                RefusalKind.NO_POOL,
                "RequireDualStack on a single-stack cluster",
                "use PreferDualStack or SingleStack",
            )
        families = " and ".join(request.families)
        return self.refusal(
            RefusalKind.EXHAUSTED,
            f"no {families} address left ({self.considered()})",
            f"release addresses or extend a pool{self._on_request()}",
        )

    def _on_request(self) -> str:
        """Name the first pool that would serve all of it, were it asked for; empty where none would."""
        request = self.request
        if request.pool_name is not None:
            return ""
        found = (
            pool.name
            for pool in self.pools
            if not pool.auto_assign
            and pool.refuses(request.applicant) is None
            and all(Search(request, self.ledger).first([pool], family) for family in request.families)
        )
        name = next(found, None)
        return f", or ask for pool {name} by annotation {_POOL_ANNOTATION}" if name is not None else ""

    def _reason(self, pool: Pool) -> str:
        request = self.request
        closed = pool.refuses(request.applicant)
        if closed is not None:
            return closed
        if request.pool_name not in (None, pool.name):
            return "not the pool asked for"
        if request.pins:
            inside = [pin for pin in request.pins if pool.contains(pin)]
            return f"eligible, it has {' and '.join(map(str, inside))}" if inside else ranges_text(pool)
        if not pool.auto_assign and request.pool_name != pool.name:
            return "only on request (autoAssign: false)"
        return self._lacks(pool) or "eligible"

    def _lacks(self, pool: Pool) -> str:
        """Say which of the families wanted the pool lacks, and of which all is held; empty where it has them all."""
        request = self.request
        missing = [family for family in request.families if not pool.has_family(family)]
        present = [family for family in request.families if family not in missing]
        full = [family for family in present if self._is_full(pool, family)]
        lacks = [f"has no {' and '.join(missing)}"] if missing else []
        if full:
            waits = f", another pool still has {listed(pool.awaited)} of it" if pool.awaited else ""
            which = "" if full == list(request.families) else f"{full[0]} "
            used_up = any(pool.capacity(family) for family in full) or pool.awaited
            state = "full" if used_up else "has none to assign, all are excluded"
            lacks.append(f"{which}{state}{waits}{self._conflicts(pool)}{self._not_shared(pool, full)}")
        return ", ".join(lacks)

    def _not_shared(self, pool: Pool, families: Sequence[Family]) -> str:
        """Say what keeps the request from the first address that others hold there under its sharing key."""
        request = self.request
        for claim in self.ledger.shared_under(request.sharing_key) if request.sharing_key else ():
            if claim.address.family in families and pool.spans(claim.address) and request.others_in(claim):
                found = place_among(request, claim, pool).obstacle
                if found is not None:
                    return f", and under key {request.sharing_key!r} {found.held_text(claim.address)}"
        return ""

    def _is_full(self, pool: Pool, family: Family) -> bool:
        request = self.request
        if len(request.families) == 1:
            # Else it would have been served: no need to search every pool once more.
            return True
        own = self.ledger.held_by(request.namespace, request.name)
        held = any(claim.pool == pool.name and claim.address.family is family for claim in own)
        return not held and Search(request, self.ledger).first([pool], family) is None

    def _conflicts(self, pool: Pool) -> str:
        families = self.request.families
        found = [one for one in self.ledger.conflicted() if one.pool == pool.name and one.address.family in families]
        if not found:
            return ""
        first = f"{found[0].address}: {found[0].foreign_host or 'unknown'}"
        return f", and other hosts answer for {len(found)} of its addresses ({first})"


def ranges_text(pool: Pool) -> str:
    """Return what a pool owns as its author may have written it, and what it is yet to have."""
    owned = [str(one) for one in pool.ranges]
    return listed([*owned, *(f"{one} once another pool has given it up" for one in pool.awaited)])


def _any_has(pools: Sequence[Pool], family: Family) -> bool:
    return any(pool.has_family(family) for pool in pools)
