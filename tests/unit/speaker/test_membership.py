"""Who counts as alive, and for how long: the state machine without sockets or clocks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from allocator.core.addresses import Address, Family
from speaker.membership.durations import (
    DEFAULT_INTERVAL_SECONDS,
    LATE_SECONDS,
    TURN_INTERVALS,
    UnfitDurations,
    check_durations,
)
from speaker.membership.fence import Fence
from speaker.membership.hearing import FORGET_SECONDS, Verdict
from speaker.membership.heartbeat import Heartbeat, Phase
from speaker.membership.lease_evidence import LEASE_COUNTS_ALONE_SECONDS, LEASE_COUNTS_SECONDS, LEASE_DOUBT_SECONDS
from speaker.membership.membership import Membership, PeerChange
from speaker.membership.send_schedule import CHUNKS_A_TURN
from speaker.membership.side import SETTLE_SECONDS
from speaker.membership.state_sync import AdvertisedState, Chunk, Claim, SentState

DEAD_AFTER = 0.5
TURN_SECONDS = TURN_INTERVALS * DEFAULT_INTERVAL_SECONDS
FIRST = {Address.parse("192.0.2.1"): Claim(term=1)}
NOW = 0.0
"""For questions whose answer time alone does not change."""


def membership(*peers: str, node: str = "me") -> Membership:
    numbers = itertools.count(1000)
    made = Membership(node=node, dead_after_seconds=DEAD_AFTER, now=0.0, new_number=lambda: next(numbers))
    made.set_peers([node, *peers], 0.0)
    return made


def alive(members: Membership, now: float = NOW) -> frozenset[str]:
    return members.liveness(now).alive


def beat(
    members: Membership,
    sender: str = "peer",
    sequence: int = 1,
    *,
    incarnation: int = 1,
    echo: int | None = None,
    phase: Phase = Phase.SERVING,
    hears: bool = True,
) -> Heartbeat:
    """A heartbeat to `members` from a process that has heard its present challenge (unless `echo` says otherwise)."""
    challenge = members.heartbeat_to(sender).challenge if echo is None else echo
    return Heartbeat(
        sender=sender,
        phase=phase,
        incarnation=incarnation,
        challenge=77,
        echo=challenge,
        sequence=sequence,
        hears=hears,
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
    assert alive(members) == frozenset()
    assert told(members.heard(beat(members), 0.1)) == [("peer", True, "heard")]
    assert alive(members) == {"peer"}
    assert tick_through(members, 0.0, 0.55) == []
    assert members.next_deadline() == pytest.approx(0.6)
    assert tick_through(members, 0.55, 0.62) == ["peer"]
    assert alive(members) == frozenset()


def test_a_node_never_heard_is_never_alive() -> None:
    members = membership("peer", "mute")
    members.heard(beat(members), 0.0)
    tick_through(members, 0.0, 3.0)
    assert "mute" not in alive(members)


def test_this_node_is_alive_only_while_it_serves() -> None:
    members = membership()
    assert alive(members) == frozenset()
    members.enter(Phase.SERVING, NOW)
    assert alive(members) == {"me"}
    members.enter(Phase.LEAVING, NOW)
    assert alive(members) == frozenset()


def test_a_peer_that_starts_or_leaves_cannot_announce() -> None:
    members = membership("peer")
    members.heard(beat(members, sequence=1, phase=Phase.STARTING), 0.0)
    assert alive(members) == frozenset()
    members.heard(beat(members, sequence=2), 0.1)
    assert alive(members) == {"peer"}
    leaving = members.heard(beat(members, sequence=3, phase=Phase.LEAVING), 0.2)
    assert told(leaving) == [("peer", False, "leaving")]
    assert alive(members) == frozenset()


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
    assert alive(members) == frozenset()
    assert members.outgoing(0.0)[0][1].echo == stale.challenge


def test_two_processes_that_do_not_know_each_other_agree_after_one_answer_each() -> None:
    here, there = membership("peer"), membership("me", node="peer")
    here.enter(Phase.SERVING, NOW)
    there.enter(Phase.SERVING, NOW)
    hello = here.heartbeat_to("peer")
    assert there.heard(hello, 0.0)[0] is Verdict.UNPROVEN
    assert here.heard(there.outgoing(0.0)[0][1], 0.0)[0] is Verdict.ACCEPTED
    assert there.heard(answers(here, 0.0)["peer"], 0.0)[0] is Verdict.ACCEPTED
    assert here.heard(answers(there, 0.0)["me"], 0.0)[0] is Verdict.ACCEPTED
    assert alive(here) == alive(there) == {"me", "peer"}


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
    assert alive(members) == frozenset()


@pytest.mark.parametrize(("incarnation", "have"), [(1, 1), (2, 0)], ids=["the same process", "a new one"])
def test_who_has_to_prove_itself_anew_is_answered_with_the_version_that_is_known_of_that_process(
    incarnation: int, have: int
) -> None:
    """So that being heard again sends only what has changed, and names what was given up meanwhile."""
    members, sent = membership("peer"), SentState()
    sent.advertise(AdvertisedState(claims=FIRST))
    members.heard(replace(beat(members), version=1, chunks=tuple(sent.since(0))), 0.0)
    tick_through(members, 0.0, 0.6)
    members.outgoing(0.6)
    unproven = replace(beat(members, sequence=2, incarnation=incarnation, echo=1), challenge=78)
    assert members.heard(unproven, 0.7)[0] is Verdict.UNPROVEN
    [(node, answer)] = [each for each in members.outgoing(0.7) if each[1].echo == unproven.challenge]
    assert (node, answer.have) == ("peer", have)


def test_a_peer_that_was_given_up_is_alive_again_at_once_and_heard_once_its_claims_are_known() -> None:
    members, sent = membership("peer"), SentState()

    def heard(sequence: int, now: float, *, whole: bool) -> list[tuple[str, bool, str]]:
        heartbeat = replace(beat(members, sequence=sequence), version=sent.version)
        chunks = tuple(sent.since(members.heartbeat_to("peer").have)) if whole else ()
        return told(members.heard(replace(heartbeat, chunks=chunks), now))

    sent.advertise(AdvertisedState(claims=FIRST))
    assert heard(1, 0.0, whole=True) == [("peer", True, "heard")]
    assert tick_through(members, 0.0, 0.6) == ["peer"]
    sent.advertise(AdvertisedState(claims={**FIRST, Address.parse("192.0.2.2"): Claim(term=2)}))
    assert heard(2, 0.7, whole=False) == [("peer", True, "heard")]
    assert alive(members, 0.7) == members.liveness(0.7).arriving == {"peer"}
    assert members.liveness(0.7).heard == frozenset()
    assert heard(3, 0.8, whole=True) == []
    assert members.liveness(0.8).heard == {"peer"}
    assert members.states()["peer"] == sent.state
    sent.advertise(AdvertisedState())
    assert heard(4, 0.9, whole=False) == [], "while it lives, news may be under way"
    assert alive(members, 0.9) == {"peer"}


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
    assert alive(members) == {"other"}


def test_after_a_stall_of_our_own_nobody_is_given_up_before_a_fresh_silence() -> None:
    members = membership("peer", "other")
    for peer in ("peer", "other"):
        members.heard(beat(members, peer), 0.0)
    assert members.tick(10.0) == (10.0, [])
    assert alive(members) == {"peer", "other"}
    members.heard(beat(members, "peer", sequence=2), 10.4)
    assert tick_through(members, 10.0, 10.4) == []
    assert tick_through(members, 10.4, 10.6) == ["other"]


def fenced(members: Membership) -> bool:
    return members.fenced


def test_after_a_long_standstill_it_is_fenced_until_everyone_has_sent_anew() -> None:
    members = membership("peer", "other")
    members.enter(Phase.SERVING, NOW)
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
    news = SentState()
    news.advertise(AdvertisedState(claims=FIRST))
    members.heard(replace(beat(members, "other", sequence=3), version=1, chunks=tuple(news.since(0))), 3.03)
    members.tick(3.03)
    assert not fenced(members)
    assert members.states()["other"].claims == FIRST


def test_a_standstill_too_short_for_others_to_notice_fences_nothing() -> None:
    members = membership("peer")
    members.enter(Phase.SERVING, NOW)
    members.heard(beat(members), 0.0)
    assert members.tick(0.34) == (0.0, [])
    assert not fenced(members)


def test_a_loop_that_is_late_turn_after_turn_judges_by_what_it_listened_to_and_does_judge() -> None:
    members = membership("peer")
    members.heard(beat(members), 0.0)
    changes = {turn: members.tick(turn * 0.3)[1] for turn in range(1, 5)}
    assert [turn for turn, each in changes.items() if each] == [4], "four turns of 0.15 s at most"


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


def test_hearing_is_mutual_or_it_is_none() -> None:
    members = membership("peer")
    members.heard(beat(members, hears=False), 0.0)
    assert alive(members) == frozenset(), "it does not hear us"
    assert told(members.heard(beat(members, sequence=2), 0.1)) == [("peer", True, "heard")]
    assert told(members.heard(beat(members, sequence=3, hears=False), 0.2)) == [
        ("peer", False, "does not hear this node")
    ]


def linked_to(members: Membership, sender: str, *hears: str, sequence: int = 1) -> Heartbeat:
    """A heartbeat of a peer that says whom it hears."""
    sent = SentState()
    for number in range(sequence):
        sent.advertise(
            AdvertisedState(hears=frozenset(hears), claims={Address.parse(f"192.0.2.{number}"): Claim(term=1)})
        )
    return replace(beat(members, sender, sequence=sequence), version=sent.version, chunks=tuple(sent.since(0)))


def test_whom_only_others_hear_is_alive_until_none_of_them_does() -> None:
    members = membership("peer", "witness")
    members.heard(beat(members), 0.0)
    members.heard(linked_to(members, "witness", "peer", "me"), 0.0)
    for step in range(1, 20):
        members.heard(linked_to(members, "witness", "peer", "me", sequence=1 + step), step * 0.1)
        assert tick_through(members, step * 0.1, step * 0.1 + 0.09) == []
    assert members.liveness(2.0).heard == {"witness"}
    assert alive(members) == {"peer", "witness"}
    members.heard(linked_to(members, "witness", "me", sequence=30), 2.0)
    assert alive(members) == {"witness"}


def test_what_a_dead_peer_said_of_whom_it_hears_keeps_nobody_alive() -> None:
    members = membership("peer", "witness")
    members.heard(linked_to(members, "witness", "peer", "me"), 0.0)
    members.heard(linked_to(members, "peer", "witness", "me"), 0.0)
    assert sorted(tick_through(members, 0.0, 0.6)) == ["peer", "witness"]


def test_an_authentic_heartbeat_that_names_a_node_makes_a_peer_and_a_lost_lease_ends_none() -> None:
    members = membership()
    members.set_peers([], 0.0, hosts=["me", "peer"])
    assert members.heard(beat_of_a_stranger("peer"), 0.0)[0] is Verdict.UNPROVEN
    members.heard(beat(members), 0.0)
    assert alive(members) == {"peer"}
    assert members.set_peers([], 0.1, hosts=["me", "peer"]) == []
    assert alive(members) == {"peer"}
    assert [change.node for change in members.set_peers([], 0.1, hosts=["me"])] == ["peer"], "the Node is gone"
    assert members.heard(beat_of_a_stranger("other"), 0.2)[0] is Verdict.UNKNOWN_SENDER


def test_a_node_that_does_not_serve_is_named_only_if_it_renewed_its_lease_after_it_fell_silent() -> None:
    members = membership("peer")
    members.heard(beat(members), 0.0)
    tick_through(members, 0.0, 1.0)
    members.renewed("peer", 0, 10.0, serving=False, since=-1.0)
    assert members.unheard(10.0) == frozenset(), "it took its name off when it stopped"
    members.renewed("peer", 0, 20.0, serving=False, since=10.0)
    assert members.unheard(20.0) == {"peer"}
    assert members.liveness(20.0).silent == frozenset()


def test_a_lone_survivor_does_not_live_by_its_own_lease() -> None:
    """Or nothing would ever be settled on it, and each of its decisions would look at everything."""
    members = membership("peer")
    members.enter(Phase.SERVING, 0.0)
    members.liveness(0.0)
    members.renewed("me", 0, LEASE_DOUBT_SECONDS + 1.0, since=LEASE_DOUBT_SECONDS)
    found = members.liveness(LEASE_DOUBT_SECONDS + 1.0)
    assert found.alone
    assert not found.silent
    assert found.alive == {"me"}


def test_a_silent_node_whose_lease_is_gone_is_sent_to_until_it_would_have_written_another() -> None:
    members = membership("peer")
    members.heard(beat(members), 0.0)
    tick_through(members, 0.0, 1.0)
    members.set_peers([], 2.0, hosts=["me", "peer"])
    assert [node for node, _ in members.outgoing(2.5)] == ["peer"]
    members.set_peers([], FORGET_SECONDS + 1.0, hosts=["me", "peer"])
    assert members.outgoing(FORGET_SECONDS + 2.0) == []


def test_a_long_state_goes_to_many_over_several_turns_and_is_worked_out_once() -> None:
    names = [f"node-{number}" for number in range(20)]
    members = membership(*names)
    for name in names:
        members.heard(beat(members, name), 0.0)
    members.outgoing(0.0)
    claims = {Address(Family.IPV4, value): Claim(term=1) for value in range(5000)}
    members.advertise(AdvertisedState(claims=claims), 0.1)
    delivered: dict[str, list[Chunk]] = {}
    turns = 0
    while members.next_deadline() < 0.1:
        sent = [(node, heartbeat) for node, heartbeat in members.outgoing(0.1) if heartbeat.chunks]
        for node, heartbeat in sent:
            delivered.setdefault(node, []).extend(heartbeat.chunks)
        turns += 1
        assert len(sent) < CHUNKS_A_TURN + 100
    assert turns > 1
    assert set(delivered) == set(names)
    first = delivered[names[0]]
    assert all(len(each) == len(first) == first[0].count for each in delivered.values()), "each got all of it"
    assert all(one is other for each in delivered.values() for one, other in zip(each, first, strict=True))


def beat_of_a_stranger(name: str) -> Heartbeat:
    return Heartbeat(sender=name, phase=Phase.SERVING, incarnation=1, challenge=77, echo=0, sequence=1)


def test_a_side_counts_who_has_been_on_it_for_a_while_and_for_nothing_after_a_standstill() -> None:
    members = membership("peer", "other")
    members.enter(Phase.SERVING, 0.0)
    for step in range(60):
        now = step * 0.1
        members.heard(beat(members, "peer", sequence=1 + step), now)
        if now > 2.0:
            members.heard(beat(members, "other", sequence=1 + step), now)
        members.tick(now)
    sides = members.liveness(5.9).sides
    assert sides["me"] == 2, "the other has come too late"
    members.tick(9.0)
    assert members.liveness(9.0).sides["me"] == 0
    tick_through(members, 9.0, 9.0 + SETTLE_SECONDS + 0.1)
    assert members.liveness(9.0 + SETTLE_SECONDS + 0.1).sides["me"] == 1


def deaf(linked: int) -> Membership:
    """One that hears a peer that does not hear it, and has so many on its side."""
    members = membership("peer")
    for step in range(8):
        heartbeat = replace(beat(members, sequence=1 + step, hears=False), linked=linked)
        members.heard(heartbeat, step * 0.1)
        members.tick(step * 0.1)
    return members


def test_who_hears_without_being_heard_is_cut_off_unless_its_side_is_the_larger() -> None:
    assert deaf(linked=1).liveness(0.8).cut_off_from == {"peer"}, "it cannot know what we do; only we can give way"
    assert deaf(linked=0).liveness(0.8).cut_off_from == frozenset()


def leased(hears: int) -> Membership:
    """One that hears nobody, and sees a Lease being renewed that says how many others its node hears."""
    members = membership("peer")
    tick_through(members, 0.0, 1.0)
    members.liveness(1.0)
    members.renewed("peer", hears, LEASE_DOUBT_SECONDS - 0.1)
    assert members.liveness(LEASE_DOUBT_SECONDS).silent == frozenset(), "it may have been written before"
    members.renewed("peer", hears, LEASE_DOUBT_SECONDS + 0.1)
    return members


def test_a_lease_speaks_for_a_node_only_where_nobody_hears_anybody() -> None:
    members = leased(hears=0)
    assert members.liveness(6.0).silent == {"peer"}
    assert alive(members, 6.0) == frozenset(), "that is for those who ask its kernel to say"
    ends_at = LEASE_DOUBT_SECONDS + 0.1 + LEASE_COUNTS_ALONE_SECONDS
    for step in range(int(ends_at)):
        members.renewed("me", 0, float(step))
    assert members.liveness(ends_at - 0.1).silent == {"peer"}
    assert members.liveness(ends_at).silent == frozenset()
    members.renewed("peer", 0, 50.0)
    members.heard(beat(members), 51.0)
    assert not members.liveness(51.0).silent
    assert alive(members, 51.0) == {"peer"}


@pytest.mark.parametrize("hears", [0, 3])
def test_only_time_in_which_the_own_lease_is_seen_to_be_renewed_counts_against_a_peer(hears: int) -> None:
    members = leased(hears)

    def known(now: float) -> bool:
        liveness = members.liveness(now)
        return "peer" in (liveness.cut_off_from if hears else liveness.silent)

    members.renewed("me", 0, 6.0)
    assert known(1000.0), "the API server is away"
    members.renewed("me", 0, 1000.0)
    last = LEASE_COUNTS_SECONDS if hears else LEASE_COUNTS_ALONE_SECONDS
    for step in range(int(last)):
        members.renewed("me", 0, 1000.0 + step)
        assert known(1000.5 + step), "it has the time that any renewal has"
    assert not known(1000.0 + last)


def test_whose_lease_alone_is_renewed_is_named_until_it_is_heard_or_its_lease_is_old() -> None:
    assert leased(hears=3).unheard(6.0) == leased(hears=0).unheard(6.0) == {"peer"}
    assert leased(hears=3).unheard(6.0 + LEASE_COUNTS_SECONDS) == frozenset()
    members = leased(hears=3)
    members.heard(beat(members), 6.0)
    assert members.unheard(6.0) == frozenset()


def test_who_hears_nobody_while_others_hear_each_other_is_cut_off() -> None:
    members = leased(hears=3)
    liveness = members.liveness(6.0)
    assert liveness.cut_off_from == {"peer"}
    assert not liveness.silent
    members.heard(beat(members), 7.0)
    assert members.liveness(7.0).cut_off_from == frozenset()


def test_whose_side_is_just_forming_is_not_what_others_are_cut_off_from() -> None:
    members = leased(hears=3)
    assert members.liveness(6.0).cut_off_from == {"peer"}
    members.renewed("peer", None, 7.0)
    assert not members.liveness(7.0).cut_off_from
    assert not members.liveness(7.0).silent
    members.renewed("peer", 1, 8.0)
    assert members.liveness(8.0).cut_off_from == {"peer"}


def test_who_has_met_others_says_so_once_they_count() -> None:
    members = membership("peer")
    assert members.lasting(0.0) == 0
    members.heard(beat(members), 1.0)
    members.tick(1.0)
    assert members.lasting(1.1) is None
    for step in range(60):
        now = 1.1 + step * 0.1
        members.heard(beat(members, sequence=2 + step), now)
        members.tick(now)
    assert members.lasting(1.0 + SETTLE_SECONDS) == 1


def test_the_lease_of_a_node_that_is_cut_off_speaks_to_those_that_are_cut_off_as_well() -> None:
    members = leased(hears=0)
    members.renewed("peer", 0, 6.0, serving=False)
    assert not members.liveness(6.0).silent, "as of one that starts or leaves"
    members.renewed("other", 3, 7.0)
    liveness = members.liveness(7.0)
    assert liveness.cut_off_from == {"other"}
    assert liveness.silent == {"peer"}
    members.renewed("other", 3, 8.0, serving=False)
    assert not members.liveness(8.0).cut_off_from
    assert not members.liveness(8.0).silent


class TestAcceptedSettings:
    """Every pair of interval and dead-after that a speaker starts with keeps an idle node answering."""

    durations = st.floats(0.001, 70.0)

    @given(durations, durations)
    def test_a_pair_is_accepted_or_refused_by_name(self, interval: float, dead_after: float) -> None:
        try:
            check_durations(interval, dead_after)
        except UnfitDurations as refusal:
            assert "--heartbeat-interval" in str(refusal) or "--dead-after" in str(refusal)

    @pytest.mark.parametrize("pair", [(0.1, 0.5), (0.1, 0.3), (0.05, 0.2), (1.0, 3.0), (20.0, 60.0)])
    def test_these_are_accepted(self, pair: tuple[float, float]) -> None:
        check_durations(*pair)

    @pytest.mark.parametrize("pair", [(0.1, 0.2), (0.2, 0.1), (0.01, 0.03), (0.05, 0.15), (60.0, 60.0)])
    def test_these_are_refused(self, pair: tuple[float, float]) -> None:
        with pytest.raises(UnfitDurations, match="use at least"):
            check_durations(*pair)

    @given(
        st.floats(0.001, 20.0),
        st.floats(0.0, 10.0),
        st.lists(st.floats(0.0, LATE_SECONDS), min_size=30, max_size=30),
    )
    def test_the_fence_of_an_idle_node_stays_open_and_nobody_is_given_up(
        self, interval: float, more: float, late: list[float]
    ) -> None:
        """`late` is by how much the loop wakes up after the time at which it asked to be woken."""
        dead_after = max(3.0 * interval, 2.5 * interval + LATE_SECONDS) + 1e-6 + more
        check_durations(interval, dead_after)
        now = 0.0
        members = Membership(
            node="me", now=now, new_number=lambda: 1, interval_seconds=interval, dead_after_seconds=dead_after
        )
        members.set_peers(["me", "peer"], now)
        members.enter(Phase.SERVING, now)
        fence = Fence(members.fence_after_seconds, now=lambda: now)
        for turn, seconds in enumerate(late):
            members.heard(beat(members, sequence=1 + turn), now)
            assert members.tick(now) == (0.0, []) or turn == 0
            fence.keep_up(closed=members.fenced)
            members.outgoing(now)
            now = max(now, members.next_deadline()) + seconds
            assert fence.open


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
        self.listened = 0.0
        """By our own loop since the last proof of life, each turn counted for what it may count."""

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

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.14, 0.24, 0.34]))
    def run(self, seconds: float) -> None:
        self.now += seconds
        self.members.tick(self.now)
        self.listened += min(seconds, TURN_SECONDS)

    @rule(seconds=st.floats(0.36, 30))
    def stall(self, seconds: float) -> None:
        before = alive(self.members, NOW)
        self.now += seconds
        stalled, changes = self.members.tick(self.now)
        assert stalled > 0
        assert changes == []
        assert alive(self.members, NOW) == before
        if before:
            self.listened = 0.0

    def deliver(self, heartbeat: Heartbeat) -> None:
        verdict, _ = self.members.heard(heartbeat, self.now)
        if verdict is Verdict.ACCEPTED:
            proof = (heartbeat.incarnation, heartbeat.sequence)
            assert proof not in self.accepted, "one datagram, one sign of life"
            assert all(proof > earlier for earlier in self.accepted), "never back to an earlier process or heartbeat"
            self.accepted.add(proof)
            self.listened = 0.0

    @invariant()
    def silence_is_bounded(self) -> None:
        if "peer" in alive(self.members, NOW):
            assert self.listened < DEAD_AFTER + TURN_SECONDS
        elif self.accepted:
            assert self.listened > DEAD_AFTER - 0.001, "only what this node listened to is silence"


TestNetwork = Network.TestCase
