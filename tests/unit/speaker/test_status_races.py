"""Several speakers write one IPAllocation's status: whatever the order of what they do, in the end it is right.

Each node comes to know who announces the address in its own time, reads and writes in its own time, and may believe
for a while that it announces what another announces too. Once all know the truth and have written, the status must
say it, and nobody may have anything left to write.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.kube.client import Object
from speaker.status.facts import Announced, Asked, Elsewhere, Fact, Unannounced
from speaker.status.reported_address import ReportedAddress
from speaker.status.statement import Contested, Occupied, Statement, amended, named_in
from tests.unit.effort import examples

WEB = ("default", "web")
NODES = ("a", "b", "c")
IDLE = Unannounced(uid="", reason="NoEndpoint", message="no endpoint serves")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Api:
    """One status, with a version for compare-and-swap; and who is heard to claim the address."""

    status: Object = field(default_factory=dict)
    version: int = 0
    claiming: set[str] = field(default_factory=set)


@dataclass
class Writer:
    """One node's half: what it believes, and a write that may be under way."""

    name: str
    api: Api
    entry: ReportedAddress
    under_way: Iterator[None] | None = None

    def believe(self, holder: str | None, *, again: bool = False) -> None:
        if holder is None and self.api.claiming - {self.name}:
            # That nobody announces it is not believed while anybody is heard to claim it.
            return
        before = self.entry.facts.get(WEB)
        fact: Fact | None = IDLE
        if holder == self.name:
            fact = Announced(uid="", interfaces=("eth0",))
        elif holder is not None:
            fact = Elsewhere(uid="", node=holder, interfaces=("eth0",)) if before is not None else None
        if holder == self.name:
            self.api.claiming.add(self.name)
        else:
            self.api.claiming.discard(self.name)
        if fact != before or again:
            self.entry.take(WEB, fact, now="2026-01-01T00:00:00Z")

    def step(self) -> bool:
        """Do one request; tell whether there is more to do."""
        if self.under_way is None:
            if not self.entry.is_to_tell(speaks_for_all=lambda: True):
                return False
            self.under_way = self._tell()
        try:
            next(self.under_way)
        except StopIteration:
            self.under_way = None
        return True

    def _tell(self) -> Iterator[None]:
        say, edits = self.entry.statement, self.entry.edits
        self.entry.named = self.entry.named or self.entry.announced
        status, version = dict(self.api.status), self.api.version
        # A node waits for longer before it speaks for another that is named than it takes to hear of a claim.
        try:
            fields = amended(status, say, node=self.name, is_gone=lambda _: not self.api.claiming, now=NOW)
        except Occupied:
            return
        yield
        if fields is not None:
            if version != self.api.version:
                return
            self.api.status = {key: value for key, value in fields.items() if value is not None}
            self.api.version += 1
        self.entry.note_told(say, edits=edits)


def cluster() -> tuple[Api, dict[str, Writer]]:
    api = Api()
    return api, {name: Writer(name, api, ReportedAddress(node=name)) for name in NODES}


def settle(writers: dict[str, Writer], holder: str | None) -> None:
    """Let all know the truth, and write until nothing is left to write."""
    api = next(iter(writers.values())).api
    rivals = api.claiming - {holder}
    api.claiming.intersection_update({holder})
    # Who yields says so before others can hear it.
    for name in sorted(writers, key=lambda name: name not in rivals):
        writers[name].believe(holder)
    if holder is not None and rivals:
        # Both were heard to claim it; when the others stop, the holder compares anew.
        writers[holder].believe(holder, again=True)
    for _ in range(100):
        if not any([writer.step() for writer in writers.values()]):
            return
    raise AssertionError("they never come to an end")


def right(api: Api, holder: str | None) -> bool:
    ready = next((one for one in api.status.get("conditions") or () if one["type"] == "Ready"), None)
    if holder is None:
        return named_in(api.status) == "" and ready is not None and ready["reason"] == "NoEndpoint"
    return named_in(api.status) == holder and ready is not None and ready["status"] == "True"


