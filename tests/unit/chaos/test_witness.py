"""The witness of a chaos run sees what it is there for, and nothing else."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from allocator.kube.reflector import Change
from allocator.kube.resource import SERVICES
from allocator.objects.names import IP_ALLOCATIONS
from tests.chaos.service_needs import CHANGED
from tests.chaos.witness import RECENT_SECONDS, ClaimWitness, Move, Quotas, Witness

Object = dict[str, Any]


class Story:
    """Services as stored one after another, and the witness who watches."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.witness = Witness(clock=self.clock, quotas=Quotas(self.clock))
        self._stored: dict[str, Object] = {}
        self._version = 1000

    def clock(self) -> float:
        return self.now

    def store(
        self,
        name: str,
        *shown: str,
        key: str = "",
        port: int = 80,
        pin: str = "",
        told: str = "",
        uid: str = "",
        changed: bool = False,
        version: int = 0,
    ) -> None:
        self._version += 1
        annotations = {
            "metallb.io/allow-shared-ip": key,
            "metallb.io/loadBalancerIPs": pin,
            "admitlb.io/assigned-ips": told,
            CHANGED: "true" if changed else "",
        }
        new = {
            "metadata": {
                "name": name,
                "uid": uid or name,
                "resourceVersion": str(version or self._version),
                "annotations": {k: v for k, v in annotations.items() if v},
            },
            "spec": {"type": "LoadBalancer", "ports": [{"port": port}]},
            "status": {"loadBalancer": {"ingress": [{"ip": address} for address in shown]}},
        }
        self._tell(name, new)
        self._stored[name] = new

    def delete(self, name: str) -> None:
        self._tell(name, None)
        del self._stored[name]

    def later(self, seconds: float = RECENT_SECONDS * 2) -> None:
        self.now += seconds

    def _tell(self, name: str, new: Object | None) -> None:
        self.witness.see(Change(SERVICES, ("default", name), self._stored.get(name), new, "1"))


def test_two_services_without_a_key_on_one_address_are_a_duplicate() -> None:
    story = Story()
    story.store("a", "192.0.2.1")
    story.store("b", "192.0.2.1")
    assert len(story.witness.duplicates) == 1


def test_an_address_that_was_left_first_is_none() -> None:
    story = Story()
    story.store("a", "192.0.2.1")
    story.delete("a")
    story.store("b", "192.0.2.1")
    story.store("b", "192.0.2.1", uid="another-b-that-was-created-unseen")
    assert story.witness.duplicates == []


def test_who_left_while_the_witness_was_away_is_acquitted() -> None:
    story = Story()
    story.store("b", "192.0.2.1")
    story.store("c", "192.0.2.2")
    story.store("a", "192.0.2.1", version=3000)
    story.store("d", "192.0.2.2", version=3001)
    assert len(story.witness.duplicates) == 2
    story.store("b", version=2999)
    story.store("c", version=3002)
    assert [text.split(" (")[0] for text in story.witness.duplicates] == ["192.0.2.2: d"]


def test_sharers_with_one_key_and_different_ports_are_none() -> None:
    story = Story()
    story.store("a", "192.0.2.1", key="k", port=80)
    story.store("b", "192.0.2.1", key="k", port=81)
    assert story.witness.duplicates == []
    assert story.witness.shared == 1


def test_sharers_with_one_port_or_two_keys_are_duplicates() -> None:
    story = Story()
    story.store("a", "192.0.2.1", key="k", port=80)
    story.store("b", "192.0.2.1", key="k", port=80)
    story.store("c", "192.0.2.1", key="l", port=81)
    assert len(story.witness.duplicates) == 3


def test_who_changed_its_mind_a_moment_ago_may_still_be_met_where_it_was() -> None:
    story = Story()
    story.store("a", "192.0.2.1", key="k", port=80)
    story.store("a", "192.0.2.1", key="k", port=81)
    story.store("b", "192.0.2.1", key="k", port=81)
    assert story.witness.duplicates == []
    story.later()
    story.store("c", "192.0.2.1", key="k", port=80)
    story.store("d", "192.0.2.1", key="k", port=81)
    assert [text.split(" (")[0] for text in story.witness.duplicates] == ["192.0.2.1: d", "192.0.2.1: d"]


def test_an_address_that_changes_or_goes_unasked_is_a_move() -> None:
    story = Story()
    story.store("a", "192.0.2.1")
    story.store("b", "192.0.2.2")
    story.store("a", "192.0.2.3")
    story.store("b")
    assert len(story.witness.moves) == 2


def test_showing_another_address_than_the_creation_was_answered_with_is_a_move() -> None:
    story = Story()
    story.store("a", told="192.0.2.1")
    story.store("a", "192.0.2.2", told="192.0.2.2")
    story.store("b", told="192.0.2.3")
    story.store("b", "192.0.2.3", told="192.0.2.3")
    assert [move.text.split(",")[0] for move in story.witness.moves] == ["a: 192.0.2.1 -> 192.0.2.2"]


