"""Whatever Services ask for, in whatever order: what may never happen does not."""

from itertools import combinations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from allocator.core.addresses import Address, Family
from allocator.core.claims import Port
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.pools import Pool, ServiceAllocation
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.verdicts import Outcome, RefusalKind
from tests.unit.core.builders import DUAL, apply, ask, pool, release
from tests.unit.effort import examples

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
NAMESPACES = st.sampled_from(["prod", "dev"])
PORTS = st.frozensets(st.sampled_from([Port("TCP", 80), Port("TCP", 443), Port("UDP", 53)]), min_size=1)
PINS = st.sampled_from(["10.0.0.0", "10.0.0.1", "10.0.1.9", "2001:db8::1", "10.9.9.9"])


class Allocation(RuleBasedStateMachine):
    """Services come, change and go; the ledger is written as the shell writes it."""

    @initialize()
    def start(self) -> None:
        self.book = Ledger()
        self.requests: dict[tuple[str, str], ServiceRequest] = {}
        self.pools: list[Pool] = [
            pool("small", "10.0.0.0-10.0.0.2", avoid_buggy_ips=True),
            pool("dev", "10.0.1.9", "2001:db8::/126", allocation=ServiceAllocation(namespaces=frozenset({"dev"}))),
            pool("asked", "10.0.2.0-10.0.2.1", auto_assign=False),
        ]

    @rule(
        name=NAMES,
        namespace=NAMESPACES,
        ports=PORTS,
        key=st.sampled_from(["", "k"]),
        pins=st.lists(PINS, max_size=2),
        named_pool=st.sampled_from([None, None, "asked", "dev", "nope"]),
        policy=st.sampled_from(list(FamilyPolicy)),
    )
    def ask_for(self, name, namespace, ports, key, pins, named_pool, policy) -> None:  # type: ignore[no-untyped-def]
        families = (Family.IPV4,) if policy is FamilyPolicy.SINGLE else DUAL
        request = ask(
            name, namespace=namespace, ports=ports, sharing_key=key, pins=tuple(pins), pool_name=named_pool,
            policy=policy, families=families,
        )  # fmt: skip
        decision = decide(request, pools=self.pools, ledger=self.book)
        again = decide(request, pools=list(reversed(self.pools)), ledger=self.book)
        assert decision == again, "the same inputs give the same answer, whatever order pools are listed in"
        if decision.outcome is Outcome.DENIED:
            return
        self._check_refusal(request, decision)
        self._check_places(request, decision)
        self.requests[namespace, name] = request
        apply(decision, request, self.book)
        self._give_way()

    def _give_way(self) -> None:
        """What the reconciler does for the fellow holders of a claim that has changed."""
        shared = [one for claim in self.book if claim.in_use and len(claim.holders) > 1 for one in claim.holders]
        for holder in shared:
            request = self.requests[holder.namespace, holder.name]
            apply(decide(request, pools=self.pools, ledger=self.book), request, self.book)

    @rule(name=NAMES, namespace=NAMESPACES)
    def go(self, name: str, namespace: str) -> None:
        request = self.requests.pop((namespace, name), None)
        for held in self.book.held_by(namespace, name):
            assert request is not None
            release(self.book, held, request)

    @rule(name=NAMES, namespace=NAMESPACES)
    def ask_again(self, name: str, namespace: str) -> None:
        request = self.requests.get((namespace, name))
        held = [claim.address for claim in self.book.held_by(namespace, name)]
        if request is None or not held:
            return
        decision = decide(request, pools=self.pools, ledger=self.book)
        assert set(held) <= {place.address for place in decision.placements}, "asking again moves nothing"

    @invariant()
    def nobody_shares_without_right(self) -> None:
        for claim in self.book:
            assert claim.holders
            for one, two in combinations(claim.holders if claim.in_use else (), 2):
                assert claim.sharing_key
                assert one.backend_key == two.backend_key
                assert not one.ports & two.ports

    def _check_places(self, request: ServiceRequest, decision) -> None:  # type: ignore[no-untyped-def]
        families = [place.address.family for place in decision.placements]
        assert len(set(families)) == len(families)
        held = {claim.address for claim in self.book.held_by(request.namespace, request.name)}
        for place in decision.placements:
            if place.address in held:
                continue
            home = next(one for one in self.pools if one.contains(place.address))
            assert home.name == place.pool
            assert home.refuses(request.applicant) is None
            assert home.auto_assign or request.pins or request.pool_name == home.name

    def _check_refusal(self, request: ServiceRequest, decision) -> None:  # type: ignore[no-untyped-def]
        if decision.refusal is None or decision.refusal.kind is not RefusalKind.EXHAUSTED:
            return
        if request.policy is not FamilyPolicy.SINGLE or decision.placements:
            return
        taken = {claim.address for claim in self.book if claim.in_use}
        for one in self.pools:
            usable = one.name == request.pool_name if request.pool_name else one.auto_assign
            if usable and one.refuses(request.applicant) is None:
                every = [Address(r.family, v) for r in one.ranges for v in range(r.first, r.last + 1)]
                free = [a for a in every if a.family is Family.IPV4 and one.contains(a) and a not in taken]
                assert not free, "a free address is never reported as exhausted"


Allocation.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=25, deadline=None)
TestAllocation = Allocation.TestCase
