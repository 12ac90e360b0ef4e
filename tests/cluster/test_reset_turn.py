"""Sessions are reset on one node at a time, by a real Lease; and passwords come from real Secrets."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest

from allocator.bgp.command import Reset
from allocator.bgp.inputs import Password
from allocator.kube.client import Cluster, Object
from allocator.kube.resource import LEASES, SECRETS
from speaker.bgp import passwords, reset_turn
from speaker.bgp.passwords import PasswordWatch
from speaker.bgp.reports import SessionState
from speaker.bgp.reset_turn import LEASE_NAME, ResetTurn
from tests.lab.waiting import wait_until

SOON = 20.0
EDIT = Reset("", "192.0.2.1", "password changed")
Start = Callable[[str], "Node"]


def states(state: str) -> dict[str, SessionState]:
    return {"tor": SessionState(peer="tor", vrf="", neighbor="192.0.2.1", state=state)}


class Node:
    """A node with a session that is up, whose reset waits for its turn."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self.got_turn = threading.Event()
        self.turn = ResetTurn(cluster, node=name, namespace=namespace, on_turn=self.got_turn.set)
        self.turn.note_states(states("Established"))
        self.turn.start()


@pytest.fixture
def start(cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(reset_turn, "_RETRY_SECONDS", 0.1)
    started: list[Node] = []

    def begin(name: str) -> Node:
        node = Node(cluster, namespace, name)
        started.append(node)
        return node

    yield begin
    for node in started:
        node.turn.stop()
        assert not node.turn.alive


def test_one_node_after_the_other_resets_and_the_next_waits_until_the_session_is_back(start: Start) -> None:
    nodes = [start(f"node-{number}") for number in range(3)]
    assert not any(node.turn.may_reset(EDIT) for node in nodes)
    waiting = list(nodes)
    while waiting:
        node = wait_until(lambda: next((one for one in waiting if one.got_turn.is_set()), None), SOON, "one has it")
        waiting.remove(node)
        assert node.turn.may_reset(EDIT)
        assert not any(other.turn.may_reset(EDIT) for other in waiting)
        node.turn.note_resetting([EDIT])
        node.turn.note_states(states("Idle"))
        threading.Event().wait(0.5)
        assert not any(other.got_turn.is_set() for other in waiting), "the session is not back yet"
        node.turn.note_states(states("Established"))


def test_what_ends_for_good_or_is_down_waits_for_nobody(start: Start) -> None:
    node = start("node-a")
    assert node.turn.may_reset(Reset("", "192.0.2.1", "removed"))
    assert node.turn.may_reset(Reset("", "192.0.2.1", "shutdown set"))
    node.turn.note_states(states("Active"))
    assert node.turn.may_reset(EDIT)
    assert not node.got_turn.is_set()


def test_turn_of_a_node_that_is_gone_expires(
    start: Start, cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reset_turn, "EXPIRED_SECONDS", 1.0)
    body = {"metadata": {"name": LEASE_NAME}, "spec": {"holderIdentity": "node-z", "leaseDurationSeconds": 60}}
    cluster.create(LEASES, body, namespace)
    node = start("node-a")
    assert not node.turn.may_reset(EDIT)
    threading.Event().wait(0.5)
    assert not node.got_turn.is_set()
    wait_until(node.got_turn.is_set, SOON, "it takes over")


def test_turn_that_is_not_needed_any_more_is_passed_on(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reset_turn, "_ACT_SECONDS", 0.3)
    first, second = start("node-a"), start("node-b")
    assert not first.turn.may_reset(EDIT)
    wait_until(first.got_turn.is_set, SOON, "the first has it")
    assert not second.turn.may_reset(EDIT)
    wait_until(second.got_turn.is_set, SOON, "the second has it though the first did nothing")


def secret(name: str, text: str, kind: str = "kubernetes.io/basic-auth") -> Object:
    data = {"password": base64.b64encode(text.encode()).decode(), "username": ""}
    return {"metadata": {"name": name}, "type": kind, "data": data}


class Read:
    """What a watch of passwords has passed on last."""

    passwords: Mapping[str, Password] = {}
    asked: frozenset[str] = frozenset()

    def __call__(self, found: Mapping[str, Password], asked: frozenset[str], _: Mapping[str, str]) -> None:
        self.passwords, self.asked = found, asked


@pytest.fixture
def read(cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[PasswordWatch, Read]]:
    for seconds in ("REREAD_SECONDS", "MISSING_SECONDS"):
        monkeypatch.setattr(passwords, seconds, 0.1)
    read = Read()
    watch = PasswordWatch(cluster, namespace=namespace, on_read=read)
    watch.start()
    yield watch, read
    watch.stop()
    assert not watch.alive


def test_password_is_read_again_when_it_changes_and_outlives_its_secret(
    cluster: Cluster, namespace: str, read: tuple[PasswordWatch, Read]
) -> None:
    watch, found = read
    cluster.create(SECRETS, secret("tor", "one"), namespace)
    watch.need(frozenset({"tor", "later"}))
    wait_until(lambda: found.asked == {"tor", "later"}, SOON, "both are asked for")
    assert found.passwords == {"tor": Password("one")}
    cluster.create(SECRETS, secret("later", "two"), namespace)
    wait_until(lambda: found.passwords.get("later") == Password("two"), SOON, "the one that came later is read")
    cluster.patch(SECRETS, "tor", {"data": secret("tor", "three")["data"]}, namespace)
    wait_until(lambda: found.passwords.get("tor") == Password("three"), SOON, "the changed one is read")
    cluster.delete(SECRETS, "tor", namespace)
    threading.Event().wait(0.5)
    assert found.passwords["tor"] == Password("three")
    watch.need(frozenset())
    wait_until(lambda: found.passwords == {}, SOON, "nothing is kept that nobody needs")


@pytest.mark.parametrize(
    "bad",
    [secret("tor", "hunter2", "Opaque"), secret("tor", "two hunter2s"), secret("tor", ""), secret("tor", "x" * 81)],
)
def test_secret_that_is_none_for_a_session_counts_as_missing_and_is_not_shown(
    cluster: Cluster, namespace: str, read: tuple[PasswordWatch, Read], bad: Object, caplog: pytest.LogCaptureFixture
) -> None:
    watch, found = read
    cluster.create(SECRETS, bad, namespace)
    watch.need(frozenset({"tor"}))
    wait_until(lambda: found.asked == {"tor"}, SOON, "it is asked for")
    assert found.passwords == {}
    assert "hunter2" not in caplog.text
