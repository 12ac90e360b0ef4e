"""Somebody deletes claims and makes them unreadable while Services come, change and go: no address is shown twice.

The API server's storage, a reconciler and a webhook, each with a cache that is behind.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from allocator.allocation.claim_writer import LostRace
from allocator.allocation.proposal import Occasion
from allocator.core.addresses import Address
from allocator.core.requests import ServiceRequest
from allocator.kube import resource
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.objects import names
from allocator.objects.service import request_from
from allocator.reconciler.shown_addresses import ShownAddresses
from tests.unit.allocation.stored_claims import Replica, StoredClaims, pool
from tests.unit.effort import examples
from tests.unit.reconciler.collecting import collecting

NAMES = st.sampled_from(["a", "b", "c", "d"])
ADDRESSES = st.sampled_from([f"10.0.0.{number}" for number in range(4)])
PINS = st.one_of(st.none(), ADDRESSES)
EVENTS = st.integers(0, 4)
Key = tuple[str, str]


class OtherHands(RuleBasedStateMachine):
    """No two of these Services share."""

    @initialize(delay=st.sampled_from([0, 60]))
    def start(self, delay: int) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.stored = StoredClaims()
        owned = pool("p", "10.0.0.0-10.0.0.3")
        owned["spec"]["reuseDelaySeconds"] = delay
        self.webhook, self.reconciler = (Replica(self.stored, owned, now=lambda: self.now) for _ in range(2))
        self.services: dict[Key, Object] = {}
        self.shown = ShownAddresses()
        self.made = 0
        self.securing, self.collection = collecting(self.reconciler, self.services, self.shown, now=lambda: self.now)

    @rule(name=NAMES, pin=PINS)
    def create(self, name: str, pin: str | None) -> None:
        """Admission, and then the Service is stored."""
        key = ("prod", name)
        if key in self.services:
            return
        self.made += 1
        metadata: Object = {
            "namespace": "prod",
            "name": name,
            "creationTimestamp": f"2026-01-01T00:00:{self.made % 60:02}Z",
            "annotations": {"metallb.io/loadBalancerIPs": pin} if pin else {},
        }
        service: Object = {"metadata": metadata, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
        request = request_from(service)
        with (
            suppress(LostRace),
            self.webhook.claims.propose(request, Occasion.CREATION) as proposal,
        ):
            self.webhook.claims.commit(proposal)
            self._is_nobody_elses(key, [place.address for place in proposal.decision.placements])
        metadata["uid"] = f"uid-{self.made}"
        self.services[key] = service

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        service = self.services.pop(("prod", name), None)
        if service is not None:
            self.shown.note(Change(resource.SERVICES, ("prod", name), service, None, "1"))

    @rule(name=NAMES, pin=PINS)
    def repin(self, name: str, pin: str | None) -> None:
        if service := self.services.get(("prod", name)):
            service["metadata"]["annotations"] = {"metallb.io/loadBalancerIPs": pin} if pin else {}

    @rule(name=NAMES, events=EVENTS)
    def repair(self, name: str, events: int) -> None:
        """As `Repair.service` does it; what could not be written now is tried again."""
        key = ("prod", name)
        self.reconciler.see(events)
        service = self.services.get(key)
        with suppress(LostRace):
            if service is None:
                for claim in self.reconciler.cache.held_by(*key):
                    self.collection.drop_reservation(claim, key)
                return
            self.securing.secure(service)
            decision = self.reconciler.claims.bind(self._request(service))
            placed = [place.address for place in decision.placements]
            self._is_nobody_elses(key, placed)
            self._show(key, service, placed)
            for claim in self.reconciler.cache.held_by(*key):
                if claim.address not in placed:
                    self.collection.release(claim, key, why="no longer asked for")

    @rule(address=ADDRESSES)
    def delete_a_claim(self, address: str) -> None:
        self.webhook.see()
        self.reconciler.see()
        if document := self.stored.allocations.get(address):
            version = document["metadata"]["resourceVersion"]
            self.stored.delete(names.IP_ALLOCATIONS, address, resource_version=version)

    @rule(address=ADDRESSES, spec=st.sampled_from([None, {}, {"state": "Later", "holders": []}]))
    def spoil_a_claim(self, address: str, spec: Object | None) -> None:
        if document := self.stored.allocations.get(address):
            spoiled = {"metadata": document["metadata"], **({"spec": spec} if spec is not None else {})}
            self.stored.replace(names.IP_ALLOCATIONS, spoiled)

    @rule(events=EVENTS)
    def see(self, events: int) -> None:
        self.webhook.see(events)

    @rule(seconds=st.sampled_from([1, 30, 120]))
    def wait(self, seconds: int) -> None:
        """The reconciler deletes what has cooled."""
        self.now += timedelta(seconds=seconds)
        for claim in list(self.reconciler.cache.claims()):
            if not claim.in_use and claim.version:
                with suppress(LostRace):
                    self.collection.note(self._as_listed(claim.address))
                    self.reconciler.cache.claim_document = self.stored.allocations.get  # type: ignore[assignment,method-assign]
                    self.collection.sweep(lambda _: None)

    @invariant()
    def nothing_is_shown_twice(self) -> None:
        shown = [one for service in getattr(self, "services", {}).values() for one in _addresses(service)]
        assert len(shown) == len(set(shown))

    def _as_listed(self, address: Address) -> Change:
        name = address.claim_name
        return Change(names.IP_ALLOCATIONS, ("", name), None, self.stored.allocations.get(name), "1")

    def _is_nobody_elses(self, key: Key, addresses: list[Address]) -> None:
        for other, service in self.services.items():
            if other != key:
                assert not set(map(str, addresses)) & set(_addresses(service)), f"{addresses} for {key}: {other}'s"

    def _request(self, service: Object) -> ServiceRequest:
        return request_from(service, status_addresses=tuple(map(Address.parse, _addresses(service))))

    def _show(self, key: Key, service: Object, addresses: list[Address]) -> None:
        ingress = [{"ip": str(address)} for address in addresses]
        now = {**service, "status": {"loadBalancer": {"ingress": ingress}}}
        self.shown.note(Change(resource.SERVICES, key, service, now, "1"))
        self.services[key] = now


def _addresses(service: Object) -> list[str]:
    return [one["ip"] for one in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()]


TestOtherHands = OtherHands.TestCase
TestOtherHands.settings = settings(max_examples=examples(150), stateful_step_count=40, deadline=None)
