"""Two webhooks that see each other late, creates that fail, repeat and forge: reservations stay what they should be.

One request makes one reservation, however often it is called for, and after collection there are exactly as many as
Services; a quota is never exceeded by what is bound; nobody touches another namespace's reservations; what was
refused, or is there already, writes nothing.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from allocator.allocation.claim_writer import LostRace
from allocator.allocation.proposal import Occasion
from allocator.core import lifecycle
from allocator.core.addresses import Address
from allocator.core.pools import Applicant
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision, Outcome
from allocator.kube.timestamps import write_time
from allocator.objects.ip_allocation import claim_from
from tests.unit.allocation.stored_claims import Replica, StoredClaims, pool
from tests.unit.core.builders import HTTP
from tests.unit.effort import examples

LIMIT = 2
SIZE = 10
QUOTAS = {"limited": 1, "free": None}
NAMESPACES = st.sampled_from(list(QUOTAS))
NAMES = st.sampled_from(["a", "b", "generated"])
WEBHOOKS = st.integers(0, 1)


@dataclass(slots=True)
class Service:
    """A stored Service: what it was admitted with, and what its status shows."""

    request: ServiceRequest
    status: tuple[Address, ...] = ()

    def asks(self) -> ServiceRequest:
        return replace(self.request, status_addresses=self.status)


class Reservations(RuleBasedStateMachine):
    """The API server's storage, two webhooks and a reconciler, each with a cache that is behind."""

    @initialize()
    def start(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.stored = StoredClaims()
        pools = (pool("small", f"10.0.0.0-10.0.0.{SIZE - 1}"),)
        limits = {"now": lambda: self.now, "max_unbound": LIMIT}
        self.webhooks = [Replica(self.stored, *pools, **limits) for _ in range(2)]
        self.reconciler = Replica(self.stored, *pools, **limits)
        self.services: dict[tuple[str, str], Service] = {}
        self.serial = 0

    @rule(
        namespace=NAMESPACES,
        name=NAMES,
        calls=st.lists(WEBHOOKS, min_size=1, max_size=3),
        fails=st.booleans(),
        forged=st.none() | st.integers(0, SIZE - 1),
        strict=st.booleans(),
        pin=st.none() | st.integers(0, SIZE - 1),
    )
    def create(
        self,
        namespace: str,
        name: str,
        calls: list[int],
        fails: bool,
        forged: int | None,
        strict: bool,
        pin: int | None,
    ) -> None:
        """Mutating calls on any webhooks, each shown what the one before answered; then it is stored, or is not."""
        shown = [f"10.0.0.{forged}"] if forged is not None else []
        request = self._request(namespace, name, shown)
        if pin is not None:
            request = replace(request, pins=(Address.parse(f"10.0.0.{pin}"),))
        before = self._holders_outside(namespace)
        bound = self._bound_claims(request) if (namespace, request.name) in self.services else {}
        mine = self._reservations(namespace)
        allowed = True
        for webhook in calls:
            allowed, decision = self._admit(self.webhooks[webhook], request, strict=strict)
            if not allowed:
                break
            annotated = tuple(place.address for place in decision.placements)
            request = replace(request, annotated_addresses=annotated)
        assert self._holders_outside(namespace) == before
        assert len(self._reservations(namespace) - mine) <= 1, "one request, one reservation"
        for address, claim in bound.items():
            assert self.stored.allocations[address] == claim, "a create for a bound Service changes nothing"
        if not allowed or fails or (namespace, request.name) in self.services:
            return
        self._store(request)

    @rule(namespace=NAMESPACES, webhook=WEBHOOKS, count=st.integers(3, 8))
    def creates_that_always_fail(self, namespace: str, webhook: int, count: int) -> None:
        for _ in range(count):
            self.create(namespace, "generated", [webhook], fails=True, forged=None, strict=False, pin=None)

    @rule(namespace=NAMESPACES, first=st.integers(0, SIZE - 1), second=st.integers(0, SIZE - 1))
    def creates_at_one_moment(self, namespace: str, first: int, second: int) -> None:
        """Each webhook is asked by itself, and for an address of its own."""
        for webhook, (name, pin) in enumerate((("a", first), ("b", second))):
            self.create(namespace, name, [webhook], fails=False, forged=None, strict=False, pin=pin)

    @rule(webhook=WEBHOOKS, count=st.integers(1, 4))
    def webhook_sees(self, webhook: int, count: int) -> None:
        self.webhooks[webhook].see(count)

    @rule(count=st.integers(1, 6))
    def reconciler_sees(self, count: int) -> None:
        self.reconciler.see(count)

    @rule(seconds=st.sampled_from([1, 11, 91]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(index=st.integers(0, 9))
    def repair(self, index: int) -> None:
        if self.services:
            keys = sorted(self.services)
            self._repair(keys[index % len(keys)])

    @rule(index=st.integers(0, 9))
    def delete(self, index: int) -> None:
        if not self.services:
            return
        key = sorted(self.services)[index % len(self.services)]
        del self.services[key]
        self.stored.services.discard(key)
        self.reconciler.see()
        for claim in self.reconciler.cache.held_by(*key):
            namespace, name = key
            self.reconciler.claims.release(
                claim, namespace=namespace, name=name, reuse_delay=timedelta(), why="deleted"
            )

    @rule()
    def collect(self) -> None:
        self._collect()

    @invariant()
    def a_quota_is_never_exceeded_by_what_is_bound_or_shown(self) -> None:
        bound: Counter[str] = Counter()
        for document in self.stored.allocations.values():
            bound.update({one["namespace"] for one in document["spec"]["holders"] if one.get("uid")})
        shown = Counter(namespace for (namespace, _), one in self.services.items() if one.status)
        for namespace, quota in QUOTAS.items():
            assert quota is None or bound[namespace] <= quota
            assert quota is None or shown[namespace] <= quota

    @invariant()
    def no_address_is_shown_twice_or_held_by_two(self) -> None:
        shown = Counter(address for one in self.services.values() for address in one.status)
        assert all(count == 1 for count in shown.values())
        assert all(len(one["spec"]["holders"]) == 1 for one in self.stored.allocations.values())

    @invariant()
    def each_webhook_keeps_to_the_limit(self) -> None:
        reserved: Counter[str] = Counter()
        for document in self.stored.allocations.values():
            reserved.update(one["namespace"] for one in document["spec"]["holders"] if not one.get("uid"))
        assert all(count <= 2 * LIMIT for count in reserved.values())

    @invariant()
    def a_cache_keeps_nothing_that_was_never_stored(self) -> None:
        stored = {claim_from(change.new) for change in self.stored.events if change.new is not None}
        for replica in (*self.webhooks, self.reconciler):
            assert set(replica.cache.claims()) <= stored

    def teardown(self) -> None:
        """When all is seen and time has passed, there is one claim for each Service that is served, and no other."""
        if not hasattr(self, "stored"):
            return
        for _ in range(len(self.services) + 2):  # each round may free what another waits for
            self.now += timedelta(seconds=91)
            for key in sorted(self.services):
                self.reconciler.see()
                self._repair(key)
            self._collect()
        self.a_quota_is_never_exceeded_by_what_is_bound_or_shown()
        served = {key: one.status for key, one in self.services.items() if one.status}
        held = {
            (one["namespace"], one["name"]): (claim_from(document).address,)
            for document in self.stored.allocations.values()
            for one in document["spec"]["holders"]
        }
        assert held == served
        for key in set(self.services) - set(served):
            wanted = {str(pin) for pin in self.services[key].request.pins}
            taken = set(self.stored.allocations)
            quota = QUOTAS[key[0]]
            used_up = quota is not None and sum(one[0] == key[0] for one in served) == quota
            assert used_up or len(taken) == SIZE or (wanted and wanted <= taken), f"{key} waits for nothing"

    def _request(self, namespace: str, name: str, shown: list[str]) -> ServiceRequest:
        generated = name == "generated"
        return ServiceRequest(
            applicant=Applicant(namespace, {}, {}, QUOTAS[namespace]),
            name="" if generated else name,
            generate_name="web-" if generated else "",
            ports=HTTP,
            annotated_addresses=tuple(Address.parse(one) for one in shown),
        )

    def _admit(self, webhook: Replica, request: ServiceRequest, *, strict: bool) -> tuple[bool, Decision]:
        """The claim path: propose, judge, and only then commit."""
        for pass_over in webhook.claims.attempts():
            writes = self.stored.writes()
            with (
                webhook.claims.propose(request, Occasion.CREATION, pass_over=pass_over) as proposal,
                suppress(LostRace),
            ):
                decision = proposal.decision
                allowed = decision.refusal is None if strict else decision.outcome is not Outcome.DENIED
                if allowed:
                    webhook.claims.commit(proposal)
                else:
                    assert self.stored.writes() == writes
                return allowed, decision
        raise AssertionError("lost every race with nobody else about")

    def _store(self, request: ServiceRequest) -> None:
        self.serial += 1
        name = request.name or f"web-{self.serial}"
        seen = replace(request, name=name, uid=f"uid-{self.serial}")
        self.services[request.namespace, name] = Service(seen)
        self.stored.services.add((request.namespace, name))

    def _repair(self, key: tuple[str, str]) -> None:
        service = self.services[key]
        decision = self.reconciler.claims.bind(service.asks())
        service.status = tuple(place.address for place in decision.placements)
        for claim in self.reconciler.cache.held_by(*key):
            holder = claim.holder(*key)
            if claim.address in service.status or holder is None:
                continue
            with suppress(LostRace):
                if holder.uid is None:
                    self.reconciler.claims.drop(claim, [holder], why="over the quota")
                else:  # it moved, and held both for a moment
                    self.reconciler.claims.release(
                        claim, namespace=key[0], name=key[1], reuse_delay=timedelta(), why="moved"
                    )

    def _collect(self) -> None:
        self.reconciler.see()
        before = write_time(self.now - timedelta(seconds=90))
        for claim in self.reconciler.cache.unbound():
            expired = [
                holder
                for holder in lifecycle.expired(claim, before=before)
                if (holder.namespace, holder.name) not in self.services
            ]
            if expired:
                self.reconciler.claims.drop(claim, expired, why="expired")

    def _reservations(self, namespace: str) -> set[str]:
        return {
            name
            for name, document in self.stored.allocations.items()
            for holder in document["spec"]["holders"]
            if holder["namespace"] == namespace and not holder.get("uid")
        }

    def _holders_outside(self, namespace: str) -> list[str]:
        return sorted(
            f"{name} {holder}"
            for name, document in self.stored.allocations.items()
            for holder in document["spec"]["holders"]
            if holder["namespace"] != namespace
        )

    def _bound_claims(self, request: ServiceRequest) -> dict[str, object]:
        return {
            name: document
            for name, document in self.stored.allocations.items()
            for holder in document["spec"]["holders"]
            if (holder["namespace"], holder.get("name")) == (request.namespace, request.name) and holder.get("uid")
        }


Reservations.TestCase.settings = settings(max_examples=examples(150), stateful_step_count=40, deadline=None)
TestReservations = Reservations.TestCase
