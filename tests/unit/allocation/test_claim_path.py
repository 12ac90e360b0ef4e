"""What is written for a proposal, in which case nothing is, and what each case costs in API calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from allocator.allocation.claim_writer import LostRace
from allocator.allocation.proposal import Occasion
from allocator.core.addresses import Family
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.verdicts import Decision, Outcome
from tests.unit.allocation.stored_claims import Replica, StoredClaims, pool
from tests.unit.core.builders import DUAL, HTTPS, ask, given

POOL = pool("main", "10.0.0.0/28")
LIMIT = 3


class Clock:
    """A moment that a test moves on."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stored() -> StoredClaims:
    return StoredClaims()


@pytest.fixture
def replica(stored: StoredClaims, clock: Clock) -> Replica:
    return Replica(stored, POOL, now=clock, max_unbound=LIMIT)


def admit(replica: Replica, request: ServiceRequest, occasion: Occasion = Occasion.CREATION) -> Decision:
    """Allow whatever is proposed."""
    with replica.claims.propose(request, occasion) as proposal:
        replica.claims.commit(proposal)
        return proposal.decision


def generated(number: int, **fields: object) -> ServiceRequest:
    return replace(ask("", **fields), generate_name=f"web{number}-")  # type: ignore[arg-type]


def holders(stored: StoredClaims) -> dict[str, list[str]]:
    return {
        name: [one.get("name") or one["generateName"] for one in document["spec"]["holders"]]
        for name, document in stored.allocations.items()
    }


def test_a_usual_create_costs_one_api_call(replica: Replica, stored: StoredClaims) -> None:
    admit(replica, ask("web"))
    admit(replica, generated(1))
    assert stored.calls == ["create ipallocations"] * 2


def test_binding_costs_one_api_call_and_seeing_it_again_none(replica: Replica, stored: StoredClaims) -> None:
    admit(replica, ask("web"))
    stored.calls.clear()
    for _ in range(2):
        replica.claims.bind(ask("web", uid="u"))
    assert stored.calls == ["replace ipallocations"]


def test_an_update_that_keeps_its_address_costs_none(replica: Replica, stored: StoredClaims) -> None:
    replica.claims.bind(ask("web", uid="u"))
    stored.calls.clear()
    admit(replica, ask("web", uid="u", ports=HTTPS, annotated_addresses=["10.0.0.0"]), Occasion.CHANGE)
    assert stored.calls == []


def test_what_is_not_committed_is_not_written_and_is_free_for_others(replica: Replica, stored: StoredClaims) -> None:
    with replica.claims.propose(ask("web"), Occasion.CREATION) as proposal:
        assert given(proposal.decision) == ["10.0.0.0"]
        assert given(replica.cache.decide(ask("other"))) == ["10.0.0.1"], "counted while it may be committed"
    assert stored.calls == []
    assert given(replica.cache.decide(ask("other"))) == ["10.0.0.0"]


def test_a_swap_that_is_not_committed_leaves_the_claim_as_it_was(replica: Replica, stored: StoredClaims) -> None:
    admit(replica, ask("web"))
    [before] = replica.cache.claims()
    with replica.claims.propose(ask("web", uid="u"), Occasion.SEEN):
        assert replica.cache.claims()[0].holders[0].uid == "u"
    assert replica.cache.claims() == [before]
    assert stored.calls == ["create ipallocations"]


def test_a_repeated_call_on_a_replica_that_is_behind_takes_what_the_first_one_reserved(
    replica: Replica, stored: StoredClaims, clock: Clock
) -> None:
    first = admit(replica, generated(1))
    other = Replica(stored, POOL, now=clock)
    shown = tuple(place.address for place in first.placements)
    assert admit(other, replace(generated(1), annotated_addresses=shown)).placements[0].address == shown[0]
    assert len(stored.allocations) == 1


@pytest.mark.parametrize("asked", [ask("web", ports=HTTPS), ask("web", pins=["10.0.0.9"]), ask("web")])
def test_a_create_for_a_service_that_is_bound_changes_nothing(
    replica: Replica, stored: StoredClaims, asked: ServiceRequest
) -> None:
    replica.claims.bind(ask("web", uid="u"))
    stored.services.add(("prod", "web"))
    stored.calls.clear()
    before = dict(stored.allocations)
    admit(replica, asked)
    assert stored.writes() == []
    assert stored.allocations == before


