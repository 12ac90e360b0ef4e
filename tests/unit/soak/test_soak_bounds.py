"""What the soak of layer 2 finds: a spell that is longer than its bound allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.befalling import Event
from tests.soak.run import BOUNDS, LEASE_SECONDS, Outcome, Plan, judged
from tests.soak.witness import Kind, Spell

KILLED = Event(at=100.0, what="API server killed", api=False)
BACK = Event(at=130.0, what="API server back", api=True)


def found(kind: Kind, begun: float, ended: float, *events: Event) -> int:
    spell = Spell(kind=kind, address="203.0.113.1", begun=begun, ended=ended)
    return len(judged([spell], list(events), Plan(seconds=1.0, directory=Path()), Outcome()))


@pytest.mark.parametrize("kind", list(Kind))
def test_a_spell_is_found_once_it_is_longer_than_its_bound(kind: Kind) -> None:
    bound = BOUNDS[kind]
    assert found(kind, 10.0, 10.0 + bound - 0.1) == 0
    assert found(kind, 10.0, 10.0 + bound + 0.1) == 1
    assert found(kind, 10.0, 10.0 + bound + 0.1, Event(at=10.2, what="node-1 killed")) == 0


@pytest.mark.parametrize("kind", [Kind.LATE, Kind.LINGERING])
@pytest.mark.parametrize(
    ("begun", "ended", "findings"),
    [
        (120.0, 129.0, 0),
        (120.0, 134.0, 0),
        (120.0, 136.0, 1),
        (131.0, 135.0, 0),
        (131.0, 137.0, 1),
        (90.0, 99.0, 1),
        (90.0, 104.0, 0),
    ],
)
def test_what_is_learned_from_the_api_server_has_its_time_once_that_is_back(
    kind: Kind, begun: float, ended: float, findings: int
) -> None:
    assert found(kind, begun, ended, KILLED, BACK) == findings


@pytest.mark.parametrize("kind", [Kind.UNANSWERED, Kind.TWO_PLACES, Kind.TWO_SENDERS])
def test_what_nodes_know_of_each_other_does_not_wait_for_the_api_server(kind: Kind) -> None:
    assert found(kind, 110.0, 110.0 + BOUNDS[kind] + 0.1, KILLED, BACK) == 1


def test_an_api_server_that_never_comes_back_excuses_what_is_learned_from_it_to_the_end() -> None:
    assert found(Kind.LINGERING, 101.0, 140.0, KILLED) == 0


def test_leases_alone_have_the_time_of_leases() -> None:
    blocked = Event(at=100.0, what="UDP 7946 blocked at node-1", by_lease=True)
    assert found(Kind.UNANSWERED, 101.0, 101.0 + LEASE_SECONDS, blocked) == 0
    assert found(Kind.UNANSWERED, 101.0, 101.0 + LEASE_SECONDS + 2.0, blocked) == 1
