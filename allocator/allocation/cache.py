"""What this process knows of pools, namespaces and claims: informers' caches, and its own last writes.

The cache is a hint. What may not go wrong is decided by the API server when a claim is created or swapped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from allocator.allocation.claim_versions import ClaimVersions
from allocator.allocation.cluster_families import cluster_families
from allocator.allocation.proposal import Proposal, Write
from allocator.core.addresses import Address, AddressError, AddressRange, Family
from allocator.core.claims import Claim, ClaimState, ForeignHost
from allocator.core.conflicts import Judgement, judge, next_addresses, orphaned
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.pools import Pool, PriorityOrder, in_order_of_trial
from allocator.core.requests import ServiceRequest
from allocator.core.usage import Usage, UsageIndex
from allocator.core.verdicts import Decision
from allocator.kube import resource
from allocator.kube.client import ApiError, Cluster, Object
from allocator.kube.reflector import Change, Reflector
from allocator.objects import names
from allocator.objects.document import InvalidDocument, in_deletion
from allocator.objects.ip_allocation import claim_from
from allocator.process.logs import EventLog
from allocator.rules import configuration
from allocator.rules.configuration import Configuration

log = EventLog("cache")

_LOOK_AGAIN_SECONDS = 5.0
_WITHHELD_SECONDS = 60.0
"""How long the address of a deleted claim stays its holders' here: reconcilers claim thousands in less."""

Listener = Callable[[Change], None]


