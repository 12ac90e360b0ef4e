"""Who may hold one address together: every pair and every three of a table, and the order in which they are asked."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.core import lifecycle
from allocator.core.addresses import Address
from allocator.core.claims import Claim, ClaimState, Holder, Port
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.pools import Pool
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.sharing import giving_way, obstacle
from tests.unit.core.builders import DUAL, ask, pool
from tests.unit.core.sharing_rule import allowed

HTTP, HTTPS = frozenset({Port("TCP", 80)}), frozenset({Port("TCP", 443)})
BOTH = HTTP | HTTPS
ADDRESS = Address.parse("10.0.0.1")

KEYS = ("", "k", "other")
POLICIES = ((False, ""), (True, ""), (True, "app=a"), (True, "app=b"))
NAMESPACES = ("prod", "team")
CONSENTS = (None, frozenset({"*"}), frozenset({"prod"}), frozenset({"team"}))
POOL_SAYS = (None, True, False)
PORTS = (HTTP, HTTPS, BOTH)

NEEDS = tuple(
    Holder(namespace=namespace, name="", sharing_key=key, local_traffic=local, backend_key=selector, ports=ports)
    for key, (local, selector), namespace, ports in product(KEYS, POLICIES, NAMESPACES, PORTS)
)


def test_every_pair_of_needs_is_judged_as_the_rule_says() -> None:
    judged = 0
    for first, younger, consent, says in product(NEEDS, NEEDS, CONSENTS, POOL_SAYS):
        older = replace(first, name="old", sharing_namespaces=consent)
        new = replace(younger, name="new")
        found = obstacle((older,), new, pool_allows=says)
        assert (found is None) is allowed(older, (older,), new, says), (older, new, says)
        assert (giving_way((older, new), pool_allows=says)[1] is None) is (found is None)
        if found is not None:
            assert older.label in found.held_text(ADDRESS)
        judged += 1
    assert judged == len(NEEDS) ** 2 * len(CONSENTS) * len(POOL_SAYS)


def test_the_consent_of_a_younger_holder_counts_for_nothing() -> None:
    for consent, says in product(CONSENTS, POOL_SAYS):
        old = Holder(namespace="prod", name="old", sharing_key="k", ports=HTTP)
        new = Holder(namespace="team", name="new", sharing_key="k", ports=HTTPS, sharing_namespaces=consent)
        assert (obstacle((old,), new, pool_allows=says) is None) is (says is not False)


SHARERS = tuple(
    Holder(namespace=namespace, name="", sharing_key=key, local_traffic=local, backend_key=selector, ports=ports)
    for key, (local, selector), namespace, ports in product(
        ("k", "other"), POLICIES[:1] + POLICIES[2:], NAMESPACES, (HTTP, HTTPS, frozenset({Port("UDP", 53)}))
    )
)


def test_of_every_three_those_stay_that_the_older_ones_leave_room_for() -> None:
    for three in product(SHARERS, repeat=3):
        holders = tuple(replace(one, name=name) for one, name in zip(three, "abc", strict=True))
        staying: tuple[Holder, ...] = ()
        for holder, found in zip(holders, giving_way(holders, pool_allows=None), strict=True):
            fits = not staying or allowed(staying[0], staying, holder, None)
            assert (found is None) is fits, holders
            if found is not None:
                assert found.older in staying, "nobody gives way but to an older one that stays"
                assert found.younger is holder
            staying += (holder,) if fits else ()


def _request(holder: Holder) -> ServiceRequest:
    return ask(
        holder.name,
        namespace=holder.namespace,
        uid=holder.uid,
        sharing_key=holder.sharing_key,
        local_traffic=holder.local_traffic,
        backend_key=holder.backend_key,
        ports=holder.ports,
        sharing_namespaces=holder.sharing_namespaces,
        pins=(str(ADDRESS),),
    )


def _settled(claim: Claim, pools: list[Pool], order: tuple[int, ...]) -> tuple[str, ...]:
    """Decide on each holder again and again, in the order given, until nobody's decision changes anything."""
    book = Ledger()
    book.put(claim)
    requests = [_request(holder) for holder in claim.holders]
    for _ in range(len(requests) + 1):
        for index in order:
            request = requests[index]
            known = book.at(ADDRESS)
            if known is None or request.holder_in(known) is None:
                continue
            decision = decide(request, pools=pools, ledger=book)
            if decision.placements:
                book.put(lifecycle.bind(decision.placements[0], request, now="t"))
            else:
                assert decision.lost_share is not None
                left = lifecycle.leave(known, *request.key, now="t", cool=True)
                assert left is not None
                book.put(left)
    known = book.at(ADDRESS)
    assert known is not None
    return tuple(holder.name for holder in known.holders)


