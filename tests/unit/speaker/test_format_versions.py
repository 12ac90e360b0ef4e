"""Releases with different heartbeat formats in one cluster, while it is upgraded and rolled back.

There is one version yet, so the next one is made up here: what it writes, only its release can read.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest

from speaker.membership import heartbeat as formats
from speaker.membership.heartbeat import VERSION, Format, Heartbeat, MalformedHeartbeat, Phase, version_for
from speaker.membership.membership import Membership

KEY = b"key"
NEXT = VERSION + 1
NODES = ("node-1", "node-2", "node-3")


@pytest.fixture(autouse=True)
def _next_version(monkeypatch: pytest.MonkeyPatch) -> None:
    former = formats.FORMATS[VERSION]
    following = Format(
        write=lambda heartbeat: b"next" + former.write(heartbeat),
        read=lambda body, reads: replace(former.read(body[len(b"next") :], reads), format=NEXT),
    )
    monkeypatch.setitem(formats.FORMATS, NEXT, following)


class Cluster:
    """Speakers of several releases that exchange datagrams; none may be lost on one that cannot read it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.numbers = itertools.count(1)
        self.members: dict[str, Membership] = {}
        self.newest: dict[str, int] = {}
        self.written: Counter[int] = Counter()
        self.unread: list[str] = []

    def start(self, node: str, newest: int) -> None:
        made = Membership(node=node, now=self.now, new_number=lambda: next(self.numbers), newest=newest)
        made.set_peers(NODES, self.now)
        made.enter(Phase.SERVING, self.now)
        self.members[node], self.newest[node] = made, newest

    def run(self, seconds: float) -> None:
        self.written.clear()
        for _ in range(round(seconds / 0.05)):
            self.now += 0.05
            for node, member in self.members.items():
                member.tick(self.now)
                for to, heartbeat in member.outgoing(self.now):
                    self.written[heartbeat.format] += 1
                    self.deliver(node, to, heartbeat.encode(KEY))

    def deliver(self, sender: str, to: str, datagram: bytes) -> None:
        receiver = self.members.get(to)
        if receiver is None:
            return
        try:
            heartbeat = Heartbeat.decode(datagram, KEY, newest=self.newest[to])
        except MalformedHeartbeat as error:
            self.unread.append(f"{to} from {sender}: {error}")
        else:
            receiver.heard(heartbeat, self.now)

    def all_alive(self) -> bool:
        return all(member.liveness(self.now).alive == set(NODES) for member in self.members.values())


def test_an_upgrade_one_by_one_loses_no_heartbeat_and_ends_with_the_new_version() -> None:
    cluster = Cluster()
    for node in NODES:
        cluster.start(node, VERSION)
    cluster.run(1.0)
    for number, node in enumerate(NODES, 1):
        cluster.start(node, NEXT)
        cluster.run(1.0)
        assert cluster.all_alive()
        if number < len(NODES):
            assert set(cluster.written) == {VERSION}, "until all that are heard read the next"
    cluster.run(1.0)
    assert set(cluster.written) == {NEXT}
    assert cluster.unread == []


def test_a_new_cluster_of_the_new_release_comes_to_its_version_by_itself() -> None:
    cluster = Cluster()
    for node in NODES:
        cluster.start(node, NEXT)
    cluster.run(1.0)
    cluster.run(1.0)
    assert cluster.all_alive()
    assert set(cluster.written) == {NEXT}
    assert cluster.unread == []


def test_after_a_rollback_of_one_all_write_what_it_reads() -> None:
    cluster = Cluster()
    for node in NODES:
        cluster.start(node, NEXT)
    cluster.run(2.0)
    del cluster.members["node-1"]
    cluster.run(1.0)
    cluster.start("node-1", VERSION)
    cluster.run(1.0)
    cluster.unread.clear()
    cluster.run(1.0)
    assert cluster.all_alive()
    assert set(cluster.written) == {VERSION}
    assert cluster.unread == []


def test_a_release_reads_its_own_version_and_the_one_before_only() -> None:
    example = Heartbeat(sender="node-1", phase=Phase.SERVING, incarnation=1, challenge=2, echo=3, sequence=4)
    following = Heartbeat(
        sender="node-1", phase=Phase.SERVING, incarnation=1, challenge=2, echo=3, sequence=4, format=NEXT, reads=NEXT
    )
    assert Heartbeat.decode(example.encode(KEY), KEY, newest=NEXT) == example
    assert Heartbeat.decode(following.encode(KEY), KEY, newest=NEXT) == following
    with pytest.raises(MalformedHeartbeat, match=f"version {NEXT} of the format"):
        Heartbeat.decode(following.encode(KEY), KEY, newest=VERSION)
    with pytest.raises(MalformedHeartbeat, match=f"version {VERSION} of the format"):
        Heartbeat.decode(example.encode(KEY), KEY, newest=NEXT + 1)


def test_to_whom_nothing_is_known_of_the_version_of_the_predecessor_is_written() -> None:
    assert version_for(0, [], newest=NEXT) == VERSION
    assert version_for(NEXT, [NEXT, VERSION], newest=NEXT) == VERSION
    assert version_for(NEXT, [NEXT], newest=NEXT) == NEXT
    assert version_for(0, [], newest=VERSION) == VERSION, "the first has no predecessor"
