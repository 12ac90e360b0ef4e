"""Who counts as alive, and for how long: the state machine without sockets or clocks."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from speaker.heartbeat import Heartbeat, Phase
from speaker.membership import Membership, PeerChange, Verdict

DEAD_AFTER = 0.5


def membership(*peers: str, node: str = "me") -> Membership:
    numbers = itertools.count(1000)
    made = Membership(node=node, dead_after_seconds=DEAD_AFTER, now=0.0, new_number=lambda: next(numbers))
    made.set_peers([node, *peers], 0.0)
    return made


def beat(
    members: Membership,
    sender: str = "peer",
    sequence: int = 1,
    *,
    incarnation: int = 1,
    echo: int | None = None,
    phase: Phase = Phase.SERVING,
) -> Heartbeat:
    """A heartbeat to `members` from a process that has heard its present challenge (unless `echo` says otherwise)."""
    challenge = members.heartbeat_to(sender).challenge if echo is None else echo
    return Heartbeat(
        sender=sender, phase=phase, incarnation=incarnation, challenge=77, echo=challenge, sequence=sequence
    )


def tick_through(members: Membership, start: float, end: float) -> list[PeerChange]:
    """Let the loop run every 10 ms, as it does, and return what it noticed."""
    changes = []
    steps = round((end - start) / 0.01)
    for step in range(1, steps + 1):
        changes += members.tick(start + step * 0.01)[1]
    return changes


def test_a_peer_is_alive_once_heard_and_dead_after_half_a_second_of_silence() -> None:
    members = membership("peer")
    assert members.alive() == frozenset()
    assert members.heard(beat(members), 0.1) == (Verdict.ACCEPTED, [PeerChange("peer", True, "heard")])
    assert members.alive() == {"peer"}
    assert members.next_deadline() == pytest.approx(0.6)
    assert tick_through(members, 0.0, 0.59) == []
    assert tick_through(members, 0.59, 0.62) == [PeerChange("peer", False, "silent for 0.500 s")]
    assert members.alive() == frozenset()
    assert members.next_deadline() is None


def test_a_node_never_heard_is_never_alive() -> None:
    members = membership("peer", "mute")
    members.heard(beat(members), 0.0)
    tick_through(members, 0.0, 3.0)
    assert "mute" not in members.alive()


def test_this_node_is_alive_only_while_it_serves() -> None:
    members = membership()
    assert members.alive() == frozenset()
    members.phase = Phase.SERVING
    assert members.alive() == {"me"}
    members.phase = Phase.LEAVING
    assert members.alive() == frozenset()


def test_a_peer_that_starts_or_leaves_cannot_announce() -> None:
    members = membership("peer")
    members.heard(beat(members, sequence=1, phase=Phase.STARTING), 0.0)
    assert members.alive() == frozenset()
    members.heard(beat(members, sequence=2), 0.1)
    assert members.alive() == {"peer"}
    verdict = members.heard(beat(members, sequence=3, phase=Phase.LEAVING), 0.2)
    assert verdict == (Verdict.ACCEPTED, [PeerChange("peer", False, "leaving")])
    assert members.alive() == frozenset()


@pytest.mark.parametrize("sequence", [1, 2])
def test_an_old_heartbeat_counts_for_nothing(sequence: int) -> None:
    members = membership("peer")
    members.heard(beat(members, sequence=2), 0.0)
    assert members.heard(beat(members, sequence=sequence), 0.4) == (Verdict.REPLAYED, [])
    assert tick_through(members, 0.0, 0.52)


def test_a_heartbeat_without_our_challenge_proves_nothing_and_gets_an_answer() -> None:
    members = membership("peer")
    stale = beat(members, echo=5)
    assert members.heard(stale, 0.0) == (Verdict.UNPROVEN, [])
    assert members.alive() == frozenset()
    assert members.answer_to(stale).echo == stale.challenge


def test_two_processes_that_do_not_know_each_other_agree_after_one_answer_each() -> None:
    here, there = membership("peer"), membership("me", node="peer")
    here.phase = there.phase = Phase.SERVING
    hello = here.heartbeat_to("peer")
    assert there.heard(hello, 0.0)[0] is Verdict.UNPROVEN
    assert here.heard(there.answer_to(hello), 0.0)[0] is Verdict.ACCEPTED
    assert there.heard(here.heartbeat_to("peer"), 0.0)[0] is Verdict.ACCEPTED
    assert here.alive() == there.alive() == {"me", "peer"}


def test_a_restarted_peer_replaces_its_former_self_for_good() -> None:
    members = membership("peer")
    members.heard(beat(members, sequence=50, incarnation=1), 0.0)
    straggler = beat(members, sequence=51, incarnation=1)
    assert members.heard(beat(members, sequence=1, incarnation=2), 0.1)[0] is Verdict.ACCEPTED
    assert members.heard(straggler, 0.2)[0] is Verdict.UNPROVEN
    assert members.heard(beat(members, sequence=2, incarnation=2), 0.3)[0] is Verdict.ACCEPTED


def test_a_heartbeat_held_back_until_its_sender_was_given_up_revives_nobody() -> None:
    members = membership("peer")
    members.heard(beat(members), 0.0)
    held_back = beat(members, sequence=2)
    tick_through(members, 0.0, 0.6)
    assert members.heard(held_back, 0.6) == (Verdict.UNPROVEN, [])
    assert members.alive() == frozenset()


def test_strangers_and_ourselves_are_not_heard() -> None:
    members = membership("peer")
    assert members.heard(beat(members, "stranger", echo=1), 0.0) == (Verdict.UNKNOWN_SENDER, [])
    assert members.heard(beat(members, "me", echo=1), 0.0) == (Verdict.UNKNOWN_SENDER, [])


def test_a_node_that_is_removed_is_given_up_and_others_are_kept() -> None:
    members = membership("peer", "other")
    members.heard(beat(members, "peer"), 0.0)
    members.heard(beat(members, "other"), 0.0)
    assert members.set_peers(["me", "other", "new"], 0.1) == [PeerChange("peer", False, "node removed")]
    assert members.alive() == {"other"}


def test_after_a_stall_of_our_own_nobody_is_given_up_before_a_fresh_silence() -> None:
    members = membership("peer", "other")
    for peer in ("peer", "other"):
        members.heard(beat(members, peer), 0.0)
    assert members.tick(10.0) == (10.0, [])
    assert members.alive() == {"peer", "other"}
    members.heard(beat(members, "peer", sequence=2), 10.2)
    changes = tick_through(members, 10.0, 10.55)
    assert [change.node for change in changes] == ["other"]


def test_it_settles_when_all_were_heard_or_had_a_second_to_be() -> None:
    members = Membership(node="me", dead_after_seconds=DEAD_AFTER, now=0.0, new_number=lambda: 1)
    assert not members.settled(100.0), "who the peers are is not known yet"
    members.set_peers(["me", "peer", "mute"], 100.0)
    members.heard(beat(members), 100.1)
    assert not members.settled(100.5)
    assert members.settled(101.0)
    members.heard(beat(members, "mute"), 100.6)
    assert members.settled(100.6)


def test_a_node_alone_is_settled_at_once() -> None:
    assert membership().settled(0.0)


def test_own_heartbeats_only_ever_grow() -> None:
    members = membership("peer", "other")
    sequences = [members.heartbeat_to(peer).sequence for peer in ("peer", "other") * 3]
    assert sequences == sorted(set(sequences))


class Network(RuleBasedStateMachine):
    """A peer that lives, dies and restarts, a wire that loses, repeats and reorders, and a loop that may stall."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.members = membership("peer")
        self.incarnation = 1
        self.sequence = 0
        self.running = True
        self.recorded: list[Heartbeat] = []
        self.accepted: set[tuple[int, int]] = set()
        self.last_proof = -100.0

    @precondition(lambda self: self.running)
    @rule(delivered=st.booleans())
    def send(self, delivered: bool) -> None:
        self.sequence += 1
        heartbeat = beat(self.members, sequence=self.sequence, incarnation=self.incarnation)
        self.recorded.append(heartbeat)
        if delivered:
            self.deliver(heartbeat)

    @precondition(lambda self: self.recorded)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        self.deliver(data.draw(st.sampled_from(self.recorded)))

    @rule()
    def restart(self) -> None:
        self.incarnation += 1
        self.sequence = 0
        self.running = True

    @rule()
    def die(self) -> None:
        self.running = False

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.24]))
    def run(self, seconds: float) -> None:
        self.now += seconds
        self.members.tick(self.now)

    @rule(seconds=st.floats(0.3, 30))
    def stall(self, seconds: float) -> None:
        before = self.members.alive()
        self.now += seconds
        stalled, changes = self.members.tick(self.now)
        assert stalled > 0
        assert changes == []
        assert self.members.alive() == before
        if before:
            self.last_proof = self.now

    def deliver(self, heartbeat: Heartbeat) -> None:
        verdict, _ = self.members.heard(heartbeat, self.now)
        if verdict is Verdict.ACCEPTED:
            proof = (heartbeat.incarnation, heartbeat.sequence)
            assert proof not in self.accepted, "one datagram, one sign of life"
            assert all(proof > earlier for earlier in self.accepted), "never back to an earlier process or heartbeat"
            self.accepted.add(proof)
            self.last_proof = self.now

    @invariant()
    def silence_is_bounded(self) -> None:
        if "peer" in self.members.alive():
            assert self.now - self.last_proof < DEAD_AFTER + 0.25
        elif self.accepted:
            assert self.now - self.last_proof >= DEAD_AFTER


TestNetwork = Network.TestCase
