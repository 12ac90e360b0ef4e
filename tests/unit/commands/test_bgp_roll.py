"""Which nodes get a new FRR, and when the next one's turn has come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from allocator.commands import bgp_roll
from allocator.commands.bgp_roll import missing, outdated
from allocator.kube.resource import LEASES, Resource
from allocator.kube.timestamps import write_time
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, SessionStatus

UP, DOWN = SessionStatus.ESTABLISHED, SessionStatus.DOWN


def pod(node: str, revision: str, **metadata: Any) -> dict[str, Any]:
    labels = {"controller-revision-hash": revision}
    return {
        "metadata": {"name": f"frr-{node}", "uid": f"uid-{node}", "labels": labels, **metadata},
        "spec": {"nodeName": node},
    }


def revision(number: int, name: str) -> dict[str, Any]:
    return {"revision": number, "metadata": {"labels": {"controller-revision-hash": name}}}


def session(peer: str, **fields: Any) -> SessionEntry:
    return SessionEntry(**{"peer": peer, "state": UP, "since": "before", "wanted": 2, "sent": 2, **fields})


def status(*sessions: SessionEntry) -> BgpNodeStatus:
    return BgpNodeStatus(node="node-1", sessions=sessions)


def test_the_newest_revision_is_what_pods_are_held_to() -> None:
    found = outdated(
        [pod("node-2", "b"), pod("node-1", "a"), pod("node-3", "a", deletionTimestamp="now")],
        [revision(2, "b"), revision(10, "a"), revision(9, "c")],
    )

    assert [(node.name, node.outdated) for node in found] == [("node-1", False), ("node-2", True)]


def test_without_a_revision_nothing_is_outdated() -> None:
    assert [node.outdated for node in outdated([pod("node-1", "a")], [])] == [False]


def test_a_session_is_back_once_it_is_up_anew_with_all_of_its_prefixes() -> None:
    before = status(session("one"), session("two"))

    assert missing(before, before) == ["one", "two"], "what was said before it went says nothing"
    assert missing(before, status(session("one", since="later"), session("two", state=DOWN, since=""))) == ["two"]
    assert missing(before, status(session("one", since="later", sent=1), session("two", since="later"))) == ["one"]
    assert missing(before, status(session("one", since="later"), session("two", since="later"))) == []


def test_a_session_that_was_down_before_is_not_waited_for() -> None:
    before = status(session("one", state=DOWN, since=""), session("two"))

    assert missing(before, status(session("two", since="later"))) == []


def test_a_session_whose_peer_has_gone_is_missed() -> None:
    assert missing(status(session("one")), status()) == ["one"]


class OneNode:
    """An API server with one node, whose speaker renewed its Lease so many seconds ago."""

    def __init__(self, seconds: float) -> None:
        renewed = datetime.now(UTC) - timedelta(seconds=seconds)
        name, spec = "speaker-node-1", {"renewTime": write_time(renewed), "leaseDurationSeconds": 30}
        other = {"renewTime": write_time(datetime.now(UTC)), "leaseDurationSeconds": 30}
        self.leases = [{"metadata": {"name": name}, "spec": spec}, {"metadata": {"name": "other"}, "spec": other}]
        self.deleted: list[str] = []

    def get(self, *_: object) -> dict[str, Any]:
        return {"metadata": {"name": "node-1"}, "status": status(session("tor")).as_status()}

    def list(self, kind: Resource, *_: object, **__: object) -> dict[str, Any]:
        return {"items": self.leases if kind == LEASES else []}

    def delete(self, _: object, name: str, *__: object, **___: object) -> None:
        self.deleted.append(name)


@pytest.mark.parametrize(("seconds", "deleted"), [(5, ["frr-node-1"]), (40, [])])
def test_node_whose_speaker_is_not_there_keeps_its_frr(seconds: float, deleted: list[str]) -> None:
    """Nobody would configure the new one, and all of the node's routes would go."""
    cluster = OneNode(seconds)
    (node,) = outdated([pod("node-1", "a")], [revision(1, "b")])
    problem = bgp_roll._renew(cluster, "metallb-system", node, timeout_seconds=0.0)  # type: ignore[arg-type]
    assert cluster.deleted == deleted
    assert ("has not renewed its Lease since" in problem) is not bool(deleted)