class ClaimCache:
    """Pools, namespace labels and claims as far as they are known here.

    `_lock` owns `_ledger`, `_versions`, `_withheld`, `_pools` and `_usage`; `_configuration` is replaced whole. The
    reflectors' threads write them, deciding threads read and write (their own claims, at once, so that a thread never
    offers what another has just taken).

    AdmitLB never deletes a Bound claim: it cools first, if only for a moment. One that is deleted was deleted by
    somebody else, and its Services show the address still. It stays in the ledger as not stored (no version), so that
    nobody else is given the address before the reconciler, or an update of the Service, has claimed it again.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        order: PriorityOrder = PriorityOrder.LOWEST_FIRST,
        on_change: Listener = lambda _: None,
        on_rewound: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = threading.RLock()
        self._clock = clock
        self._ledger = Ledger()
        self._withheld: dict[Address, float] = {}
        """Deleted Bound claims by when they are forgotten, the first one first."""
        self._versions = ClaimVersions()
        self._pools: dict[str, Pool] = {}
        """Those that may be used, in the order of trial, so that sorting them for each decision finds them sorted."""
        self._usage = UsageIndex()
        self._configuration = Configuration()
        self._parsed: dict[str, tuple[tuple[str, str], Pool | InvalidDocument]] = {}
        """Every stored pool as read, with its age; belongs to the thread of the pools' reflector."""
        self._without_holders: set[str] = set()
        """Stored claims that list no holder, by name; belongs to the thread of the claims' reflector."""
        self._order = order
        self._on_change = on_change
        self.families: tuple[Family, ...] = (Family.IPV4,)
        """The cluster's, primary first: found out by `start` and, until there are two, again by `look_for_families`.
        A tuple is replaced whole, so readers need no lock."""
        self._looked_at = 0.0
        self._cluster = cluster
        self._namespaces = Reflector(
            cluster, resource.NAMESPACES, metadata_only=True, on_change=on_change, on_rewound=on_rewound
        )
        self._pool_documents = Reflector(
            cluster,
            names.IP_ADDRESS_POOLS,
            namespace=namespace,
            on_change=self._take_pool,
            on_rewound=on_rewound,
        )
        self._allocations = Reflector(
            cluster, names.IP_ALLOCATIONS, on_change=self._take_claim, on_rewound=on_rewound
        )
        self._reflectors = (self._namespaces, self._pool_documents, self._allocations)

    def start(self) -> None:
        """Learn the cluster's families and begin mirroring. Raises ApiError."""
        self.families = cluster_families(self._cluster)
        for reflector in self._reflectors:
            reflector.start()

    def look_for_families(self, *, until: float) -> None:
        """Ask again for the cluster's families while only one is known: nodes may have joined since.

        Asks at most every few seconds, and keeps what is known when the API server does not answer by `until`,
        a moment of `time.monotonic`.
        """
        now = time.monotonic()
        if len(self.families) > 1 or now - self._looked_at < _LOOK_AGAIN_SECONDS:
            return
        self._looked_at = now
        with suppress(ApiError):
            self.families = cluster_families(self._cluster.until(until))

    def stop(self) -> None:
        """End mirroring."""
        for reflector in self._reflectors:
            reflector.stop()

    def wait_synced(self, timeout_seconds: float) -> bool:
        """Return whether everything has been listed once, waiting up to the timeout for each part."""
        return all(reflector.wait_synced(timeout_seconds) for reflector in self._reflectors)

    def problems(self) -> list[str]:
        """Say what of the cache is not there yet; empty when it can be decided upon."""
        return [f"{mirror.resource.plural} are not listed yet" for mirror in self._reflectors if not mirror.synced]

    def reflectors(self) -> tuple[Reflector, ...]:
        """Return what caches namespaces, pools and claims."""
        return self._reflectors

    def dead_threads(self) -> list[str]:
        """Name the reflectors whose thread has ended though nobody stopped it."""
        return [mirror.resource.plural for mirror in self._reflectors if not mirror.alive]

    def pools(self) -> list[Pool]:
        """Return every valid pool."""
        with self._lock:
            return list(self._pools.values())

    def pool(self, name: str) -> Pool | None:
        """Return a valid pool by its name, or None."""
        with self._lock:
            return self._pools.get(name)

    def configuration(self) -> Configuration:
        """Return what the stored pools say, and what is wrong with them; not to be changed."""
        return self._configuration

    def pool_documents(self) -> list[Object]:
        """Return the stored pools as cached, invalid ones included, without those in deletion: they count as gone."""
        return [document for document in self._pool_documents.items() if not in_deletion(document)]

    def claim_documents(self) -> list[Object]:
        """Return the stored IPAllocations as cached; this process's own last writes may not be in it yet."""
        return self._allocations.items()

    def claim_document(self, name: str) -> Object | None:
        """Return a stored IPAllocation by its name as cached, or None."""
        return self._allocations.get("", name)

    def namespace(self, name: str) -> Object | None:
        """Return a Namespace as cached, None when it is not known."""
        return self._namespaces.get("", name)

    def namespaces(self) -> list[Object]:
        """Return every Namespace as cached."""
        return self._namespaces.items()

    def claims(self) -> list[Claim]:
        """Return every known claim."""
        with self._lock:
            return list(self._ledger)

    def claims_within(self, owned: AddressRange) -> list[Claim]:
        """Return the known claims on addresses of a range."""
        with self._lock:
            return self._ledger.within(owned)

    def claims_recorded_for(self, pool: str) -> list[Claim]:
        """Return the known claims that name the pool as their address's."""
        with self._lock:
            return self._ledger.recorded_for(pool)

    def claims_in(self, namespace: str) -> list[Claim]:
        """Return the known claims in use that Services of a namespace hold."""
        with self._lock:
            return [claim for address in self._ledger.held_in(namespace) if (claim := self._ledger.at(address))]

    def usage(self) -> dict[str, Usage]:
        """Return how much of each pool is in use, of pools that cannot serve too."""
        with self._lock:
            return self._usage.all()

    def usage_of(self, pool: str) -> Usage:
        """Return how much of one pool is in use."""
        with self._lock:
            return self._usage.of(pool)

    def claim_at(self, address: Address) -> Claim | None:
        """Return the claim known on an address."""
        with self._lock:
            return self._ledger.at(address)

    def is_free(self, address: Address) -> bool:
        """Return whether the address is to be had: nobody is known to hold or answer for it; it may cool."""
        claim = self.claim_at(address)
        return claim is None or claim.state is ClaimState.COOLING

    def held_by(self, namespace: str, name: str) -> list[Claim]:
        """Return the claims in use of the named Service."""
        with self._lock:
            return self._ledger.held_by(namespace, name)

    def next_addresses(self, pool: Pool) -> tuple[Address, ...]:
        """Return the addresses of the pool that Services will be given next."""
        with self._lock:
            return next_addresses(pool, self._ledger)

    def judge(self, pool: Pool, answers: Mapping[Address, ForeignHost], *, announced: bool, now: str) -> Judgement:
        """Judge who answers for addresses of the pool (`allocator.core.conflicts.judge`)."""
        with self._lock:
            return judge(pool, answers, announced=announced, ledger=self._ledger, now=now)

    def orphaned_conflicts(self) -> tuple[Claim, ...]:
        """Return the Conflicted claims of pools that cannot be used."""
        with self._lock:
            return orphaned(self._ledger, self._pools)

    def unbound(self) -> list[Claim]:
        """Return the claims in use that have a holder whose Service was not seen."""
        with self._lock:
            return self._ledger.unbound()

    def decide(self, request: ServiceRequest) -> Decision:
        """Decide on what is known, and change nothing."""
        with self._lock:
            self._forget_withheld()
            return decide(request, pools=list(self._pools.values()), ledger=self._ledger, order=self._order)

    def plan(self, make: Callable[[Sequence[Pool], Ledger, PriorityOrder], Proposal]) -> Proposal:
        """Make a proposal of what is known; what it would write counts from now on, until `unmark`."""
        with self._lock:
            self._forget_withheld()
            proposal = make(list(self._pools.values()), self._ledger, self._order)
            for write in proposal.writes:
                self._put(write.after)
            return proposal

    def unmark(self, writes: Sequence[Write]) -> None:
        """Count no more what was planned; what has been stored, or replaced by something newer, stays."""
        with self._lock:
            for write in writes:
                if self._ledger.at(write.after.address) is not write.after:
                    continue
                if write.before is None:
                    self._discard(write.after.address)
                else:
                    self._put(write.before)

    def record(self, stored: Object) -> Claim:
        """Take in an IPAllocation as the API server just returned it, unless something newer is known."""
        claim = claim_from(stored)
        with self._lock:
            # Known already, it must not displace what is being written over it (`plan`).
            if self._versions.advance(claim.address, int(claim.version)):
                self._put(claim)
        return claim

    def forget(self, claim: Claim) -> None:
        """Drop a claim that is known to be gone, or that was marked and not created, unless there is a newer one."""
        with self._lock:
            known = self._ledger.at(claim.address)
            if known is not None and known.version == claim.version:
                self._remember_deleted(claim.address, int(claim.version or 0))

    def withhold(self, claim: Claim) -> None:
        """Keep the address of a claim that is not stored for the Services that were seen holding it.

        Of one that listed no holder nobody knows whose it was: it is kept for whoever shows it.
        """
        seen = tuple(holder for holder in claim.holders if holder.uid is not None)
        with self._lock:
            if claim.holders and not seen:
                self._discard(claim.address)
                return
            self._put(replace(claim, holders=seen, version=""))
            self._withheld.pop(claim.address, None)
            self._withheld[claim.address] = self._clock() + _WITHHELD_SECONDS

    def _concerning(self, name: str, pool: Pool | None) -> list[Claim]:
        found = {claim.address: claim for claim in self._ledger.recorded_for(name)}
        for owned in pool.ranges if pool is not None else ():
            found.update((claim.address, claim) for claim in self._ledger.within(owned))
        return list(found.values())

    def _put(self, claim: Claim) -> None:
        self._ledger.put(claim)
        self._usage.put(claim)

    def _discard(self, address: Address) -> None:
        self._ledger.discard(address)
        self._usage.discard(address)

    def _remember_deleted(self, address: Address, version: int) -> None:
        """Drop a claim and remember at which version it was gone: an answer read before then may still come in."""
        self._discard(address)
        self._versions.delete(address, version)

    def _take_pool(self, change: Change) -> None:
        # Admission refuses unsound pools; these came in while nothing checked them.
        name = change.key[1]
        if change.new is None or in_deletion(change.new):
            self._parsed.pop(name, None)
        else:
            self._parsed[name] = configuration.age(change.new), configuration.parse(change.new)
        found = configuration.of_pools((name, pool) for name, (_, pool) in sorted(self._parsed.items(), key=_by_age))
        fault = found.pool_faults.get(name)
        if fault is not None:
            log.warning("pool.ignored", pool=name, error=fault.message)
        with self._lock:
            in_order = in_order_of_trial(found.sound_pools().values(), order=self._order)
            self._pools = {pool.name: pool for pool in in_order}
            self._configuration = found
            self._usage.change_pools(found.pools, self._concerning)
        self._on_change(change)

    def _take_claim(self, change: Change) -> None:
        try:
            claim = self._mirror_claim(change)
        except AddressError as error:
            log.warning("claim.ignored", claim=change.key[1], error=error)
            return
        name = change.key[1]
        # To whoever follows claims it is gone; whoever held it is looked at, and written into it again.
        old = change.old if name not in self._without_holders else None
        new = change.new
        self._without_holders.discard(name)
        if claim is not None and not claim.holders and claim.in_use:
            log.warning("claim.without-holders", claim=name)
            self._without_holders.add(name)
            new = None
        if old is not None or new is not None:
            self._on_change(replace(change, old=old, new=new))

    def _mirror_claim(self, change: Change) -> Claim | None:
        if change.new is not None:
            return self.record(change.new)
        address = Address.from_claim_name(change.key[1])
        with self._lock:
            known = self._ledger.at(address)
            # A deletion seen late must not wipe a claim made since: a later creation has a higher version.
            if known is None or (known.version and int(known.version) <= int(change.version)):
                self._remember_deleted(address, int(change.version))
                if known is not None and known.state is ClaimState.BOUND:
                    log.warning("claim.deleted-in-use", ip=address, holders=[one.label for one in known.holders])
                    self.withhold(known)
        return None

    def _forget_withheld(self) -> None:
        now = self._clock()
        while self._withheld and (first := next(iter(self._withheld.items())))[1] <= now:
            address = first[0]
            del self._withheld[address]
            known = self._ledger.at(address)
            if known is not None and not known.version:
                self._discard(address)


def _by_age(item: tuple[str, tuple[tuple[str, str], object]]) -> tuple[str, str]:
    return item[1][0]
