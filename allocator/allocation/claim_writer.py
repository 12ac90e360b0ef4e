"""Single writes of claims: create is the lock, everything else a compare-and-swap."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from allocator.allocation.cache import ClaimCache
from allocator.allocation.races import Races
from allocator.core.addresses import Address
from allocator.core.claims import Claim
from allocator.kube.client import AlreadyExists, Cluster, Conflict, NotFound
from allocator.objects import names
from allocator.objects.ip_allocation import document_of


class LostRace(Exception):
    """Somebody else wrote this claim first; what is known of it has been refreshed where it could be."""


class ClaimWriter:
    """Writes IPAllocations and records in the cache what is stored then. Every method raises ApiError."""

    def __init__(self, cluster: Cluster, cache: ClaimCache, *, now: Callable[[], datetime], races: Races) -> None:
        self._races = races
        self._cluster = cluster
        self._cache = cache
        self._now = now

    def create(self, claim: Claim) -> Claim:
        """Store a claim where there is none. Raises LostRace."""
        try:
            document = document_of(claim, now=self._now())
            return self._cache.record(self._cluster.create(names.IP_ALLOCATIONS, document))
        except AlreadyExists:
            self._races.lost()
            self.refresh(claim.address)
            raise LostRace(claim.address) from None

    def swap(self, claim: Claim, *, reuse_delay: timedelta = timedelta()) -> Claim:
        """Store a claim in the place of its version; one that cools does so for `reuse_delay`. Raises LostRace."""
        try:
            document = document_of(claim, now=self._now(), reuse_delay=reuse_delay)
            return self._cache.record(self._cluster.replace(names.IP_ALLOCATIONS, document))
        except (Conflict, NotFound):
            self.refresh(claim.address)
            raise LostRace(claim.address) from None

    def delete(self, claim: Claim) -> None:
        """Delete the claim if it is still as known. Raises LostRace."""
        try:
            self._cluster.delete(names.IP_ALLOCATIONS, claim.address.claim_name, resource_version=claim.version)
        except NotFound:
            pass
        except Conflict:
            self.refresh(claim.address)
            raise LostRace(claim.address) from None
        self._cache.forget(claim)

    def confirm(self, claim: Claim) -> None:
        """Look whether a claim is stored as known here. Raises LostRace.

        The cache may be behind, by as long as a pause; or ahead: another thread plans to write it so.
        """
        try:
            stored = self._cache.record(self._cluster.get(names.IP_ALLOCATIONS, claim.address.claim_name))
        except NotFound:
            self.refresh(claim.address)
            raise LostRace(claim.address) from None
        if stored.version != claim.version or stored != claim:
            raise LostRace(claim.address)

    def refresh(self, address: Address) -> None:
        """Read what is stored at the address now, so that the next decision sees it."""
        known = self._cache.claim_at(address)
        try:
            self._cache.record(self._cluster.get(names.IP_ALLOCATIONS, address.claim_name))
        except NotFound:
            # What has no version is being created.
            if known is not None and known.version:
                self._cache.forget(known)
