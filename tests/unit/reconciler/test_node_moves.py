"""A request to have another node announce an address: shown to the speakers, ended when it is met or overdue."""

from __future__ import annotations

from typing import cast

import pytest

from allocator.kube.client import Cluster, Object
from allocator.objects.names import IP_ALLOCATIONS, MOVE_TO_NODE_ANNOTATION, MOVING_LABEL
from allocator.reconciler.node_moves import MOVE_SECONDS, NodeMoves
from tests.unit.allocation.stored_claims import StoredClaims

NAME = "10.0.0.1"


class Claims:
    """One stored IPAllocation, and what the reconciler makes of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.failed: list[tuple[str, str, str]] = []
        self.stored = StoredClaims()
        self.moves = NodeMoves(
            cast(Cluster, self.stored),
            find_claim=self.stored.allocations.get,
            require_leadership=lambda: None,
            on_failed=lambda *what: self.failed.append(what),
            clock=lambda: self.now,
        )
        holder = {"namespace": "prod", "name": "web", "uid": "1", "ports": [], "since": ""}
        self.stored.create(
            IP_ALLOCATIONS,
            {
                "metadata": {"name": NAME, "labels": {"kept": "yes"}, "annotations": {"kept": "yes"}},
                "spec": {"address": NAME, "pool": "p", "state": "Bound", "holders": [holder]},
                "status": {"announcedBy": {"node": "a"}},
            },
        )
        self.see()

    @property
    def claim(self) -> Object:
        return self.stored.allocations[NAME]

    def change(self, **parts: Object) -> None:
        """Somebody else writes to it."""
        changed = {**self.claim, **{part: {**self.claim[part], **value} for part, value in parts.items()}}
        self.stored.replace(IP_ALLOCATIONS, changed)
        self.see()

    def see(self) -> None:
        self.moves.note(self.stored.events[-1])

    def sweep(self) -> None:
        before = len(self.stored.events)
        self.moves.sweep()
        for change in self.stored.events[before:]:
            self.moves.note(change)

    def ask_for(self, node: str) -> None:
        self.change(metadata={"annotations": {"kept": "yes", MOVE_TO_NODE_ANNOTATION: node}})

    @property
    def marks(self) -> tuple[Object, Object]:
        metadata = self.claim["metadata"]
        return metadata["labels"], metadata["annotations"]


UNTOUCHED = ({"kept": "yes"}, {"kept": "yes"})


@pytest.fixture
def claims() -> Claims:
    return Claims()


def test_nothing_is_written_where_nothing_is_asked_for(claims: Claims) -> None:
    claims.sweep()
    assert len(claims.stored.events) == 1


def test_a_request_is_shown_to_the_speakers_and_ends_once_it_is_met(claims: Claims) -> None:
    claims.ask_for("b")
    claims.sweep()
    claims.sweep()
    assert claims.marks == ({"kept": "yes", MOVING_LABEL: "true"}, {"kept": "yes", MOVE_TO_NODE_ANNOTATION: "b"})

    claims.change(status={"announcedBy": {"node": "b"}})
    claims.sweep()
    assert claims.marks == UNTOUCHED
    assert claims.failed == []


def test_where_the_node_announces_already_nothing_is_shown(claims: Claims) -> None:
    claims.ask_for("a")
    claims.sweep()
    assert claims.marks == UNTOUCHED


def test_what_takes_too_long_ends_with_a_reason(claims: Claims) -> None:
    claims.ask_for("no-such-node")
    claims.sweep()
    claims.now += MOVE_SECONDS
    claims.sweep()
    assert claims.marks == UNTOUCHED
    assert claims.failed == [
        ("prod", "web", f'node "no-such-node" did not announce {NAME} within 60 s of being asked to')
    ]


def test_another_node_asked_for_has_its_own_time(claims: Claims) -> None:
    claims.ask_for("b")
    claims.sweep()
    claims.now += MOVE_SECONDS - 1
    claims.ask_for("c")
    claims.now += 2
    claims.sweep()
    assert claims.marks[1] == {"kept": "yes", MOVE_TO_NODE_ANNOTATION: "c"}


@pytest.mark.parametrize("left", ["the annotation was removed", "the address was released"])
def test_what_nobody_asks_for_any_more_is_not_shown(claims: Claims, left: str) -> None:
    claims.ask_for("b")
    claims.sweep()
    if left == "the address was released":
        claims.change(spec={"state": "Cooling"})
    else:
        claims.change(metadata={"annotations": {"kept": "yes"}})
    claims.sweep()
    assert claims.marks == UNTOUCHED


def test_a_claim_that_changes_meanwhile_is_not_overwritten(claims: Claims) -> None:
    claims.ask_for("b")
    claims.moves = NodeMoves(
        cast(Cluster, claims.stored),
        find_claim={NAME: dict(claims.claim, metadata={**claims.claim["metadata"], "resourceVersion": "1"})}.get,
        require_leadership=lambda: None,
        on_failed=lambda *what: claims.failed.append(what),
    )
    claims.see()
    claims.sweep()
    assert MOVING_LABEL not in claims.marks[0]
