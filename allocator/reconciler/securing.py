"""Claims for a Service what its status shows: the first step of every repair, and all of adoption.

What a status and a claim can be to each other, and what securing does:

    status shows an address that
      nobody holds (no claim, cooling)     claim it; where an older Service shows it too, for that one first
      the Service itself holds             nothing; bind it where the claim does not carry the uid or its needs yet:
                                           nobody joins it by what it needed before
      others hold, who may share it        join them
      others hold, who may not             nothing: the Service is given another one, with an Event
      is in no pool, nor was ever          nothing: another load balancer's
      its last holder gives up             hand it over, in one write: it is never free meanwhile

What "share" means, and which pool such a claim names, is `allocator.core.securing`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.core.addresses import Address
from allocator.core.claims import Claim
from allocator.core.requests import ServiceRequest
from allocator.kube.client import ApiError, Object
from allocator.objects.service import (
    addresses_in_annotation,
    addresses_in_status,
    recorded_pools,
    showing,
    shown_of_its_own,
)
from allocator.reconciler.shown_addresses import ShownAddresses

_UNPROCESSABLE = 422


class Securing:
    """Holds no state of its own; safe to call from several threads for different Services."""

    def __init__(
        self,
        cache: ClaimCache,
        claims: Allocator,
        shown: ShownAddresses,
        *,
        find_service: Callable[[str, str], Object | None],
        require_leadership: Callable[[], None],
        lb_class: str = "",
    ) -> None:
        self._cache = cache
        self._claims = claims
        self._shown = shown
        self._find_service = find_service
        self._require_leadership = require_leadership
        self._lb_class = lb_class

    def secure(self, service: Object) -> None:
        """Claim for the Service what its status shows; where older ones show it too, for them first.

        Raises NotLeading, LostRace, ApiError.
        """
        shown = self._to_secure(service)
        elders = [key for address in shown for key in self._shown.older(service, address)]
        for elder in (self._find_service(*key) for key in dict.fromkeys(elders)):
            if elder is not None:
                self._claim(elder, self._to_secure(elder))
        self._claim(service, shown)

    def hand_over(self, claim: Claim) -> bool:
        """Give a claim that nobody holds any more to the oldest Service that shows its address, if there is one.

        In one write, so that the address is never free meanwhile. Raises NotLeading, LostRace, ApiError.
        """
        for key in self._shown.showing(claim.address):
            service = self._find_service(*key)
            if service is None or (claim.in_use and claim.holder(*key)):
                continue
            if claim.address in self._to_secure(service):
                self._require_leadership()
                self._bring(service, lambda identity: self._claims.hand_over(claim, identity), (claim.address,))
                return True
        return False

    def is_unclaimed(self, service: Object) -> bool:
        """Whether its status shows an address of our pools, now or when it was assigned, that nobody holds."""
        claims = {address: self._cache.claim_at(address) for address in self._to_secure(service)}
        free = [address for address, claim in claims.items() if claim is None or not claim.in_use]
        pools = self._cache.pools() if free else []
        ours = any(pool.spans(address) for address in free for pool in pools)
        annotated = addresses_in_annotation(service)
        assigned = [address for address in free if not annotated or address in annotated]
        return ours or bool(assigned and recorded_pools(service))

    def _to_secure(self, service: Object) -> tuple[Address, ...]:
        """Which addresses of its own its status shows without a claim that says who it is and what it needs."""
        key = _key(service)
        identity = self._identity(service, addresses_in_status(service))

        def recorded(address: Address) -> bool:
            claim = self._cache.claim_at(address)
            holder = claim.holder(*key) if claim is not None and claim.in_use else None
            stored = claim is not None and bool(claim.version)
            return stored and holder is not None and identity.is_recorded_in(holder)

        held = {claim.address for claim in self._cache.held_by(*key)}
        own = shown_of_its_own(service, lb_class=self._lb_class, held=held)
        return tuple(address for address in own if not recorded(address))

    def _claim(self, service: Object, addresses: tuple[Address, ...]) -> None:
        if addresses:
            self._require_leadership()
            self._bring(service, self._claims.secure, addresses)

    def _bring(
        self, service: Object, claim: Callable[[ServiceRequest], None], addresses: tuple[Address, ...]
    ) -> None:
        """Claim for the Service, with what it brings to a sharing where an IPAllocation can hold that."""
        identity = self._identity(service, addresses)
        try:
            claim(identity)
        except ApiError as error:
            if error.status != _UNPROCESSABLE:
                raise
            # What it brings to a sharing is more than an IPAllocation holds: secured alone, it can be repaired.
            claim(replace(identity, ports=frozenset(), sharing_key="", backend_key=""))

    def _identity(self, service: Object, addresses: tuple[Address, ...]) -> ServiceRequest:
        namespace = self._cache.namespace(service["metadata"]["namespace"])
        return showing(service, addresses, lb_class=self._lb_class, namespace=namespace)


def _key(service: Object) -> tuple[str, str]:
    return service["metadata"]["namespace"], service["metadata"]["name"]
