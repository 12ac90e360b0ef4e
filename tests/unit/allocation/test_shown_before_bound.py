"""What a Service waits for is written first: what is reserved for it is shown before it is bound, nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from allocator.allocation.claim_writer import LostRace
from allocator.allocation.proposal import Occasion
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision
from tests.unit.allocation.stored_claims import Replica, StoredClaims, pool
from tests.unit.core.builders import HTTP, HTTPS, ask, given

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


class Seen:
    """A Service that is shown what is decided, and what was stored when it was."""

    def __init__(self) -> None:
        self.now = BEGUN
        self.stored = StoredClaims()
        self.replica = Replica(self.stored, pool("main", "10.0.0.0/28"), now=lambda: self.now)
        self.shown: list[tuple[list[str], list[str]]] = []

    def reserve(self, request: ServiceRequest) -> None:
        with self.replica.claims.propose(request, Occasion.CREATION) as proposal:
            self.replica.claims.commit(proposal)

    def show(self, decision: Decision) -> None:
        states = [document["spec"]["state"] for document in self.stored.allocations.values()]
        self.shown.append((given(decision), states))

    def bind(self, request: ServiceRequest) -> list[str]:
        return given(self.replica.claims.bind(request, show=self.show))


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_a_reservation_is_shown_before_it_is_bound(seen: Seen) -> None:
    seen.reserve(ask("web"))
    assert seen.bind(ask("web", uid="u")) == ["10.0.0.0"]
    assert seen.shown == [(["10.0.0.0"], ["Tentative"])]
    assert seen.stored.allocations["10.0.0.0"]["spec"]["state"] == "Bound"


def test_what_is_not_claimed_yet_is_claimed_first(seen: Seen) -> None:
    assert seen.bind(ask("web", uid="u")) == ["10.0.0.0"]
    assert seen.shown == []


def test_a_reservation_that_may_be_evicted_any_moment_is_bound_first(seen: Seen) -> None:
    seen.reserve(ask("web"))
    seen.now += timedelta(seconds=6)
    seen.bind(ask("web", uid="u"))
    assert seen.shown == []


@pytest.mark.parametrize(
    "service", [ask("web", uid="u", ports=HTTPS), ask("web", uid="u", sharing_key="k")], ids=["ports", "key"]
)
def test_a_service_with_other_needs_than_were_reserved_for_is_claimed_for_first(
    seen: Seen, service: ServiceRequest
) -> None:
    seen.reserve(ask("web", ports=HTTP))
    seen.bind(service)
    assert seen.shown == []


def test_one_recreated_under_the_name_is_claimed_for_first(seen: Seen) -> None:
    seen.replica.claims.bind(ask("web", uid="first"))
    seen.bind(ask("web", uid="second"))
    assert seen.shown == []


def test_nothing_is_shown_of_a_reservation_that_is_only_planned(seen: Seen) -> None:
    with seen.replica.claims.propose(ask("web"), Occasion.CREATION):
        seen.bind(ask("web", uid="u"))
    assert seen.shown == []


def test_a_claim_that_changed_after_it_was_shown_is_for_the_caller_to_look_at_again(seen: Seen) -> None:
    seen.reserve(ask("web"))

    def show(decision: Decision) -> None:
        seen.show(decision)
        del seen.stored.allocations["10.0.0.0"]

    with pytest.raises(LostRace):
        seen.replica.claims.bind(ask("web", uid="u"), show=show)
    assert len(seen.shown) == 1


def test_a_status_written_to_the_claim_once_it_is_shown_does_not_leave_it_unbound(seen: Seen) -> None:
    seen.reserve(ask("web"))

    def show(decision: Decision) -> None:
        seen.show(decision)
        # Of another version than the one known: to whoever replaces it that is a change like any other.
        seen.stored.write_status("10.0.0.0", {"announcedBy": "node-1"})

    assert given(seen.replica.claims.bind(ask("web", uid="u"), show=show)) == ["10.0.0.0"]
    assert len(seen.shown) == 1
    assert seen.stored.allocations["10.0.0.0"]["spec"]["state"] == "Bound"


def test_a_claim_that_another_joins_once_it_is_shown_is_for_the_caller_to_look_at_again(seen: Seen) -> None:
    seen.reserve(ask("web", sharing_key="k"))

    def show(decision: Decision) -> None:
        seen.show(decision)
        seen.reserve(ask("other", ports=HTTPS, sharing_key="k"))

    with pytest.raises(LostRace):
        seen.replica.claims.bind(ask("web", uid="u", sharing_key="k"), show=show)
    assert len(seen.shown) == 1