def test_a_create_after_a_deletion_that_is_not_seen_yet_is_reserved_for(
    replica: Replica, stored: StoredClaims
) -> None:
    replica.claims.bind(ask("web", uid="u"))
    admit(replica, ask("web", ports=HTTPS))
    [document] = stored.allocations.values()
    assert "uid" not in document["spec"]["holders"][0]
    assert [one["port"] for one in document["spec"]["holders"][0]["ports"]] == [80, 443]


def test_beyond_the_limit_the_oldest_reservation_goes_once_it_is_ten_seconds_old(
    replica: Replica, stored: StoredClaims, clock: Clock
) -> None:
    for number in range(LIMIT):
        admit(replica, generated(number))
        clock.pass_by(1)
    pending = admit(replica, generated(8))
    assert pending.outcome is Outcome.PENDING
    assert pending.refusal is None, "not even a strict webhook denies what the reconciler is about to assign"
    assert "prod has 3 addresses reserved" in pending.warnings[0]
    assert len(stored.allocations) == LIMIT

    clock.pass_by(8)  # the first is 11 s old, the others 10 s and 9 s
    assert admit(replica, generated(9)).outcome is Outcome.ASSIGNED
    assert sorted(one for listed in holders(stored).values() for one in listed) == ["web1-", "web2-", "web9-"]
    assert admit(replica, generated(10)).outcome is Outcome.PENDING


def test_other_namespaces_and_what_is_bound_do_not_count(
    replica: Replica, stored: StoredClaims, clock: Clock
) -> None:
    for number in range(LIMIT):
        admit(replica, generated(number, namespace="dev"))
        replica.claims.bind(ask(f"bound-{number}", uid=f"u{number}"))
    clock.pass_by(60)
    before = set(stored.allocations)
    for number in range(LIMIT):
        assert admit(replica, generated(number)).outcome is Outcome.ASSIGNED
    assert before < set(stored.allocations)


def test_a_reservation_on_a_shared_claim_goes_and_the_others_on_it_stay(
    replica: Replica, stored: StoredClaims, clock: Clock
) -> None:
    replica.claims.bind(ask("first", uid="u", sharing_key="k"))
    for number in range(LIMIT):
        admit(replica, generated(number, sharing_key="k" if number == 0 else "", ports=HTTPS))
    clock.pass_by(11)
    assert holders(stored)["10.0.0.0"] == ["first", "web0-"]
    admit(replica, generated(9))
    assert holders(stored)["10.0.0.0"] == ["first"]
    assert stored.allocations["10.0.0.0"]["spec"]["state"] == "Bound"


def test_a_repeat_at_the_limit_neither_evicts_nor_waits(replica: Replica, clock: Clock) -> None:
    for number in range(LIMIT):
        admit(replica, ask(f"web-{number}"))
    clock.pass_by(11)
    assert all(admit(replica, ask(f"web-{number}")).outcome is Outcome.ASSIGNED for number in range(LIMIT))


def test_an_update_beyond_the_limit_keeps_what_the_service_shows(replica: Replica) -> None:
    replica.claims.bind(ask("web", uid="u"))
    for number in range(LIMIT):
        admit(replica, generated(number))
    moved = ask("web", uid="u", status_addresses=["10.0.0.0"], pins=["10.0.0.9"])
    decision = admit(replica, moved, Occasion.CHANGE)
    assert decision.outcome is Outcome.PENDING
    assert given(decision) == ["10.0.0.0"]


