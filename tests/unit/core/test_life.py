"""The whole life of addresses as pure values: admission, repair and collection in any order, over the same functions.

Services are admitted or stored behind the webhook's back, migrated with addresses in their status, changed, denied,
deleted; quotas and pools change under them; claims are lost. What may never happen is checked after every step, what
must be true in the end once everybody has been repaired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from allocator.core import lifecycle
from allocator.core.addresses import Address, Family
from allocator.core.claims import Claim, ClaimState, ForeignHost, Port
from allocator.core.conflicts import judge, orphaned
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.pools import Applicant, Pool, ServiceAllocation, ShrinkPolicy, owning_pool
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.securing import secured
from allocator.core.verdicts import Decision, How, Outcome
from tests.unit.core.builders import DUAL, pool
from tests.unit.core.sharing_rule import allowed
from tests.unit.effort import examples

Key = tuple[str, str]

NAMES = st.sampled_from(["a", "b", "c", "d"])
NAMESPACES = st.sampled_from(["prod", "team"])
PORTS = (Port("TCP", 80), Port("TCP", 443), Port("UDP", 53))
ADDRESSES = tuple(Address.parse(f"10.0.0.{number}") for number in range(1, 7))
SIX = pool("six", "2001:db8::1-2001:db8::2")
LAYOUTS = {
    "whole": {"p": ("10.0.0.1-10.0.0.6",)},
    "split": {"p": ("10.0.0.1-10.0.0.3",), "q": ("10.0.0.4-10.0.0.6",)},
    "renamed": {"r": ("10.0.0.1-10.0.0.6",)},
    "narrowed": {"p": ("10.0.0.1-10.0.0.2",)},
    "narrowed from below": {"p": ("10.0.0.5-10.0.0.6",)},
    "deleted": {},
}
ASKS = st.fixed_dictionaries(
    {
        "ports": st.frozensets(st.sampled_from(PORTS), min_size=1),
        "sharing_key": st.sampled_from(["", "k", "k", "other"]),
        "local_traffic": st.sampled_from([False, False, True]),
        "sharing_namespaces": st.sampled_from([None, None, frozenset({"*"}), frozenset({"prod"})]),
        "pins": st.sampled_from([(), (), (ADDRESSES[0],), (ADDRESSES[4],), (Address.parse("192.0.2.1"),)]),
        "pool_name": st.sampled_from([None, None, None, "p", "q", "nope"]),
        "policy": st.sampled_from(list(FamilyPolicy)),
        "malformed": st.sampled_from(["", "", "", "cannot be read"]),
    }
)


@dataclass(slots=True)
class Stored:
    """A Service as the API server has it."""

    request: ServiceRequest
    created: int
    status: tuple[Address, ...] = ()
    annotated: tuple[Address, ...] = ()
    pool: str = ""


class Life(RuleBasedStateMachine):
    """Writes the ledger as allocator and reconciler do, one step at a time."""

    @initialize()
    def start(self) -> None:
        self.book = Ledger()
        self.services: dict[Key, Stored] = {}
        self.quotas: dict[str, int] = {}
        self.pools: list[Pool] = [pool("p", "10.0.0.1-10.0.0.6"), SIX]
        self.clock = 0
        self.expired_before = ""
        self.uids = 0
        self.cools = True

    # What happens to Services.

    @rule(name=NAMES, namespace=NAMESPACES, asks=ASKS, webhook=st.booleans(), stored=st.booleans())
    def apply(self, name: str, namespace: str, asks: dict[str, object], webhook: bool, stored: bool) -> None:
        """A creation or an update; admitted or not, and then stored or refused by something else."""
        known = self.services.get((namespace, name))
        request = self._read(namespace, name, asks)
        if known is not None:
            request = replace(request, uid=known.request.uid, status_addresses=known.status)
        annotated = known.annotated if known is not None else ()
        if webhook:
            decision = self._decide(replace(request, annotated_addresses=annotated))
            if decision.outcome is Outcome.DENIED or request.malformed:
                return
            annotated = self._admit(request, decision, created=known is None)
        if not stored:
            return
        if known is None:
            self._store((namespace, name), request, annotated=annotated)
        else:
            known.request, known.annotated = replace(request, status_addresses=()), annotated

    @rule(namespace=NAMESPACES, asks=ASKS, again=st.booleans(), stored=st.booleans())
    def apply_with_generate_name(self, namespace: str, asks: dict[str, object], again: bool, stored: bool) -> None:
        if sum(name.startswith("gen-") for _, name in self.services) >= 3:
            return
        request = replace(self._read(namespace, "", asks), generate_name="gen-")
        annotated: tuple[Address, ...] = ()
        for _ in range(2 if again else 1):
            request = replace(request, annotated_addresses=annotated)
            decision = self._decide(request)
            if decision.outcome is Outcome.DENIED or request.malformed:
                return
            annotated = self._admit(request, decision, created=True)
        if stored:
            self.uids += 1
            self._store((namespace, f"gen-{self.uids}"), request, annotated=annotated)

    @rule(name=NAMES, namespace=NAMESPACES, asks=ASKS, shows=st.sampled_from(ADDRESSES))
    def migrate(self, name: str, namespace: str, asks: dict[str, object], shows: Address) -> None:
        """A Service that MetalLB served before, or that a restore brings; adoption comes before anything else."""
        if (namespace, name) in self.services:
            return
        self._store((namespace, name), self._read(namespace, name, asks), status=(shows,), pool="p")
        self._adopt()

    @rule(
        address=st.sampled_from(ADDRESSES[:3]),
        names=st.permutations(["a", "b", "c"]),
        namespaces=st.tuples(NAMESPACES, NAMESPACES, NAMESPACES),
    )
    def share(self, address: Address, names: list[str], namespaces: tuple[str, ...]) -> None:
        """Three Services ask for one address that they may share, one after the other, as far as it is free."""
        for name, namespace, port in zip(names, namespaces, PORTS, strict=True):
            asks: dict[str, object] = {
                "ports": frozenset({port}),
                "sharing_key": "k",
                "local_traffic": False,
                "sharing_namespaces": None,
                "pins": (address,),
                "pool_name": None,
                "policy": FamilyPolicy.SINGLE,
                "malformed": "",
            }
            self.apply(name=name, namespace=namespace, asks=asks, webhook=True, stored=True)
            self._repair((namespace, name))

    @rule(
        which=st.integers(0, 20),
        needs=st.fixed_dictionaries(
            {},
            optional={
                "ports": st.frozensets(st.sampled_from(PORTS), min_size=1),
                "sharing_key": st.sampled_from(["", "k", "other"]),
                "local_traffic": st.booleans(),
                "sharing_namespaces": st.sampled_from([None, frozenset({"*"}), frozenset({"prod"})]),
            },
        ),
        repaired=st.booleans(),
    )
    def change_needs(self, which: int, needs: dict[str, object], repaired: bool) -> None:
        """A Service that shares an address changes what it needs, so that the others may be in its way."""
        shared = [claim for claim in self.book if claim.in_use and len(claim.holders) > 1]
        sharers = sorted(
            {(one.namespace, one.name) for claim in shared for one in claim.holders} & set(self.services)
        )
        if sharers:
            key = sharers[which % len(sharers)]
            service = self.services[key]
            service.request = replace(service.request, **needs)  # type: ignore[arg-type]
            if repaired:
                self._repair(key)

    @rule(name=NAMES, namespace=NAMESPACES)
    def delete(self, name: str, namespace: str) -> None:
        self.services.pop((namespace, name), None)

    # What happens around them.

    @rule(namespace=NAMESPACES, quota=st.sampled_from([None, 0, 1, 2]))
    def set_quota(self, namespace: str, quota: int | None) -> None:
        self.quotas.pop(namespace, None)
        if quota is not None:
            self.quotas[namespace] = quota

    @rule(
        layout=st.sampled_from(list(LAYOUTS)),
        policy=st.sampled_from([ShrinkPolicy.DRAIN, ShrinkPolicy.REASSIGN]),
        allows=st.sampled_from([None, True, False]),
        open_to=st.sampled_from([None, None, "prod"]),
        auto=st.booleans(),
    )
    def change_pools(
        self, layout: str, policy: ShrinkPolicy, allows: bool | None, open_to: str | None, auto: bool
    ) -> None:
        allocation = ServiceAllocation(namespaces=frozenset({open_to})) if open_to else None
        self.pools = [
            pool(
                name,
                *ranges,
                shrink_policy=policy,
                allow_cross_namespace_sharing=allows,
                allocation=allocation,
                auto_assign=auto,
            )
            for name, ranges in LAYOUTS[layout].items()
        ]
        self.pools.append(SIX)

    @rule(answered=st.dictionaries(st.sampled_from(ADDRESSES), st.integers(1, 4), max_size=6), layer2=st.booleans())
    def foreign_hosts_answer(self, answered: dict[Address, int], layer2: bool) -> None:
        """What the LAN answers to the speakers, as the reconciler takes it."""
        answers = {address: ForeignHost(mac=f"02:00:00:00:00:0{number}") for address, number in answered.items()}
        freed = list(orphaned(self.book, {one.name: one for one in self.pools}))
        for one in self.pools:
            judgement = judge(one, answers, announced=layer2, ledger=self.book, now=self._now())
            for claim in judgement.marked:
                self.book.put(claim)
            freed += judgement.freed
        for claim in freed:
            self.book.discard(claim.address)
        pools = {one.name: one for one in self.pools}
        for claim in self.book.conflicted():
            assert layer2, "nobody asks, and nothing frees it"
            assert claim.address in answers, "nobody answers for it any more"
            assert pools[claim.pool].contains(claim.address), "nothing frees it"

    @rule()
    def lose_all_claims(self) -> None:
        """IPAllocations deleted by hand or not in the backup; the next leader adopts first."""
        for claim in tuple(self.book):
            self.book.discard(claim.address)
        self._adopt()

    @rule(cools=st.booleans())
    def let_time_pass(self, cools: bool) -> None:
        """Every reservation made so far is too old now, and what has cooled is free; all was repaired long before."""
        self.cools = cools
        for key in tuple(self.services):
            self._repair(key)
        self.expired_before = self._now()
        self._collect_all()

    def _collect_all(self) -> None:
        for claim in tuple(self.book):
            self._collect(claim)

    @rule(name=NAMES, namespace=NAMESPACES)
    def repair_one(self, name: str, namespace: str) -> None:
        self._repair((namespace, name))

    @rule(backwards=st.booleans())
    def repair_all(self, backwards: bool) -> None:
        """Everybody is repaired until nothing changes any more, whatever the order; then all must be true."""
        for _ in range(8):
            before = self._picture()
            keys = sorted({*self.services, *self._named_holders()}, key=str, reverse=backwards)
            for key in keys:
                self._repair(key)
            self._collect_all()
            if self._picture() == before:
                break
        else:
            raise AssertionError("repairs do not converge")
        self._check_rest()

    @invariant()
    def what_a_status_shows_is_never_free(self) -> None:
        for key, service in self.services.items():
            for address in service.status:
                claim = self.book.at(address)
                assert claim is not None, f"{key} shows {address}, and no claim holds it"
                assert claim.in_use, f"{key} shows {address}, which cools"

    # Once everybody is repaired.

    def _check_rest(self) -> None:
        for claim in self.book:
            if not claim.in_use:
                continue
            owner = owning_pool(claim.address, self.pools, recorded=claim.pool)
            allows = owner.allow_cross_namespace_sharing if owner is not None else None
            for index, holder in enumerate(claim.holders[1:], start=1):
                assert allowed(claim.holders[0], claim.holders[:index], holder, allows), claim
            for holder in claim.holders:
                service = self.services.get((holder.namespace, holder.name))
                if service is None or holder.uid is None:
                    assert holder.uid is None, "who is gone holds nothing"
                    assert holder.since >= self.expired_before, "what was never stored does not stay"
                    continue
                assert holder.uid == service.request.uid
                assert claim.address in service.status, "whoever holds an address shows it"
                assert owner is None or claim.pool == owner.name, "the claim names the pool that has the address"
        for key, service in self.services.items():
            assert len({address.family for address in service.status}) == len(service.status)
            for address in service.status:
                known = self.book.at(address)
                assert known is not None
                assert known.holder(*key) is not None, "what a status shows the Service holds"

    # The shell, as allocator, repair and collection do it.

    def _now(self) -> str:
        self.clock += 1
        return f"{self.clock:09}"

    def _read(self, namespace: str, name: str, asks: dict[str, object]) -> ServiceRequest:
        families = (Family.IPV4,) if asks["policy"] is FamilyPolicy.SINGLE else DUAL
        return ServiceRequest(
            applicant=Applicant(namespace, {}, {}, self.quotas.get(namespace)),
            name=name,
            families=families,
            backend_key="app=x" if asks["local_traffic"] else "",
            **asks,  # type: ignore[arg-type]
        )

    def _store(
        self,
        key: Key,
        request: ServiceRequest,
        *,
        annotated: tuple[Address, ...] = (),
        status: tuple[Address, ...] = (),
        pool: str = "",
    ) -> None:
        self.uids += 1
        stored = replace(request, name=key[1], uid=str(self.uids), annotated_addresses=(), status_addresses=())
        self.services[key] = Stored(stored, self.uids, status, annotated, pool)

    def _request(self, key: Key) -> ServiceRequest:
        service = self.services[key]
        return replace(
            service.request,
            applicant=Applicant(key[0], {}, {}, self.quotas.get(key[0])),
            status_addresses=service.status,
            annotated_addresses=service.annotated,
            recorded_pools=(service.pool,) if service.pool else (),
        )

    def _decide(self, request: ServiceRequest) -> Decision:
        decision = decide(request, pools=self.pools, ledger=self.book)
        for place in decision.placements:
            asked_for = place.address in (*request.pins, *request.status_addresses)
            assert place.how is not How.CONFLICTED or asked_for, "another host has it, and nobody asked for it"
        return decision

    def _admit(self, request: ServiceRequest, decision: Decision, *, created: bool) -> tuple[Address, ...]:
        if decision.outcome is Outcome.ASSIGNED:
            write = lifecycle.reserve if created else lifecycle.renew
            for place in decision.placements:
                self.book.put(write(place, request, now=self._now(), renew_before=self.expired_before))
        return tuple(place.address for place in decision.placements)

    def _adopt(self) -> None:
        for key in sorted(self.services, key=lambda key: self.services[key].created):
            self._secure(key)

    def _secure(self, key: Key) -> None:
        mine = self.services[key]
        showing = [one for one, other in self.services.items() if set(other.status) & set(mine.status)]
        for one in sorted(showing, key=lambda one: self.services[one].created):
            if self.services[one].created > mine.created:
                continue
            request = self._request(one)
            for place in secured(request, pools=self.pools, ledger=self.book):
                self.book.put(lifecycle.bind(place, request, now=self._now()))

    def _repair(self, key: Key) -> None:
        if key not in self.services:
            for claim in self.book.held_by(*key):
                self._release(claim, key)
            return
        service = self.services[key]
        self._secure(key)
        request = self._request(key)
        held = {claim.address: claim for claim in request.claims_in(self.book)}
        decision = self._decide(request)
        self._check_nothing_is_dropped(request, decision, set(held))
        for place in decision.placements:
            self.book.put(lifecycle.bind(place, request, now=self._now()))
        service.status = service.annotated = tuple(place.address for place in decision.placements)
        service.pool = decision.placements[0].pool if decision.placements else ""
        for claim in self.book.held_by(*key):
            if claim.address not in service.status:
                self._release(claim, key)

    def _check_nothing_is_dropped(self, request: ServiceRequest, decision: Decision, held: set[Address]) -> None:
        if decision.refusal is None:
            return
        given_up = decision.lost_share.message if decision.lost_share is not None else ""
        placed = {place.address for place in decision.placements}
        for address in request.status_addresses:
            claim = self.book.at(address)
            if address not in held or claim is None or f"gives up {address}," in given_up:
                continue
            # A pool that reassigns moves a Service to what it has reserved elsewhere already.
            moved = claim.reassign and any(one in held and one.family is address.family for one in placed)
            assert address in placed or moved, decision.refusal.message

    def _release(self, claim: Claim, key: Key) -> None:
        holder = claim.holder(*key)
        assert holder is not None
        if holder.uid is None and holder.since >= self.expired_before:
            return
        left = lifecycle.leave(claim, *key, now=self._now(), cool=self.cools)
        if left is None:
            self.book.discard(claim.address)
        else:
            self.book.put(left)
        # Who shows an address without holding it is in the queue: to be moved, or to have it now that it is free.
        for other, service in tuple(self.services.items()):
            if claim.address in service.status and other != key:
                self._secure(other)

    def _collect(self, claim: Claim) -> None:
        if not claim.in_use:
            if claim.state is ClaimState.COOLING and claim.released_at < self.expired_before:
                self.book.discard(claim.address)
            return
        gone = [
            one for one in lifecycle.expired(claim, before=self.expired_before) if not self._is_stored(one, claim)
        ]
        left = lifecycle.drop(claim, gone)
        if left is None:
            self.book.discard(claim.address)
        elif gone:
            self.book.put(left)

    def _is_stored(self, holder: object, claim: Claim) -> bool:
        return any(self._request(key).holder_in(claim) is holder for key in self.services)

    def _named_holders(self) -> Iterator[Key]:
        for claim in self.book:
            yield from ((holder.namespace, holder.name) for holder in claim.holders if holder.name and claim.in_use)

    def _picture(self) -> object:
        claims = {
            (one.address, one.pool, one.state, tuple(replace(h, since="") for h in one.holders)) for one in self.book
        }
        return frozenset(claims), {key: service.status for key, service in self.services.items()}


Life.TestCase.settings = settings(max_examples=examples(120), stateful_step_count=30, deadline=None)
TestLife = Life.TestCase
