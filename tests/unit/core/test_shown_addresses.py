"""However Services come to show addresses, and whatever they ask for then: no address shown is ever free, or twice.

Services arrive with a status (a migration, a backup replayed), their requests are malformed or denied, quotas and
pools change, claims are lost. The steps are the reconciler's: secure first, then judge, then show.
"""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from allocator.core import lifecycle
from allocator.core.addresses import Address
from allocator.core.claims import Claim, Port
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.pools import Pool, ServiceAllocation
from allocator.core.requests import ServiceRequest
from allocator.core.securing import age, secured
from allocator.core.sharing import place_among
from allocator.core.verdicts import Outcome
from tests.unit.core.builders import ask, pool
from tests.unit.effort import examples

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
NAMESPACES = st.sampled_from(["prod", "dev"])
SHOWN = st.sampled_from(["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.1.9", "10.9.9.9"])
PORTS = st.frozensets(st.sampled_from([Port("TCP", 80), Port("TCP", 443)]), min_size=1)
MOMENT = "2026-01-01T00:00:00Z"
Key = tuple[str, str]


class Shown(RuleBasedStateMachine):
    """Services and what they show; the ledger is written as the reconciler writes it."""

    @initialize()
    def start(self) -> None:
        self.book = Ledger()
        self.services: dict[Key, ServiceRequest] = {}
        self.created: dict[Key, str] = {}
        self.clock = 0
        self.quota: dict[str, int | None] = {"prod": None, "dev": None}
        self.pools: dict[str, Pool] = {
            "small": pool("small", "10.0.0.0-10.0.0.2"),
            "dev": pool("dev", "10.0.1.9", allocation=ServiceAllocation(namespaces=frozenset({"dev"}))),
        }

    @rule(
        name=NAMES,
        namespace=NAMESPACES,
        shown=st.lists(SHOWN, max_size=1),
        recorded=st.sampled_from([(), ("gone",)]),
        ports=PORTS,
        key=st.sampled_from(["", "k"]),
        pins=st.sampled_from([(), (), ("10.0.0.0",), ("10.0.0.1",), ("10.8.8.8",), ("10.0.0.0", "10.0.0.1")]),
        named_pool=st.sampled_from([None, None, "dev", "nope"]),
        malformed=st.sampled_from(["", "", "two of one family"]),
    )
    def arrive(self, name, namespace, shown, recorded, ports, key, pins, named_pool, malformed) -> None:  # type: ignore[no-untyped-def]
        """A Service is seen for the first time, maybe with a status that somebody else wrote."""
        if (namespace, name) in self.services:
            return
        self.clock += 1
        request = ask(
            name, namespace=namespace, uid=f"uid-{self.clock}", ports=ports, sharing_key=key, pins=pins,
            pool_name=named_pool, status_addresses=tuple(shown), malformed=malformed,
        )  # fmt: skip
        request = replace(request, recorded_pools=recorded)
        self.services[namespace, name] = request
        self.created[namespace, name] = f"{self.clock:06}"
        self.repair((namespace, name))

    @rule(name=NAMES, namespace=NAMESPACES)
    def reserve(self, name: str, namespace: str) -> None:
        """Admission of one that does not exist yet: it is given what is free, and never an address shown."""
        if (namespace, name) in self.services:
            return
        decision = decide(ask(name, namespace=namespace), pools=list(self.pools.values()), ledger=self.book)
        shown = {address for service in self.services.values() for address in service.status_addresses}
        assert not shown & {place.address for place in decision.placements}

    @rule(namespace=NAMESPACES, quota=st.sampled_from([None, 0, 1, 3]))
    def limit(self, namespace: str, quota: int | None) -> None:
        self.quota[namespace] = quota

    @rule(closed=st.booleans(), excluded=st.booleans(), auto_assign=st.booleans(), there=st.booleans())
    def change_pool(self, closed: bool, excluded: bool, auto_assign: bool, there: bool) -> None:
        allocation = ServiceAllocation(namespaces=frozenset({"dev"})) if closed else None
        holes = pool("holes", "10.0.0.1").ranges if excluded else ()
        small = pool("small", "10.0.0.0-10.0.0.2", excluded=holes, auto_assign=auto_assign, allocation=allocation)
        self.pools.pop("small", None)
        if there:
            self.pools["small"] = small
        self.repair_all()

    @rule(
        name=NAMES,
        namespace=NAMESPACES,
        malformed=st.sampled_from(["", "no address"]),
        key=st.sampled_from(["", "k"]),
    )
    def change(self, name: str, namespace: str, malformed: str, key: str) -> None:
        request = self.services.get((namespace, name))
        if request is not None:
            self.services[namespace, name] = replace(request, malformed=malformed, sharing_key=key)
            self.repair_all()

    @rule()
    def lose_the_claims(self) -> None:
        """A backup restored without them, and a leader that adopts: all are secured before anything else."""
        self.book = Ledger()
        self.repair_all()

    @rule(name=NAMES, namespace=NAMESPACES)
    def go(self, name: str, namespace: str) -> None:
        if self.services.pop((namespace, name), None) is not None:
            for claim in self.book.held_by(namespace, name):
                self._let_go(claim, (namespace, name))

    def repair_all(self) -> None:
        eldest = sorted(self.services, key=lambda key: age(self.created[key], *key))
        for key in eldest:
            self._secure(key)
        for key in eldest:
            self.repair(key)

    def repair(self, key: Key) -> None:
        elders = [
            other
            for other in self.services
            if self.created[other] < self.created[key]
            and set(self.services[other].status_addresses) & set(self.services[key].status_addresses)
        ]
        for elder in sorted(elders, key=self.created.__getitem__):
            self._secure(elder)
        self._secure(key)
        request = self._request(key)
        decision = decide(request, pools=list(self.pools.values()), ledger=self.book)
        for place in decision.placements:
            self.book.put(lifecycle.bind(place, request, now=MOMENT))
        placed = {place.address for place in decision.placements}
        mine = {claim.address for claim in self.book.held_by(*key)} | self._held_by_others(key)
        if decision.placements:
            shown: tuple[Address, ...] = tuple(place.address for place in decision.placements)
        else:
            shown = tuple(address for address in request.status_addresses if address not in mine)
        if request.status_addresses and decision.outcome is Outcome.DENIED:
            assert set(request.status_addresses) <= set(shown) | self._held_by_others(key) | self._lost_share(key)
        self.services[key] = replace(self.services[key], status_addresses=shown)
        for claim in self.book.held_by(*key):
            if claim.address not in placed:
                self._let_go(claim, key)

    def _secure(self, key: Key) -> None:
        for place in secured(self._request(key), pools=self.pools.values(), ledger=self.book):
            self.book.put(lifecycle.bind(place, self._request(key), now=MOMENT))

    def _request(self, key: Key) -> ServiceRequest:
        request = self.services[key]
        return replace(request, applicant=replace(request.applicant, quota=self.quota[key[0]]))

    def _held_by_others(self, key: Key) -> set[Address]:
        claims = (self.book.at(address) for address in self.services[key].status_addresses)
        return {claim.address for claim in claims if claim and claim.in_use and not claim.holder(*key)}

    def _lost_share(self, key: Key) -> set[Address]:
        claims = self.book.held_by(*key)
        return {claim.address for claim in claims if place_among(self._request(key), claim, None).obstacle}

    def _let_go(self, claim: Claim, key: Key) -> None:
        left = lifecycle.leave(claim, *key, now=MOMENT, cool=False)
        self.book.discard(claim.address) if left is None else self.book.put(left)

    @invariant()
    def no_shown_address_is_free(self) -> None:
        for key, service in getattr(self, "services", {}).items():
            for address in service.status_addresses:
                claim = self.book.at(address)
                ours = any(pool.spans(address) for pool in self.pools.values())
                if not ours and (claim is None or not service.recorded_pools):
                    # Another load balancer's, which is left alone whoever else shows it.
                    continue
                assert claim is not None, f"{address} is shown by {key} and free"
                assert claim.in_use, f"{address} is shown by {key} and cools"
                assert claim.holder(*key) is not None, f"{address} is shown by {key} and held by others"


TestShown = Shown.TestCase
TestShown.settings = settings(max_examples=examples(60), stateful_step_count=30, deadline=None)
