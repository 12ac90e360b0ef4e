"""Who counts as alive, and for how long: the state machine without sockets or clocks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from allocator.core.addresses import Address
from speaker.membership.heartbeat import Heartbeat, News, Phase, Tidings
from speaker.membership.lease_renewals import LEASE_COUNTS_SECONDS
from speaker.membership.membership import Membership, PeerChange, Verdict
from speaker.membership.state_sync import Spoken, Statement

DEAD_AFTER = 0.5
NOW = 0.0
"""For questions whose answer time alone does not change."""


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


def tick_through(members: Membership, start: float, end: float) -> list[str]:
    """Let the loop run every 10 ms, as it does, and return who was given up."""
    changes = []
    steps = round((end - start) / 0.01)
    for step in range(1, steps + 1):
        now = start + step * 0.01
        changes += members.tick(now)[1]
        members.outgoing(now)
    assert not any(change.alive for change in changes)
    return [change.node for change in changes]


def told(verdict: tuple[Verdict, list[PeerChange]]) -> list[tuple[str, bool, str]]:
    """What an accepted heartbeat changed."""
    assert verdict[0] is Verdict.ACCEPTED
    return [(change.node, change.alive, change.reason) for change in verdict[1]]


def answers(members: Membership, now: float) -> dict[str, Heartbeat]:
    """The last heartbeat due to each node."""
    return dict(members.outgoing(now))


def test_a_peer_is_alive_once_heard_and_dead_after_half_a_second_of_silence() -> None:
    members = membership("peer")
    assert members.alive(NOW) == frozenset()
    assert told(members.heard(beat(members), 0.1)) == [("peer", True, "heard")]
    assert members.alive(NOW) == {"peer"}
    assert tick_through(members, 0.0, 0.55) == []
    assert members.next_deadline() == pytest.approx(0.6)
    assert tick_through(members, 0.55, 0.62) == ["peer"]
    assert members.alive(NOW) == frozenset()


def test_a_node_never_heard_is_never_alive() -> None:
    members = membership("peer", "mute")
    members.heard(beat(members), 0.0)
    tick_through(members, 0.0, 3.0)
    assert "mute" not in members.alive(NOW)


def test_this_node_is_alive_only_while_it_serves() -> None:
    members = membership()
    assert members.alive(NOW) == frozenset()
    members.phase = Phase.SERVING
    assert members.alive(NOW) == {"me"}
    members.phase = Phase.LEAVING
    assert members.alive(NOW) == frozenset()


def test_a_peer_that_starts_or_leaves_cannot_announce() -> None:
    members = membership("peer")
    members.heard(beat(members, sequence=1, phase=Phase.STARTING), 0.0)
    assert members.alive(NOW) == frozenset()
    members.heard(beat(members, sequence=2), 0.1)
    assert members.alive(NOW) == {"peer"}
    leaving = members.heard(beat(members, sequence=3, phase=Phase.LEAVING), 0.2)
    assert told(leaving) == [("peer", False, "leaving")]
    assert members.alive(NOW) == frozenset()


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
    assert members.alive(NOW) == frozenset()
    assert members.outgoing(0.0)[0][1].echo == stale.challenge


def test_two_processes_that_do_not_know_each_other_agree_after_one_answer_each() -> None:
    here, there = membership("peer"), membership("me", node="peer")
    here.phase = there.phase = Phase.SERVING
    hello = here.heartbeat_to("peer")
    assert there.heard(hello, 0.0)[0] is Verdict.UNPROVEN
    assert here.heard(there.outgoing(0.0)[0][1], 0.0)[0] is Verdict.ACCEPTED
    assert there.heard(answers(here, 0.0)["peer"], 0.0)[0] is Verdict.ACCEPTED
    assert here.heard(answers(there, 0.0)["me"], 0.0)[0] is Verdict.ACCEPTED
    assert here.alive(NOW) == there.alive(NOW) == {"me", "peer"}


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
    assert members.alive(NOW) == frozenset()


def test_a_peer_that_was_given_up_counts_again_once_it_has_told_what_it_states_now() -> None:
    members, spoken = membership("peer"), Spoken()

    def heard(sequence: int, now: float, *, whole: bool) -> list[tuple[str, bool, str]]:
        heartbeat = replace(beat(members, sequence=sequence), version=spoken.version)
        chunks = tuple(spoken.since(members.heartbeat_to("peer").have)) if whole else ()
        return told(members.heard(replace(heartbeat, chunks=chunks), now))

    spoken.state(Statement(claims={Address.parse("192.0.2.1"): 1}))
    assert heard(1, 0.0, whole=True) == [("peer", True, "heard")]
    assert tick_through(members, 0.0, 0.6) == ["peer"]
    spoken.state(Statement(claims={Address.parse("192.0.2.1"): 1, Address.parse("192.0.2.2"): 2}))
    assert heard(2, 0.7, whole=False) == []
    assert members.alive(0.7) == frozenset()
    assert heard(3, 0.8, whole=True) == [("peer", True, "heard")]
    assert members.statements()["peer"] == spoken.statement
    spoken.state(Statement())
    assert heard(4, 0.9, whole=False) == [], "while it lives, news may be under way"
    assert members.alive(0.9) == {"peer"}


def test_only_who_has_just_told_all_it_states_is_heard_well_enough_to_be_judged_and_others_are_asked() -> None:
    members = membership("peer", "mute")
    members.heard(beat(members), 0.0)
    answers(members, 0.0)
    assert members.hearing(["peer", "mute", "stranger"], 0.1) == {"peer"}
    asked = answers(members, 0.1)
    assert (asked["mute"].probe, asked["peer"].probe) == (True, False)
    assert members.hearing(["peer"], 0.3) == frozenset(), "not just now"
    news_under_way = replace(beat(members, sequence=2), version=1)
    members.heard(news_under_way, 0.4)
    assert members.hearing(["peer"], 0.4) == frozenset(), "it has more to tell"


def test_strangers_and_ourselves_are_not_heard() -> None:
    members = membership("peer")
    assert members.heard(beat(members, "stranger", echo=1), 0.0) == (Verdict.UNKNOWN_SENDER, [])
    assert members.heard(beat(members, "me", echo=1), 0.0) == (Verdict.UNKNOWN_SENDER, [])


def test_a_node_that_is_removed_is_given_up_and_others_are_kept() -> None:
    members = membership("peer", "other")
    members.heard(beat(members, "peer"), 0.0)
    members.heard(beat(members, "other"), 0.0)
    gone = members.set_peers(["me", "other", "new"], 0.1)
    assert [(change.node, change.alive) for change in gone] == [("peer", False)]
    assert members.alive(NOW) == {"other"}


def test_after_a_stall_of_our_own_nobody_is_given_up_before_a_fresh_silence() -> None:
    members = membership("peer", "other")
    for peer in ("peer", "other"):
        members.heard(beat(members, peer), 0.0)
    assert members.tick(10.0) == (10.0, [])
    assert members.alive(NOW) == {"peer", "other"}
    members.heard(beat(members, "peer", sequence=2), 10.4)
    # "peer" is asked about "other", and does not answer.
    assert tick_through(members, 10.0, 10.6) == []
    members.heard(beat(members, "peer", sequence=3), 10.6)
    assert tick_through(members, 10.6, 10.8) == ["other"]


def fenced(members: Membership) -> bool:
    return members.fenced


def news_to(members: Membership, node: str, now: float) -> list[tuple[str, Tidings]]:
    """What this member tells the node about others."""
    return [(news.about, news.tidings) for to, sent in members.outgoing(now) if to == node for news in sent.news]


def three() -> Membership:
    """Me, and two others just heard; "suspect" says nothing from then on."""
    members = membership("suspect", "witness")
    for peer in ("suspect", "witness"):
        members.heard(beat(members, peer), 0.0)
    tick_through(members, 0.0, 0.3)
    members.heard(beat(members, "witness", sequence=2), 0.3)
    return members


def says(members: Membership, tidings: Tidings, *, sequence: int, sender: str = "witness") -> Heartbeat:
    """A heartbeat with tidings about "suspect"."""
    news = News(about="suspect", tidings=tidings, incarnation=1)
    return replace(beat(members, sender, sequence=sequence), news=(news,))


def test_a_silent_peer_is_given_up_at_once_when_another_does_not_hear_it_either() -> None:
    members = three()
    assert tick_through(members, 0.3, 0.49) == []
    members.heard(says(members, Tidings.SUSPECTED, sequence=3), 0.49)
    assert tick_through(members, 0.49, 0.51) == ["suspect"]
    assert ("suspect", Tidings.DEAD) in news_to(members, "witness", 0.65), "said again and again"


def test_a_silent_peer_that_another_hears_stays_alive() -> None:
    members = three()
    for step in range(20):
        now = 0.5 + step * 0.1
        members.heard(says(members, Tidings.VOUCHED, sequence=3 + step), now)
        assert tick_through(members, now, now + 0.1) == []
    assert "suspect" in members.alive(NOW)


def test_whoever_hears_a_suspect_vouches_and_whoever_does_not_joins_the_suspicion() -> None:
    members = membership("suspect", "witness")
    for peer in ("suspect", "witness"):
        members.heard(beat(members, peer), 0.0)
    members.heard(says(members, Tidings.SUSPECTED, sequence=2), 0.1)
    assert news_to(members, "witness", 0.1) == [("suspect", Tidings.VOUCHED)]
    tick_through(members, 0.1, 0.3)
    members.heard(says(members, Tidings.SUSPECTED, sequence=3), 0.3)
    assert news_to(members, "witness", 0.3) == [("suspect", Tidings.SUSPECTED)]


def test_a_peer_that_the_others_gave_up_is_given_up_unless_it_was_just_heard() -> None:
    members = three()
    members.heard(beat(members, "suspect", sequence=2), 0.3)
    assert told(members.heard(says(members, Tidings.DEAD, sequence=3), 0.31)) == []
    assert tick_through(members, 0.31, 0.6) == []
    given_up = told(members.heard(says(members, Tidings.DEAD, sequence=4), 0.6))
    assert given_up == [("suspect", False, "reported by witness")]


def test_news_of_a_former_process_harms_nobody() -> None:
    members = three()
    members.heard(beat(members, "suspect", sequence=1, incarnation=2), 0.3)
    assert told(members.heard(says(members, Tidings.DEAD, sequence=3), 0.6)) == []


def test_after_a_long_standstill_it_is_fenced_until_everyone_has_spoken_anew() -> None:
    members = membership("peer", "other")
    members.phase = Phase.SERVING
    for peer in ("peer", "other"):
        members.heard(beat(members, peer), 0.0)
    members.tick(3.0)
    assert fenced(members)
    assert {node for node, heartbeat in members.outgoing(3.0) if heartbeat.probe} == {"peer", "other"}
    members.heard(beat(members, "peer", sequence=2), 3.01)
    # "other" announces more than we know of: what, must come first.
    behind = replace(beat(members, "other", sequence=2), version=1)
    members.heard(behind, 3.02)
    members.tick(3.02)
    assert fenced(members)
    news = Spoken()
    news.state(Statement(claims={Address.parse("192.0.2.1"): 7}))
    members.heard(replace(beat(members, "other", sequence=3), version=1, chunks=tuple(news.since(0))), 3.03)
    members.tick(3.03)
    assert not fenced(members)
    assert members.statements()["other"].claims == {Address.parse("192.0.2.1"): 7}


def test_a_standstill_too_short_for_others_to_notice_fences_nothing() -> None:
    members = membership("peer")
    members.phase = Phase.SERVING
    members.heard(beat(members), 0.0)
    assert members.tick(0.3)[0] > 0
    assert not fenced(members)


def test_a_peer_that_only_its_lease_speaks_for_is_alive_until_the_lease_is_old() -> None:
    members = membership("peer")
    tick_through(members, 0.0, 1.0)
    members.renewed("peer", 1.0)
    assert members.alive(1.0) == frozenset(), "it may have been written before the silence began"
    members.renewed("peer", 11.0)
    assert members.alive(11.0) == frozenset(), "it may have waited in an API server that stood still"
    members.renewed("peer", 21.0)
    assert members.alive(21.0) == members.by_lease(21.0) == {"peer"}
    assert members.alive(21.0 + LEASE_COUNTS_SECONDS) == frozenset()
    members.renewed("peer", 50.0)
    members.heard(beat(members), 51.0)
    assert members.by_lease(51.0) == frozenset()
    assert members.alive(51.0) == {"peer"}


def test_renewals_that_a_stalled_api_server_works_off_at_once_bring_no_dead_peer_back() -> None:
    members = membership("peer")
    members.heard(beat(members), 0.0)
    tick_through(members, 0.0, 3.0)
    for at in (3.0, 3.01, 3.2):
        members.renewed("peer", at)
    assert members.alive(3.2) == frozenset()
    assert members.by_lease(10.0) == frozenset()


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
        before = self.members.alive(NOW)
        self.now += seconds
        stalled, changes = self.members.tick(self.now)
        assert stalled > 0
        assert changes == []
        assert self.members.alive(NOW) == before
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
        if "peer" in self.members.alive(NOW):
            assert self.now - self.last_proof < DEAD_AFTER + 0.25
        elif self.accepted:
            assert self.now - self.last_proof >= DEAD_AFTER


TestNetwork = Network.TestCase
