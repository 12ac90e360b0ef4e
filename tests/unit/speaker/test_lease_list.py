"""The Leases as they are read: once a minute, and on doubt; what is passed on, and what counts as a renewal."""

from __future__ import annotations

from collections import Counter
from typing import cast

import pytest

from allocator.kube.client import Cluster, NotFound, Object
from allocator.kube.reflector import Change
from allocator.kube.resource import Resource
from allocator.objects.names import SPEAKER_LEASE_PREFIX
from speaker.membership.lease_evidence import LIST_SECONDS, RENEW_SECONDS
from speaker.membership.lease_list import MOST_READ, LeaseList
from speaker.membership.unheard import Doubt
from tests.unit.speaker.objects import lease

CALM, ALONE = Doubt(), Doubt(alone=True)


class Api:
    """Leases by node, and a count of what was asked for."""

    def __init__(self) -> None:
        self.leases: dict[str, Object] = {}
        self.asked: Counter[str] = Counter()

    def pages(self, _: Resource, __: str | None = None) -> list[Object]:
        self.asked["list"] += 1
        return [{"items": [each]} for each in self.leases.values()]

    def get(self, _: Resource, name: str, __: str | None = None) -> Object:
        self.asked[name] += 1
        for each in self.leases.values():
            if each["metadata"]["name"] == name:
                return each
        raise NotFound(404, "NotFound", name)


class Speaker:
    """A speaker's other parts, as the list sees them."""

    def __init__(self) -> None:
        self.api = Api()
        self.doubt = CALM
        self.renewals: list[tuple[str, int | None]] = []
        self.unserving: list[str] = []
        self.changes: list[tuple[str, bool]] = []
        self.list = LeaseList(
            cast("Cluster", self.api),
            namespace="metallb-system",
            heartbeats=self,
            wait_written=lambda _: True,
            on_change=self.on_change,
        )

    def renewed(self, node: str, *, hears: int | None, serving: bool, since: float) -> None:
        assert since >= 0.0
        if serving:
            self.renewals.append((node, hears))
        else:
            self.unserving.append(node)

    def on_change(self, change: Change) -> None:
        self.changes.append((change.key[1].removeprefix(SPEAKER_LEASE_PREFIX), change.new is not None))

    def put(self, node: str, renewed: int = 0, **says: object) -> None:
        document = lease(node, renewed=f"2026-01-01T00:00:{renewed:02}.000000Z", **says)  # type: ignore[arg-type]
        document["metadata"]["resourceVersion"] = str(renewed)
        self.api.leases[node] = document


@pytest.fixture
def speaker() -> Speaker:
    made = Speaker()
    made.put("node-a")
    made.put("node-b")
    return made


def test_what_appears_goes_or_says_something_else_is_passed_on_and_a_renewal_is_not(speaker: Speaker) -> None:
    speaker.list.look(0.0)
    assert sorted(speaker.changes) == [("node-a", True), ("node-b", True)]
    speaker.put("node-a", 10)
    speaker.put("node-b", 10, addresses=["203.0.113.9"])
    speaker.put("node-c")
    speaker.changes.clear()
    speaker.list.look(2 * LIST_SECONDS)
    assert sorted(speaker.changes) == [("node-b", True), ("node-c", True)]
    del speaker.api.leases["node-a"]
    speaker.changes.clear()
    speaker.list.look(4 * LIST_SECONDS)
    assert speaker.changes == [("node-a", False)]


def test_while_nothing_is_in_doubt_they_are_listed_about_once_a_minute(speaker: Speaker) -> None:
    for second in range(600):
        speaker.list.look(float(second))
    assert 8 <= speaker.api.asked["list"] <= 13
    assert speaker.api.asked.total() == speaker.api.asked["list"]


def test_who_hears_nobody_sees_each_renewal_but_not_one_of_long_ago(speaker: Speaker) -> None:
    speaker.list.look(0.0)
    speaker.put("node-a", 10, hears=2)
    speaker.doubt = ALONE
    speaker.list.look(50.0)
    assert speaker.renewals == [], "that may have been 40 s ago"
    speaker.list.look(51.5)
    assert speaker.renewals == []
    speaker.put("node-a", 20, hears=2)
    speaker.put("node-b", 20, serving=False)
    speaker.list.look(53.0)
    assert speaker.renewals == [("node-a", 2)]
    assert speaker.unserving == ["node-b"]


def test_the_lease_of_a_peer_that_fell_silent_is_read_by_itself(speaker: Speaker) -> None:
    speaker.list.look(0.0)
    speaker.doubt = Doubt(silent=frozenset({"node-a"}))
    name = f"{SPEAKER_LEASE_PREFIX}node-a"
    for second in range(1, 10):
        speaker.list.look(float(second))
    assert speaker.api.asked[name] == 0, "it was seen less than a renewal ago"
    speaker.put("node-a", 10)
    speaker.list.look(RENEW_SECONDS)
    assert speaker.renewals == [("node-a", 0)]
    del speaker.api.leases["node-a"]
    speaker.changes.clear()
    speaker.list.look(2 * RENEW_SECONDS)
    assert speaker.changes == [("node-a", False)]
    assert speaker.api.asked == {"list": 1, name: 2}


def test_of_many_silent_peers_all_leases_are_listed(speaker: Speaker) -> None:
    speaker.list.look(0.0)
    speaker.doubt = Doubt(silent=frozenset(f"node-{number}" for number in range(MOST_READ + 1)))
    speaker.list.look(20.0)
    assert speaker.api.asked == {"list": 2}


def test_of_a_thousand_speakers_no_events_reach_a_node_that_is_in_no_doubt() -> None:
    speaker = Speaker()
    for number in range(1000):
        speaker.put(f"node-{number}")
    speaker.list.look(0.0)
    speaker.changes.clear()
    for second in range(1, 300):
        for number in range(1000):
            speaker.api.leases[f"node-{number}"]["spec"]["renewTime"] = f"second {second}"
        speaker.list.look(float(second))
    assert speaker.changes == []


def test_many_that_are_silent_cost_one_list_in_the_time_in_which_they_are_renewed(speaker: Speaker) -> None:
    """As a partition of a thousand nodes into halves: each of them has five hundred that are silent."""
    speaker.list.look(0.0)
    nodes = [f"node-{number}" for number in range(MOST_READ + 1)]
    speaker.doubt = Doubt(silent=frozenset(nodes))
    for tenth in range(1, 601):
        speaker.list.look(tenth / 10)
    assert speaker.api.asked == {"list": 1 + 60 / RENEW_SECONDS}


def test_renewals_of_many_that_are_silent_are_seen_by_lists_as_those_of_few_are(speaker: Speaker) -> None:
    speaker.list.look(0.0)
    nodes = frozenset({"node-a", "node-b", *(f"node-{number}" for number in range(MOST_READ))})
    speaker.doubt = Doubt(silent=nodes)
    speaker.put("node-a", 10)
    speaker.list.look(RENEW_SECONDS)
    assert speaker.renewals == [("node-a", 0)]