@pytest.mark.parametrize(("shown", "moves"), [((), 0), (("192.0.2.1",), 1)], ids=["reserved", "shown"])
def test_a_quota_takes_what_was_only_reserved(shown: tuple[str, ...], moves: int) -> None:
    story = Story()
    story.store("a", *shown, told="192.0.2.1")
    story.witness.quotas.begin()
    story.store("a", "192.0.2.2", told="192.0.2.2")
    assert len(story.witness.moves) == moves


def test_a_quota_that_was_lifted_before_takes_nothing() -> None:
    story = Story()
    story.witness.quotas.begin()
    story.witness.quotas.end()
    story.later()
    story.store("a", told="192.0.2.1")
    story.store("a", "192.0.2.2", told="192.0.2.2")
    assert len(story.witness.moves) == 1


def test_the_address_asked_for_may_come_at_any_time() -> None:
    story = Story()
    story.store("a", "192.0.2.1", pin="192.0.2.9")
    story.later()
    story.store("a", "192.0.2.9", pin="192.0.2.9")
    assert story.witness.moves == []
    story.store("a", "192.0.2.1", pin="192.0.2.9")
    assert len(story.witness.moves) == 1


def test_what_changed_while_the_witness_was_away_counts_as_asked() -> None:
    story = Story()
    story.store("a", told="192.0.2.1", changed=True)
    story.store("a", "192.0.2.2", told="192.0.2.2", changed=True)
    assert story.witness.moves == []


def test_a_move_that_was_asked_for_is_one_move_and_no_more() -> None:
    story = Story()
    story.store("a", "192.0.2.1")
    story.store("a", "192.0.2.1", pin="192.0.2.9")
    story.later()
    story.store("a", "192.0.2.9", pin="192.0.2.9")
    assert (story.witness.moves, story.witness.moved_as_asked) == ([], 1)
    story.later()
    story.store("a", "192.0.2.8", pin="192.0.2.9")
    assert len(story.witness.moves) == 1


def test_a_younger_sharer_that_gives_way_did_not_move_unasked() -> None:
    story = Story()
    story.store("a", "192.0.2.1", key="k", port=80)
    story.store("b", "192.0.2.1", key="k", port=81)
    story.later()
    story.store("a", "192.0.2.1", key="other", port=80)
    story.store("b", "192.0.2.2", key="k", port=81)
    assert (story.witness.moves, story.witness.gave_way) == ([], 1)


def test_an_older_sharer_that_leaves_because_a_younger_one_changed_is_a_move() -> None:
    story = Story()
    story.store("a", "192.0.2.1", key="k", port=80)
    story.store("b", "192.0.2.1", key="k", port=81)
    story.later()
    story.store("b", "192.0.2.1", key="other", port=81)
    story.store("a", "192.0.2.2", key="k", port=80)
    assert len(story.witness.moves) == 1


def claim(state: str = "Bound", key: str = "", *ports: int) -> Object:
    holders = [{"name": str(at), "ports": [{"protocol": "TCP", "port": port}]} for at, port in enumerate(ports)]
    return {"spec": {"address": "192.0.2.1", "state": state, "sharingKey": key, "holders": holders}}


def witnessed(old: Object, new: Object) -> int:
    witness = ClaimWitness()
    witness.see(Change(IP_ALLOCATIONS, ("", "192.0.2.1"), old, new, "1"))
    return len(witness.duplicates)


def test_nobody_joins_a_holder_that_it_is_at_odds_with() -> None:
    assert witnessed(claim("Bound", "k", 80), claim("Bound", "k", 80, 81)) == 0
    assert witnessed(claim("Bound", "k", 80), claim("Bound", "k", 80, 80)) == 1
    assert witnessed(claim("Tentative", "", 80), claim("Tentative", "", 80, 81)) == 1
    assert witnessed(claim("Cooling", "", 80), claim("Tentative", "", 80)) == 0


def test_a_holder_that_changed_may_be_at_odds_with_who_joined_it_before() -> None:
    assert witnessed(claim("Bound", "k", 80, 81), claim("Bound", "", 80, 81)) == 0
    assert witnessed(claim("Bound", "k", 80), claim("Bound", "", 80, 81)) == 0, "the version between went unseen"


def test_who_leaves_an_address_to_one_listed_before_it_gave_way() -> None:
    witness = ClaimWitness()
    versions = [claim("Bound", "k", 80, 81), claim("Bound", "k", 81, 81)]
    for number, (old, new) in enumerate(pairwise([None, *versions])):
        witness.see(Change(IP_ALLOCATIONS, ("", "192.0.2.1"), old, new, str(number)))
    left = frozenset({"192.0.2.1"})

    assert witness.gave_way(Move("", left, 0, 9, "1", left))
    assert not witness.gave_way(Move("", left, 0, 9, "0", left)), "the first gives way to nobody"
    assert not witness.gave_way(Move("", left, 0, 0, "1", left)), "not before the other changed"
