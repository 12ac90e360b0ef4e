"""Claiming: propose, judge, commit. Creating the IPAllocation is the lock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from allocator.allocation.cache import ClaimCache
from allocator.allocation.claim_writer import ClaimWriter, LostRace
from allocator.allocation.proposal import Occasion, Proposal, Write, propose, to_secure
from allocator.allocation.races import ATTEMPTS, Races
from allocator.core import lifecycle
from allocator.core.claims import NO_METADATA, Claim, ClaimState, Holder
from allocator.core.decision import decide
from allocator.core.requests import ServiceRequest
from allocator.core.reservation_cap import MAX_UNBOUND_RESERVATIONS
from allocator.core.securing import secured
from allocator.core.verdicts import Decision
from allocator.kube import resource
from allocator.kube.client import Cluster, Conflict, NotFound
from allocator.kube.timestamps import write_time
from allocator.objects import names
from allocator.objects.document import Document
from allocator.process.logs import EventLog

log = EventLog("claims")

_SHOWN_UNBOUND = timedelta(seconds=5)
"""How old a reservation may be whose address is shown before it is bound: half of what is evicted."""

_SPARED = 3
"""How many reservations whose Services are stored are passed over for one that may be evicted; each costs a GET."""

_NONE = timedelta()


def _without_version(claim: Claim | None) -> Claim | None:
    """What the claim says, whichever version of it and whatever others have noted on it."""
    return None if claim is None else replace(claim, version="", others_metadata=NO_METADATA)


class Allocator:
    """Writes claims for Services and takes them back. Correct under any interleaving with other writers."""

    def __init__(
        self,
        cluster: Cluster,
        cache: ClaimCache,
        *,
        max_unbound: int = MAX_UNBOUND_RESERVATIONS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        races: Races | None = None,
    ) -> None:
        """`max_unbound` is how many addresses admission may keep reserved in one namespace; `races` are those of
        this process, where there are several allocators in it."""
        self._cluster = cluster
        self._cache = cache
        self._max_unbound = max_unbound
        self._now = now
        self._races = Races() if races is None else races
        self._writer = ClaimWriter(cluster, cache, now=now, races=self._races)

    def until(self, moment: float) -> Allocator:
        """Return the same allocator for calls that share one deadline, on the clock of `time.monotonic`."""
        cluster = self._cluster.until(moment)
        return Allocator(cluster, self._cache, max_unbound=self._max_unbound, now=self._now, races=self._races)

    def attempts(self) -> Iterator[int]:
        """Yield how many free addresses to pass over at each try to claim, until the Service is left for later."""
        return self._races.attempts()

    @contextmanager
    def propose(self, request: ServiceRequest, occasion: Occasion, *, pass_over: int = 0) -> Iterator[Proposal]:
        """Decide, and say what has to be written. Nothing is, until `commit`.

        Within the block what would be written counts for other threads of this process, so that they do not choose
        the same addresses; what was not committed by its end does no more. Raises ApiError.
        """
        if occasion is not Occasion.SEEN:
            self._catch_up(request)
        proposal = self._propose(request, occasion, pass_over)
        try:
            yield proposal
        finally:
            self._cache.unmark(proposal.writes)

    def _propose(self, request: ServiceRequest, occasion: Occasion, pass_over: int) -> Proposal:
        """Propose; nothing is evicted for it whose Service is stored: its author has the address."""
        stored: set[str] | None = set()
        while True:
            spared = stored
            proposal = self._cache.plan(
                lambda pools, ledger, order: propose(
                    request,
                    decide(request, pools=pools, ledger=ledger, order=order, pass_over=pass_over),
                    ledger,
                    occasion=occasion,
                    now=self._now(),
                    max_unbound=self._max_unbound,
                    stored=spared,  # noqa: B023  called at once
                )
            )
            names = {one.holder.name for one in proposal.evictions if one.holder.name}
            found = {name for name in names if self._exists(request.namespace, name)}
            if not found or stored is None:
                return proposal
            self._cache.unmark(proposal.writes)
            stored = stored | found if len(stored) < _SPARED else None

    def commit(self, proposal: Proposal) -> None:
        """Make a proposal true, all of it or nothing. Raises LostRace (propose again) and ApiError.

        What the Service held before keeps what was written. Nothing is written for the creation of a Service that
        exists: it will be refused.
        """
        if proposal.recreated and self._exists(proposal.request.namespace, proposal.request.name):
            return
        for eviction in proposal.evictions:
            self.drop(eviction.claim, (eviction.holder,), why="the namespace has too many reservations")
        done: list[tuple[Write, Claim]] = []
        try:
            for write in proposal.writes:
                done.append((write, self._write(write, proposal.request)))
            if proposal.occasion is Occasion.CREATION:
                for claim in proposal.kept:
                    self._writer.confirm(claim)
        except BaseException:
            self._undo(done, proposal.request)
            raise

    def bind(self, request: ServiceRequest, *, show: Callable[[Decision], None] = lambda _: None) -> Decision:
        """Decide and claim for a Service that exists, so that every claim carries its uid. Raises LostRace, ApiError.

        What a denied Service keeps is bound as well: it must not stay a reservation. `show` is called with a
        decision that only has to be bound, before that is written: what the Service waits for comes first. It is
        called once. A race that is lost afterwards is run again where nothing but the claims' status has changed
        (speakers write it as soon as the Service shows the address, and a Service that is deleted now must leave no
        reservation behind); any other is the caller's, who knows what was shown and has to look at the Service again.
        """
        shown: list[Claim | None] | None = None
        for pass_over in self.attempts():
            with self.propose(request, Occasion.SEEN, pass_over=pass_over) as proposal:
                claims = [_without_version(place.claim) for place in proposal.decision.placements]
                if shown is None and proposal.is_reserved(since=self._now() - _SHOWN_UNBOUND):
                    show(proposal.decision)
                    shown = claims
                elif shown is not None and claims != shown:
                    raise LostRace(f"{request.label} shows what may not be reserved for it any more")
                try:
                    self.commit(proposal)
                except LostRace:
                    continue
                return proposal.decision
        raise LostRace(f"{request.label} lost {ATTEMPTS} addresses in a row")

    def secure(self, request: ServiceRequest) -> None:
        """Claim what the Service's status shows, whatever it asks for. Raises LostRace, ApiError.

        One by one: what has been secured stays, whatever becomes of the rest.
        """
        for left in reversed(range(ATTEMPTS)):
            proposal = self._cache.plan(
                lambda pools, ledger, _: to_secure(
                    request, secured(request, pools=pools, ledger=ledger), now=self._now()
                )
            )
            try:
                for write in proposal.writes:
                    self._write(write, request)
            except LostRace:
                if not left:
                    raise
            else:
                return
            finally:
                self._cache.unmark(proposal.writes)

    def hand_over(self, claim: Claim, request: ServiceRequest) -> None:
        """Put the Service in the place of the claim's holders, who have gone. Raises LostRace, ApiError."""
        self._writer.swap(lifecycle.hand_over(claim, request, now=write_time(self._now())))
        log.info("address.handed-over", ip=claim.address, service=request.label, pool=claim.pool)

    def release(self, claim: Claim, *, namespace: str, name: str, reuse_delay: timedelta, why: str) -> None:
        """Take the named Service off the claim. Raises LostRace, ApiError.

        The last holder's claim cools for `reuse_delay`. When that is nothing it goes at once, and cools first all the
        same: to whoever follows claims, a Bound one that goes was deleted by somebody else (`ClaimCache`).
        """
        left = lifecycle.leave(claim, namespace, name, now=write_time(self._now()), cool=True)
        if not claim.version:
            self._let_go(claim, left)
        elif left is not None:
            stored = self._writer.swap(left, reuse_delay=reuse_delay)
            if not stored.in_use and not reuse_delay:
                self._writer.delete(stored)
        log.info("address.released", ip=claim.address, service=f"{namespace}/{name}", pool=claim.pool, why=why)

    def withdraw_announcement(self, claim: Claim, conditions: list[Document]) -> None:
        """Remove from the claim's status which node announces it; `conditions` are those to keep. Raises ApiError.

        A claim that changed since it was read is left alone.
        """
        status = {"announcedBy": None, "conditions": conditions or None}
        body = {"metadata": {"resourceVersion": claim.version}, "status": status}
        with suppress(Conflict, NotFound):
            self._cluster.patch(names.IP_ALLOCATIONS, claim.address.claim_name, body, subresource="status")

    def drop(self, claim: Claim, gone: Collection[Holder], *, why: str) -> None:
        """Take reservations off the claim, which goes with its last holder. Raises LostRace, ApiError.

        Compare-and-swap: a holder that was bound meanwhile stays.
        """
        left = lifecycle.drop(claim, gone)
        if not claim.version:
            self._let_go(claim, left)
        elif left is None:
            self._writer.delete(claim)
        else:
            self._writer.swap(left)
        for holder in gone:
            log.info("address.collected", ip=claim.address, service=holder, pool=claim.pool, why=why)

    def mark(self, claim: Claim) -> None:
        """Store a Conflicted claim, where nothing is stored or over what is known. Raises LostRace, ApiError."""
        if claim.version:
            self._writer.swap(claim)
        else:
            self._writer.create(claim)
        log.warning("address.foreign-host", ip=claim.address, pool=claim.pool, host=claim.foreign_host)

    def unmark(self, claim: Claim) -> None:
        """Delete a Conflicted claim if it is still as known: nobody answers for its address. As `mark`."""
        self._writer.delete(claim)
        log.info("address.foreign-host-gone", ip=claim.address, pool=claim.pool)

    def delete(self, claim: Claim) -> None:
        """Delete the claim if it is still as known. Raises LostRace, ApiError."""
        self._writer.delete(claim)

    def _let_go(self, claim: Claim, left: Claim | None) -> None:
        """Take holders off a claim that somebody else has deleted."""
        if left is None or not left.in_use:
            self._cache.forget(claim)
        else:
            self._cache.withhold(left)

    def _write(self, write: Write, request: ServiceRequest) -> Claim:
        if not write.creates:
            return self._writer.swap(write.after)
        stored = self._writer.create(write.after)
        log.info("address.claimed", ip=stored.address, service=request.label, pool=stored.pool, state=stored.state)
        return stored

    def _catch_up(self, request: ServiceRequest) -> None:
        """Read what a Service under admission shows where the cache does not know it as its own.

        A repeated call comes at once, and maybe to another replica than the first. Usually nothing is shown yet.
        """
        for address in request.annotated_addresses:
            claim = self._cache.claim_at(address)
            if claim is None or request.holder_in(claim) is None:
                self._writer.refresh(address)

    def _exists(self, namespace: str, name: str) -> bool:
        try:
            self._cluster.get(resource.SERVICES, name, namespace)
        except NotFound:
            return False
        return True

    def _undo(self, done: Sequence[tuple[Write, Claim]], request: ServiceRequest) -> None:
        """Give back what the Service was given: what is judged next may be denied, and then leaves nothing behind."""
        for write, stored in done:
            before = write.before
            if before is not None and before.in_use and request.holder_in(before) is not None:
                continue
            try:
                if before is not None:
                    pool = self._cache.pool(before.pool)
                    delay = timedelta(seconds=pool.reuse_delay_seconds if pool is not None else 0)
                    self._writer.swap(replace(before, version=stored.version), reuse_delay=delay)
                elif stored.state is ClaimState.BOUND:
                    why = "another address was not to be had"
                    self.release(stored, namespace=request.namespace, name=request.name, reuse_delay=_NONE, why=why)
                else:
                    self._writer.delete(stored)
            except Exception as error:
                # Not fatal: a claim whose Service never appears is collected by the reconciler.
                log.warning("claim.not-given-back", ip=stored.address, error=error)