def orders(first: tuple[str, ...], second: tuple[str, ...]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Yield every order in which two nodes can do what each does in turn."""
    count = len(first) + len(second)
    for places in itertools.combinations(range(count), len(first)):
        mine, theirs = iter(first), iter(second)
        yield tuple(("a", next(mine)) if place in places else ("b", next(theirs)) for place in range(count))


def do(writers: dict[str, Writer], name: str, what: str) -> None:
    """Announce, withdraw (for the other node if that announces), or make one request."""
    writer = writers[name]
    others = writer.api.claiming - {name}
    if what == "announces":
        writer.believe(name)
    elif what == "withdraws":
        writer.believe(next(iter(others), None))
    else:
        writer.step()


def finish(writer: Writer) -> None:
    """End a write that is under way."""
    while writer.under_way is not None:
        writer.step()


LIFE = ("announces", "asks", "asks", "withdraws", "asks", "asks")


@pytest.mark.parametrize("holder", ["a", "b", None])
def test_two_nodes_announce_and_withdraw_in_every_order(holder: str | None) -> None:
    for order in orders(LIFE, LIFE):
        api, writers = cluster()
        for name, what in order:
            do(writers, name, what)
        settle(writers, holder)
        assert right(api, holder), (order, api.status)


def test_one_of_two_dies_at_any_moment_of_every_order() -> None:
    """Then it cannot put right what it has said: the other compares anew once it is the only one to claim it."""
    for order in orders(LIFE, LIFE):
        for moment in range(len(order)):
            api, writers = cluster()
            writers["b"].believe("b")
            for name, what in order[:moment]:
                do(writers, name, what)
                if what == "withdraws" and name == "a":
                    finish(writers["a"])
                    writers["b"].believe("b", again=True)
            claimed = "a" in api.claiming
            api.claiming.discard("a")
            # A write that is under way may arrive after the death.
            finish(writers["a"])
            del writers["a"]
            writers["b"].believe("b", again=claimed)
            settle(writers, "b")
            assert right(api, "b"), (order[:moment], api.status)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, str]]:
    """What three nodes do one after the other, and now and then a few requests of each."""
    history: list[tuple[str, str]] = []
    for _ in range(draw(st.integers(1, 6))):
        history.append((draw(st.sampled_from(NODES)), draw(st.sampled_from(["announces", "withdraws"]))))
        for name in draw(st.permutations(NODES)):
            history += [(name, "asks")] * draw(st.integers(0, 3))
    return history


@settings(max_examples=examples(400), deadline=None)
@given(histories(), st.sampled_from([*NODES, None]))
def test_in_the_end_the_status_says_the_truth(history: list[tuple[str, str]], holder: str | None) -> None:
    api, writers = cluster()
    for name, what in history:
        do(writers, name, what)
    settle(writers, holder)
    assert right(api, holder), api.status


def test_a_node_that_has_just_lost_an_address_and_gets_it_back_says_so_again() -> None:
    api, writers = cluster()
    settle(writers, "b")
    # The address goes to another, which writes, and comes back before this node has written that it lost it.
    writers["b"].believe("a")
    writers["a"].believe("a")
    while writers["a"].step():
        pass
    assert named_in(api.status) == "a"
    settle(writers, "b")
    assert right(api, "b"), api.status


def test_nothing_to_say_is_said_about_what_was_never_touched() -> None:
    entry = ReportedAddress(node="a")
    assert entry.statement == Statement()
    assert not entry.is_to_tell(speaks_for_all=lambda: True)


@pytest.mark.parametrize("writer", NODES)
@pytest.mark.parametrize("announced", [True, False], ids=["was announced all the same", "was left to the host"])
def test_a_conflict_is_over_once_nobody_announces_the_address(writer: str, announced: bool) -> None:
    """The node that met the host knows of no conflict about what it announces no more, and nobody else ever did."""
    entry = ReportedAddress(node="a")
    entry.take(WEB, Announced(uid="", interfaces=("eth0",)) if announced else Asked(uid=""), now="")
    entry.contest(Contested(claimed=True, message="02:00:00:00:00:01 has it"))
    status = amended({}, entry.statement, node="a", is_gone=lambda _: False, now=NOW) or {}
    assert condition(status, "AddressConflict") == "True"
    entry.take(WEB, IDLE, now="")
    after = amended(status, entry.statement, node=writer, is_gone=lambda _: True, now=NOW) or {}
    assert condition(after, "AddressConflict") == "False"
    assert amended(after, entry.statement, node=writer, is_gone=lambda _: True, now=NOW) is None


def condition(status: Object, kind: str) -> str:
    return str(next(one["status"] for one in status.get("conditions") or () if one["type"] == kind))