HOLDERS = st.builds(
    Holder,
    namespace=st.sampled_from(NAMESPACES),
    name=st.just(""),
    sharing_key=st.sampled_from(("k", "k", "k", "other", "")),
    local_traffic=st.sampled_from((False, False, False, True)),
    ports=st.frozensets(st.sampled_from([Port("TCP", 80), Port("TCP", 443), Port("UDP", 53)]), max_size=2),
    sharing_namespaces=st.sampled_from(CONSENTS),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(HOLDERS, min_size=2, max_size=4), st.sampled_from(POOL_SAYS))
def test_who_stays_depends_on_age_and_never_on_who_is_decided_first(needs: list[Holder], says: bool | None) -> None:
    holders = tuple(replace(one, name=f"s{index}", uid=str(index)) for index, one in enumerate(needs))
    claim = Claim(address=ADDRESS, pool="a", state=ClaimState.BOUND, holders=holders)
    pools = [pool("a", str(ADDRESS), allow_cross_namespace_sharing=says)]
    expected = tuple(
        one.name for one, why in zip(holders, giving_way(holders, pool_allows=says), strict=True) if why is None
    )
    for order in permutations(range(len(holders))):
        assert _settled(claim, pools, order) == expected


class TestTheOlderKeepsIt:
    """The cases by which a younger Service used to cost an older one its address."""

    pools = [pool("a", "10.0.0.1-10.0.0.9")]
    old = ask("web", uid="1", sharing_key="k")
    young = ask("tls", uid="2", namespace="team", sharing_key="k", ports=HTTPS)

    def _after(self, changed: ServiceRequest, other: ServiceRequest) -> tuple[list[str], list[str]]:
        """What both have after the first changed and each was decided on, the changed one first."""
        book = Ledger()
        holders = (self.old.as_holder(), self.young.as_holder())
        book.put(Claim(address=ADDRESS, pool="a", state=ClaimState.BOUND, holders=holders))
        got = []
        for request in (changed, other):
            decision = decide(request, pools=self.pools, ledger=book)
            for place in decision.placements:
                book.put(lifecycle.bind(place, request, now="t"))
            for claim in book.held_by(*request.key):
                if claim.address not in {place.address for place in decision.placements}:
                    left = lifecycle.leave(claim, *request.key, now="t", cool=False)
                    assert left is not None
                    book.put(left)
            got.append([str(place.address) for place in decision.placements])
        return got[0], got[1]

    def test_a_port_that_the_older_adds_is_taken_from_the_younger(self) -> None:
        assert self._after(replace(self.old, ports=BOTH), self.young) == (["10.0.0.1"], ["10.0.0.2"])

    def test_a_port_that_the_younger_adds_costs_the_younger(self) -> None:
        younger, older = self._after(replace(self.young, ports=BOTH), self.old)
        assert (younger, older) == (["10.0.0.2"], ["10.0.0.1"])

    def test_local_on_the_older_costs_the_younger(self) -> None:
        local = replace(self.old, local_traffic=True, backend_key="app=web")
        assert self._after(local, self.young) == (["10.0.0.1"], ["10.0.0.2"])

    def test_consent_withdrawn_by_the_older_costs_the_younger(self) -> None:
        closed = replace(self.old, sharing_namespaces=frozenset({"other"}))
        assert self._after(closed, self.young) == (["10.0.0.1"], ["10.0.0.2"])

    def test_the_older_is_told_whom_it_displaces_and_the_younger_why(self) -> None:
        book = Ledger()
        holders = (self.old.as_holder(), self.young.as_holder())
        book.put(Claim(address=ADDRESS, pool="a", state=ClaimState.BOUND, holders=holders))
        changed = replace(self.old, ports=BOTH)
        older = decide(changed, pools=self.pools, ledger=book)
        assert older.displaced is not None
        assert "team/tls, which joined later, gives up 10.0.0.1" in older.displaced.message
        assert older.displaced.message in older.warnings
        book.put(lifecycle.bind(older.placements[0], changed, now="t"))
        younger = decide(self.young, pools=self.pools, ledger=book)
        assert younger.lost_share is not None
        assert "held by prod/web" in younger.lost_share.message
        again = decide(changed, pools=self.pools, ledger=book)
        assert again.displaced is None, "said once, when it changes"


