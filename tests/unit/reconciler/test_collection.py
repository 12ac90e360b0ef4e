"""When a claim is next looked at: an index that follows the changes, whatever a claim says of its times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from allocator.core.claims import Claim, Holder
from allocator.kube.client import ApiError, Object
from allocator.kube.lease import NotLeading
from allocator.kube.reflector import Change
from allocator.kube.timestamps import write_time
from allocator.objects.names import IP_ALLOCATIONS
from allocator.reconciler.collection import Collection

START = datetime(2026, 1, 1, tzinfo=UTC)
AGE = timedelta(seconds=90)


class Claims:
    """What is mirrored, and what was asked to be taken away; an address in `refused` cannot be."""

    def __init__(self) -> None:
        self.stored: dict[str, Object] = {}
        self.gone: list[str] = []
        self.tried: list[str] = []
        self.refused: set[str] = set()
        self.withdrawn: list[tuple[str, list[str]]] = []
        self.looked_up = 0

    def claim_document(self, name: str) -> Object | None:
        self.looked_up += 1
        return self.stored.get(name)

    def delete(self, claim: Claim) -> None:
        self._take(claim)

    def withdraw_announcement(self, claim: Claim, conditions: list[Object]) -> None:
        self.withdrawn.append((claim.address.claim_name, [one["type"] for one in conditions]))

    def drop(self, claim: Claim, gone: list[Holder], *, why: str) -> None:
        assert gone
        assert why
        self._take(claim)

    def _take(self, claim: Claim) -> None:
        self.tried.append(claim.address.claim_name)
        if claim.address.claim_name in self.refused:
            raise ApiError(403, "Forbidden", "no")
        self.gone.append(claim.address.claim_name)


class Bench:
    """A Collection on a clock of the test's."""

    def __init__(self) -> None:
        self.now = START
        self.claims = Claims()
        self.leads = True
        self.queued: list[tuple[str, str]] = []
        self.collection = Collection(
            self.claims,  # type: ignore[arg-type]
            self.claims,  # type: ignore[arg-type]
            require_leadership=self._require,
            tentative_age=AGE,
            now=lambda: self.now,
        )

    def _require(self) -> None:
        if not self.leads:
            raise NotLeading("test")

    def store(self, name: str, state: str, *holders: dict[str, Any], **spec: Any) -> None:
        document = {
            "status": spec.pop("status", {}),
            "metadata": {"name": name, "resourceVersion": "1", **spec.pop("metadata", {})},
            "spec": {"pool": "p", "state": state, "holders": list(holders), **spec},
        }
        old, self.claims.stored[name] = self.claims.stored.get(name), document
        self.collection.note(Change(IP_ALLOCATIONS, ("", name), old, document, "1"))

    def sweep_after(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.collection.sweep(self.queued.append)


def unnamed(since: datetime | str = START) -> dict[str, Any]:
    text = since if isinstance(since, str) else write_time(since)
    return {"namespace": "default", "generateName": "web-", "since": text}


def test_an_unnamed_holder_goes_when_it_has_aged_and_not_before() -> None:
    bench = Bench()
    bench.store("192.0.2.1", "Tentative", unnamed())
    bench.sweep_after(89)
    assert bench.claims.gone == []
    bench.sweep_after(2)
    assert bench.claims.gone == ["192.0.2.1"]


def test_a_named_reservation_is_left_to_the_repair_of_its_service() -> None:
    bench = Bench()
    bench.store("192.0.2.1", "Tentative", {"namespace": "default", "name": "web", "since": write_time(START)})
    bench.sweep_after(91)
    assert bench.queued == [("default", "web")]
    assert bench.claims.gone == []


@pytest.mark.parametrize("since", ["", "2026-01-01T00:00:00"])
def test_a_holder_without_a_proper_time_does_not_stay_for_ever(since: str) -> None:
    bench = Bench()
    bench.store("192.0.2.1", "Tentative", unnamed(since))
    bench.sweep_after(91)
    assert bench.claims.gone == ["192.0.2.1"]


@pytest.mark.parametrize(
    "until", ["", "tomorrow", "2026-13-01T00:00:00Z", "2025-12-31t00:00:00z", "2025-12-31T00:00:00"]
)
@pytest.mark.parametrize("released", ["", "yesterday", "2025-12-30T00:00:00Z"])
def test_a_cooling_address_without_a_proper_end_does_not_cool_for_ever(until: str, released: str) -> None:
    bench = Bench()
    bench.store("10.0.0.1", "Cooling", coolUntil=until, releasedAt=released)
    bench.sweep_after(1)
    assert bench.claims.gone == ["10.0.0.1"]


def test_what_is_not_due_is_not_looked_at() -> None:
    bench = Bench()
    for number in range(200):
        bound = {"namespace": "default", "name": f"web-{number}", "uid": "1", "since": write_time(START)}
        bench.store(f"192.0.2.{number}", "Bound", bound)
    bench.store("192.0.3.1", "Tentative", unnamed())
    bench.sweep_after(80)
    assert bench.claims.looked_up == 0
    bench.sweep_after(20)
    assert bench.claims.looked_up == 1


def test_one_that_cannot_be_taken_is_tried_again_later_and_stops_no_other() -> None:
    bench = Bench()
    cooled = write_time(START)
    bench.claims.refused.add("192.0.2.1")
    for number in (1, 2, 3):
        last = {"namespace": "default", "name": "web", "uid": "1", "since": cooled}
        bench.store(f"192.0.2.{number}", "Cooling", last, releasedAt=cooled, coolUntil=cooled)
    for _ in range(10):
        bench.sweep_after(1)
    assert bench.claims.gone == ["192.0.2.2", "192.0.2.3"]
    assert bench.claims.tried.count("192.0.2.1") == 1
    bench.sweep_after(20)
    assert bench.claims.tried.count("192.0.2.1") == 2


def test_one_that_is_being_deleted_already_is_not_asked_for() -> None:
    bench = Bench()
    bench.store("192.0.2.1", "Tentative", unnamed(), metadata={"deletionTimestamp": write_time(START)})
    bench.sweep_after(1000)
    assert bench.claims.tried == []


def test_a_cooling_address_is_shown_as_announced_by_no_node_and_kept_until_it_has_cooled() -> None:
    bench = Bench()
    last = {"namespace": "default", "name": "web", "uid": "1", "since": write_time(START)}
    cooling = {"releasedAt": write_time(START), "coolUntil": write_time(START + timedelta(seconds=60))}
    conditions = [{"type": "Ready"}, {"type": "AddressConflict"}]
    status = {"announcedBy": {"node": "node-1"}, "conditions": conditions}
    bench.store("192.0.2.1", "Cooling", last, status=status, **cooling)
    bench.store("192.0.2.2", "Cooling", last, **cooling)
    bench.store("192.0.2.3", "Bound", last, status=status)
    bench.sweep_after(2)
    assert bench.claims.withdrawn == []
    bench.sweep_after(2)
    assert bench.claims.withdrawn == [("192.0.2.1", ["AddressConflict"])]
    bench.store("192.0.2.1", "Cooling", last, status={"conditions": conditions[1:]}, **cooling)
    bench.sweep_after(50)
    assert (bench.claims.withdrawn, bench.claims.gone) == ([("192.0.2.1", ["AddressConflict"])], [])
    bench.sweep_after(10)
    assert sorted(bench.claims.gone) == ["192.0.2.1", "192.0.2.2"]


def test_an_address_that_began_to_cool_after_it_was_due_otherwise_cools_for_its_whole_time() -> None:
    bench = Bench()
    bench.store("192.0.2.1", "Tentative", unnamed())
    until = write_time(START + timedelta(seconds=200))
    released = bench.claims.stored["192.0.2.1"]["spec"] | {"state": "Cooling", "coolUntil": until}
    bench.claims.stored["192.0.2.1"] = {**bench.claims.stored["192.0.2.1"], "spec": released}
    bench.sweep_after(91)
    assert bench.claims.gone == []


def test_a_leader_that_ends_loses_nothing_that_is_due() -> None:
    bench = Bench()
    bench.store("192.0.2.1", "Tentative", unnamed())
    bench.leads = False
    with pytest.raises(NotLeading):
        bench.sweep_after(91)
    bench.leads = True
    bench.sweep_after(0)
    assert bench.claims.gone == ["192.0.2.1"]


def test_the_index_does_not_grow_with_changes() -> None:
    bench = Bench()
    for round_ in range(1000):
        until = write_time(START + timedelta(days=1, seconds=round_))
        last = {"namespace": "default", "name": "web", "uid": "1", "since": write_time(START)}
        bench.store("192.0.2.1", "Cooling", last, releasedAt=write_time(START), coolUntil=until)
    assert len(bench.collection._heap) <= 100