def test_a_bind_that_loses_every_race_is_tried_again_later_and_costs_no_address(
    replica: Replica, stored: StoredClaims, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica.claims.bind(ask("web", uid="u"))

    def always_newer(*_: object) -> object:
        raise LostRace("10.0.0.0")

    monkeypatch.setattr(replica.claims._writer, "swap", always_newer)
    with pytest.raises(LostRace):
        replica.claims.bind(ask("web", uid="u", ports=HTTPS, status_addresses=["10.0.0.0"]))
    assert list(stored.allocations) == ["10.0.0.0"]


FIRST = "10.0.0.0"


def _free(_: Replica) -> None:
    pass


def _cooling(replica: Replica) -> None:
    replica.claims.bind(ask("former", uid="f"))
    [claim] = replica.cache.held_by("prod", "former")
    replica.claims.release(claim, namespace="prod", name="former", reuse_delay=timedelta(seconds=60), why="test")


def _held_by_a_sharer(replica: Replica) -> None:
    replica.claims.bind(ask("sharer", uid="s", sharing_key="k", ports=HTTPS))


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("occasion", Occasion)
@pytest.mark.parametrize("make", [_free, _cooling, _held_by_a_sharer])
def test_two_addresses_are_claimed_together_or_not_at_all(
    stored: StoredClaims, clock: Clock, make: Callable[[Replica], None], occasion: Occasion, pinned: bool
) -> None:
    """Of whatever kind the first address is, it is as before when the second was somebody else's first."""
    six = pool("six", "2001:db8::1")
    first, second = (Replica(stored, pool("main", FIRST), six, now=clock) for _ in range(2))
    make(first)
    second.see()
    second.claims.bind(ask("taken", uid="t", families=(Family.IPV6,)))
    before = {name: document["spec"] for name, document in stored.allocations.items()}
    stored.events.clear()
    clock.pass_by(7)
    asked = ask(
        "web",
        uid=None if occasion is Occasion.CREATION else "w",
        policy=FamilyPolicy.REQUIRE_DUAL,
        families=DUAL,
        sharing_key="k",
        pins=[FIRST, "2001:db8::1"] if pinned else (),
    )
    with first.claims.propose(asked, occasion) as proposal:
        assert len(proposal.decision.placements) == 2
        with pytest.raises(LostRace):
            first.claims.commit(proposal)
    assert {name: document["spec"] for name, document in stored.allocations.items()} == before
    deleted = [change.old for change in stored.events if change.new is None and change.old is not None]
    bound_and_deleted = [document for document in deleted if document["spec"]["state"] == "Bound"]
    assert bound_and_deleted == [], "to whoever follows claims, somebody else deleted it"
    assert first.cache.held_by("prod", "web") == []


def test_what_a_service_held_before_keeps_its_new_needs_when_a_second_address_is_lost(
    stored: StoredClaims, clock: Clock
) -> None:
    six = pool("six", "2001:db8::1")
    first, second = (Replica(stored, pool("main", FIRST), six, now=clock) for _ in range(2))
    first.claims.bind(ask("web", uid="w"))
    second.see()
    second.claims.bind(ask("taken", uid="t", families=(Family.IPV6,)))
    asked = ask("web", uid="w", ports=HTTPS, policy=FamilyPolicy.REQUIRE_DUAL, families=DUAL)
    with first.claims.propose(asked, Occasion.SEEN) as proposal, pytest.raises(LostRace):
        first.claims.commit(proposal)
    assert [one["port"] for one in stored.allocations[FIRST]["spec"]["holders"][0]["ports"]] == [443]


@pytest.mark.parametrize("stored_services", range(5))
def test_no_reservation_of_a_service_that_is_stored_is_evicted(
    stored: StoredClaims, clock: Clock, stored_services: int
) -> None:
    replica = Replica(stored, POOL, now=clock, max_unbound=5)
    for number in range(5):
        admit(replica, ask(f"old-{number}"))
        clock.pass_by(1)
    clock.pass_by(10)
    stored.services.update(("prod", f"old-{number}") for number in range(stored_services))

    decision = admit(replica, ask("new"))

    reserved = {name for names in holders(stored).values() for name in names}
    assert {f"old-{number}" for number in range(stored_services)} <= reserved
    given_one = stored_services < 4
    assert decision.outcome is (Outcome.ASSIGNED if given_one else Outcome.PENDING)
    assert len(reserved) == 5
    assert f"old-{stored_services}" not in reserved or not given_one


def test_what_another_call_only_plans_to_write_is_not_told(replica: Replica, stored: StoredClaims) -> None:
    replica.claims.bind(ask("first", uid="f", sharing_key="k"))
    call = ask("web", sharing_key="k", ports=HTTPS)
    with replica.claims.propose(call, Occasion.CREATION) as planned:
        assert given(planned.decision) == ["10.0.0.0"]
        with replica.claims.propose(call, Occasion.CREATION) as repeated, pytest.raises(LostRace):
            replica.claims.commit(repeated)
    assert holders(stored) == {"10.0.0.0": ["first"]}