class TestOtherNamespaces:
    old = ask("web", uid="1", sharing_key="k")
    young = ask("tls", uid="2", namespace="team", sharing_key="k", ports=HTTPS, pins=("10.0.0.1",))

    def _both(self, says: bool | None, consent: frozenset[str] | None) -> tuple[list[str], list[str], list[str]]:
        """The younger's addresses, and what both are warned of."""
        pools = [pool("a", "10.0.0.1-10.0.0.9", allow_cross_namespace_sharing=says)]
        old = replace(self.old, sharing_namespaces=consent)
        book = Ledger()
        book.put(Claim(address=ADDRESS, pool="a", state=ClaimState.BOUND, holders=(old.as_holder(),)))
        young = decide(self.young, pools=pools, ledger=book)
        for place in young.placements:
            book.put(lifecycle.bind(place, self.young, now="t"))
        notes = decide(old, pools=pools, ledger=book).notes
        return (
            [str(place.address) for place in young.placements],
            [note.message for note in young.notes],
            [note.message for note in notes],
        )

    def test_where_nobody_says_anything_they_share_and_both_are_warned(self) -> None:
        addresses, younger, older = self._both(None, None)
        assert addresses == ["10.0.0.1"]
        assert "shares 10.0.0.1 with prod/web of another namespace" in younger[0]
        assert "shares 10.0.0.1 with team/tls of another namespace" in older[0]

    def test_where_either_says_yes_and_none_no_they_share_without_a_warning(self) -> None:
        for says, consent in ((True, None), (None, frozenset({"*"})), (None, frozenset({"team"})), (True, {"team"})):
            assert self._both(says, frozenset(consent) if consent else None) == (["10.0.0.1"], [], [])

    def test_where_either_says_no_they_do_not(self) -> None:
        for says, consent in ((False, None), (False, frozenset({"*"})), (None, {"x"}), (True, {"x"})):
            assert self._both(says, frozenset(consent) if consent else None)[0] == []


class TestNotSharing:
    pools = [pool("a", "10.0.0.1-10.0.0.9", "2001:db8::1-2001:db8::9")]

    def _notes(self, request: ServiceRequest, *holders: Holder) -> list[str]:
        book = Ledger()
        for index, holder in enumerate(holders, start=1):
            address = Address.parse(f"10.0.0.{index}")
            book.put(Claim(address=address, pool="a", state=ClaimState.BOUND, holders=(holder,)))
        return [note.message for note in decide(request, pools=self.pools, ledger=book).notes]

    def test_it_is_told_with_whom_it_could_not_and_why(self) -> None:
        held = replace(ask("web", sharing_key="k").as_holder(), since="t1")
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({}, "which uses the same 80/TCP"),
            ({"ports": HTTPS, "local_traffic": True}, "whose externalTrafficPolicy is Cluster, not Local"),
        )
        for fields, why in cases:
            notes = self._notes(ask("tls", sharing_key="k", **fields), held)
            assert len(notes) == 1
            assert "does not share under key 'k': 10.0.0.1 is held by prod/web" in notes[0]
            assert why in notes[0]

    def test_a_selector_is_named_under_local(self) -> None:
        held = ask("web", sharing_key="k", local_traffic=True, backend_key="app=a").as_holder()
        (note,) = self._notes(ask("tls", sharing_key="k", ports=HTTPS, local_traffic=True, backend_key="b"), held)
        assert "whose selector differs" in note

    def test_the_first_under_a_key_and_those_that_share_are_told_nothing(self) -> None:
        assert self._notes(ask("web", sharing_key="k")) == []
        held = ask("web", sharing_key="k").as_holder()
        assert self._notes(ask("tls", sharing_key="k", ports=HTTPS), held) == []

    def test_one_family_of_two_shared_is_said(self) -> None:
        held = ask("web", sharing_key="k").as_holder()
        both = ask("tls", sharing_key="k", ports=HTTPS, families=DUAL, policy=FamilyPolicy.PREFER_DUAL)
        (note,) = self._notes(both, held)
        assert "shares 10.0.0.1 only" in note
        assert "2001:db8::1 is its own" in note
