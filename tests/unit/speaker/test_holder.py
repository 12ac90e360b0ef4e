"""What one node claims, step by step, and what it remembers."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from allocator.core.addresses import Address, Family
from speaker.cluster.scope import Scope
from speaker.election.candidates import Candidates
from speaker.election.claim_term import FRESH_SECONDS, UNINFORMED_TERM
from speaker.election.election import rank
from speaker.election.graceful_restart import RESTART_SECONDS
from speaker.election.holder import HANDOVER_SECONDS, SKEW_SECONDS, HolderState
from speaker.election.inputs import Inputs
from speaker.election.transitions import State
from speaker.membership.link import Link, Subnet
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import AdvertisedState, Claim
from tests.unit.speaker.simulated import LINKS, WholeHolder, candidates

VIP = Address.parse("192.0.2.1")
FIRST, SECOND, THIRD = rank(address=VIP, candidates=["node-1", "node-2", "node-3"])
NODES = (FIRST, SECOND, THIRD)


def inputs(
    *alive: str,
    answered: Iterable[Address] = (),
    holding: Mapping[str, int] | str = "",
    leaving: Iterable[str] = (),
    helping: str = "",
    sides: Mapping[str, int] | None = None,
    heard: Iterable[str] | None = None,
    links: Mapping[str, tuple[Link, ...]] | None = None,
    own: tuple[Link, ...] = LINKS,
    **fields: object,
) -> Inputs:
    """These are alive (or said that they leave), and some of the peers claim the address, with a term."""
    terms = {holding: 7} if isinstance(holding, str) else holding
    states = {
        name: AdvertisedState(
            claims={VIP: Claim(term=terms[name])} if name in terms else {},
            helped={VIP: helping} if helping and name in terms else {},
            links=(links or {}).get(name, LINKS),
        )
        for name in (*alive, *leaving)
    }
    liveness = Liveness(
        alive=frozenset(alive),
        heard=frozenset(alive if heard is None else heard),
        steady=frozenset(alive),
        states=states,
        leaving=frozenset(leaving),
        sides=dict.fromkeys(alive, len(alive)) if sides is None else sides,
        **fields,  # type: ignore[arg-type]
    )
    return Inputs(liveness=liveness, links=own, answered=frozenset(answered))


def decide(
    holder: WholeHolder, given: Inputs, now: float = 0.0, groups: list[Candidates] | None = None
) -> HolderState:
    return holder.decide([candidates(VIP, NODES)] if groups is None else groups, given, now)


def holding(node: str) -> WholeHolder:
    """A holder that has the address."""
    holder = WholeHolder(node)
    state = decide(holder, inputs(node), 0.0)
    assert state.states[VIP] is State.PROBING
    state = decide(holder, inputs(node, answered=[VIP]), 0.1)
    assert state.states[VIP] is State.HOLDING
    return holder


def test_what_is_still_asked_for_is_not_claimed_and_what_is_answered_is() -> None:
    holder = WholeHolder(FIRST)
    asking = decide(holder, inputs(*NODES))
    assert (set(asking.scopes), set(asking.probing), dict(asking.claims)) == ({VIP}, {VIP}, {})
    assert decide(holder, inputs(*NODES), 1000.0).claims == {}, "however long another host has it"
    answered = decide(holder, inputs(*NODES, answered=[VIP]), 1001.0)
    assert (answered.probing, set(answered.claims)) == (frozenset(), {VIP})
    assert decide(holder, inputs(*NODES, answered=[VIP]), 1002.0).claims == answered.claims


def test_a_claim_on_this_side_is_not_contested_whoever_comes_first() -> None:
    for holder_of_it in (SECOND, THIRD):
        holder = WholeHolder(FIRST)
        for now in (0.0, 10.0, 100.0):
            assert decide(holder, inputs(*NODES, holding=holder_of_it), now).states == {VIP: State.WAITING}


def test_each_takes_what_nobody_claims_a_moment_after_the_one_before_it() -> None:
    for place, node in enumerate(NODES):
        holder = WholeHolder(node)
        before = decide(holder, inputs(*NODES), 0.0)
        assert before.deadline == (None if place == 0 else pytest.approx(place * SKEW_SECONDS))
        early = decide(holder, inputs(*NODES), place * SKEW_SECONDS - 0.01)
        assert (VIP in early.scopes) == (place == 0)
        due = decide(holder, inputs(*NODES), place * SKEW_SECONDS + 0.01)
        assert VIP in due.probing
        assert (VIP in due.scopes) == (place == 0), "the others hear of it first"
        assert due.states == {VIP: State.PROBE_WAIT if place else State.PROBING}
        if place:
            assert due.deadline == pytest.approx((place + 2) * SKEW_SECONDS + 0.01)
            asked = decide(holder, inputs(*NODES), due.deadline or 0.0)
            assert (asked.states, set(asked.scopes)) == ({VIP: State.PROBING}, {VIP})


def waits_to_probe() -> tuple[WholeHolder, HolderState]:
    """The candidate after the first advertises from 1.0 on that it is about to ask, for 0.4 seconds."""
    holder = WholeHolder(SECOND)
    decide(holder, inputs(*NODES), 0.0)
    state = decide(holder, inputs(*NODES), 1.0)
    assert state.states == {VIP: State.PROBE_WAIT}
    return holder, state


def test_a_probe_wait_is_advertised_as_probed_and_nothing_is_asked_for_answered_or_claimed() -> None:
    holder, state = waits_to_probe()
    assert (dict(state.scopes), dict(state.claims), dict(state.help)) == ({}, {}, {})
    assert state.advertised(LINKS) == AdvertisedState(probed=frozenset({VIP}), links=LINKS)
    # Nobody was asked yet: that it is answered can come from before only.
    kept = decide(holder, inputs(*NODES, answered=[VIP]), 1.1)
    assert (kept.states, kept.deadline) == ({VIP: State.PROBE_WAIT}, state.deadline)


def test_a_probe_wait_ends_for_whoever_comes_first_for_a_claim_and_where_this_node_is_cut_off() -> None:
    first_asks = inputs(*NODES)
    first_asks.liveness.states[FIRST] = AdvertisedState(probed=frozenset({VIP}), links=LINKS)  # type: ignore[index]
    third_asks = inputs(*NODES)
    third_asks.liveness.states[THIRD] = AdvertisedState(probed=frozenset({VIP}), links=LINKS)  # type: ignore[index]
    lost = (Link(name="eth0", mac=bytes(6), lost=True),)
    for given, expected in (
        (first_asks, State.WAITING),
        (third_asks, State.PROBE_WAIT),
        (inputs(*NODES, holding=THIRD), State.WAITING),
        (inputs(*NODES, own=lost), State.WAITING),
        (inputs(SECOND, cut_off_from=frozenset({THIRD})), State.YIELDING),
    ):
        holder, _ = waits_to_probe()
        ended = decide(holder, given, 1.1)
        assert ended.states == {VIP: expected}
        assert ended.probing == (frozenset({VIP}) if expected is State.PROBE_WAIT else frozenset())


def test_whom_only_others_hear_may_have_taken_it_and_is_waited_for() -> None:
    holder = WholeHolder(SECOND)
    for now in (0.0, 10.0, 100.0):
        assert decide(holder, inputs(*NODES, heard=[THIRD]), now).scopes == {}


def test_nothing_is_taken_that_somebody_may_hold_who_has_just_come_to_this_side() -> None:
    holder = WholeHolder(FIRST)
    assert decide(holder, inputs(*NODES, heard=[SECOND], arriving=frozenset({THIRD}))).scopes == {}
    assert set(decide(holder, inputs(*NODES), 0.1).scopes) == {VIP}
    unrelated = WholeHolder(FIRST)
    assert set(decide(unrelated, inputs(*NODES, arriving=frozenset({"node-9"}))).scopes) == {VIP}


def test_nor_what_somebody_claims_who_is_heard_and_does_not_hear_this_node() -> None:
    given = inputs(FIRST, overheard=frozenset({THIRD}))
    given.liveness.states[THIRD] = AdvertisedState(claims={VIP: Claim(term=1)}, links=LINKS)  # type: ignore[index]
    assert decide(WholeHolder(FIRST), given).scopes == {}


def test_what_another_asks_for_is_not_taken() -> None:
    holder = WholeHolder(SECOND)
    given = inputs(*NODES)
    given.liveness.states[FIRST] = AdvertisedState(probed=frozenset({VIP}), links=LINKS)  # type: ignore[index]
    for now in (0.0, 10.0, 100.0):
        assert decide(holder, given, now).scopes == {}


def test_what_a_node_held_until_it_died_is_taken_without_a_question() -> None:
    holder = WholeHolder(SECOND)
    assert decide(holder, inputs(*NODES, holding=FIRST)).scopes == {}
    # Nothing happened for hours; then it dies.
    taken = decide(holder, inputs(SECOND, THIRD), 10_000.0)
    assert (taken.probing, taken.claims) == (frozenset(), {VIP: Claim(term=8)})


def test_so_is_what_a_node_held_that_came_and_went_between_two_looks() -> None:
    holder = WholeHolder(SECOND)
    taken = decide(holder, inputs(SECOND, THIRD, holding=FIRST, leaving=[FIRST]))
    assert (taken.probing, taken.states) == (frozenset(), {VIP: State.HELPING})
    assert taken.claims == {VIP: Claim(term=7)}, "its own claim goes on"


MEETINGS = [
    pytest.param(3, 2, 9, True, id="the larger side keeps it"),
    pytest.param(2, 3, 1, False, id="the smaller side lets it go"),
    pytest.param(2, 2, 9, True, id="at a tie, the holder before the cut"),
    pytest.param(0, 1, 9, False, id="who stood still lets it go"),
]


@pytest.mark.parametrize(("own_side", "other_side", "other_term", "keeps"), MEETINGS)
def test_two_claims_meet(own_side: int, other_side: int, other_term: int, keeps: bool) -> None:
    holder = holding(SECOND)
    given = inputs(*NODES, answered=[VIP], holding={THIRD: other_term}, sides={SECOND: own_side, THIRD: other_side})
    met = decide(holder, given, 1.0)
    assert met.states == {VIP: State.HOLDING if keeps else State.YIELDING}
    after = decide(holder, inputs(*NODES, answered=[VIP]), 1.1)
    assert after.regained == (frozenset({VIP}) if keeps else frozenset()), "the LAN is told again"


def test_what_another_claimed_unheard_is_announced_again_once_it_is_let_go() -> None:
    other = Address.parse("192.0.2.99")
    holder = holding(SECOND)
    let_go = frozenset({VIP, other})
    after = decide(holder, replace(inputs(*NODES, answered=[VIP]), let_go=let_go), 1.0)
    assert after.regained == frozenset({VIP})
    assert VIP in after.touched, "who announces it is reported anew"
    assert decide(holder, inputs(*NODES, answered=[VIP]), 1.1).regained == frozenset()
    waiting = WholeHolder(THIRD)
    assert decide(waiting, replace(inputs(*NODES, holding=SECOND), let_go=let_go)).regained == frozenset()


def test_who_is_cut_off_holds_nothing_that_another_can_serve() -> None:
    holder = holding(SECOND)
    cut_off = inputs(SECOND, answered=[VIP], cut_off_from=frozenset({THIRD}))
    assert decide(holder, cut_off, 1.0).states == {VIP: State.YIELDING}
    assert decide(holder, cut_off, 100.0).states == {VIP: State.WAITING}
    sole = holding(SECOND)
    assert decide(sole, cut_off, 1.0, [candidates(VIP, [SECOND])]).states == {VIP: State.HOLDING}


def test_by_leases_alone_the_first_of_those_that_live_holds() -> None:
    for node, expected in ((FIRST, State.HOLDING), (SECOND, State.HANDING_OVER)):
        holder = holding(node)
        given = inputs(node, answered=[VIP], silent=frozenset(NODES) - {node})
        kept = decide(holder, given, 1.0)
        assert kept.states == {VIP: expected}
    assert decide(holder, given, 1.0 + HANDOVER_SECONDS).states == {VIP: State.WAITING}


def test_help_that_is_over_is_over_for_a_successor_too() -> None:
    holder = WholeHolder(SECOND)
    left = inputs(SECOND, THIRD, holding=FIRST, leaving=[FIRST])
    begun = decide(holder, left)
    (help_,) = begun.help.values()

    def prefer_the_third(now: float) -> HolderState:
        # Where this node is no candidate any more, it hands over.
        return decide(holder, left, now, [candidates(VIP, [FIRST, THIRD])])

    kept = prefer_the_third(help_.until - 0.3)
    assert (kept.states, set(kept.help)) == ({VIP: State.HANDING_OVER}, {VIP})
    for now in (help_.until, help_.until + 0.3):
        kept = prefer_the_third(now)
        assert (kept.states, set(kept.help)) == ({VIP: State.HANDING_OVER}, set())
        assert kept.deadline is not None
        assert kept.deadline > now, "or it would be decided over and over"


def test_a_restarted_node_gets_back_what_is_held_in_its_place_with_the_claim_it_had() -> None:
    back = WholeHolder(THIRD)
    taken = decide(back, inputs(*NODES, holding={FIRST: 4}, helping=THIRD))
    assert (taken.states, taken.claims) == ({VIP: State.HOLDING}, {VIP: Claim(term=4)})
    helper = WholeHolder(SECOND)
    assert decide(helper, inputs(SECOND, THIRD, holding=FIRST, leaving=[FIRST])).states == {VIP: State.HELPING}
    assert decide(helper, inputs(*NODES), 1.0).states == {VIP: State.HELPING}, "it is back, but does not answer yet"
    assert decide(helper, inputs(*NODES, holding=FIRST), 1.1).states == {VIP: State.YIELDING}


def test_a_node_that_does_not_come_back_loses_the_address() -> None:
    helper = WholeHolder(SECOND)
    left = inputs(SECOND, THIRD, holding=FIRST, leaving=[FIRST])
    decide(helper, left)
    late = decide(helper, left, RESTART_SECONDS)
    assert (late.states, dict(late.help)) == ({VIP: State.HOLDING}, {})


def test_the_hardware_address_is_that_of_the_same_lan_whatever_the_interfaces_are_called() -> None:
    lan, storage = (Subnet.parse("192.0.2.0/24"),), (Subnet.parse("198.51.100.0/24"),)
    here = (Link(name="eth0", mac=bytes(6), subnets=lan), Link(name="eth1", mac=bytes(6), subnets=storage))
    theirs = (Link(name="eth0", mac=b"storag", subnets=storage), Link(name="eth1", mac=b"thelan", subnets=lan))
    left = inputs(SECOND, THIRD, holding=FIRST, leaving=[FIRST], links={FIRST: theirs}, own=here)
    (help_,) = decide(WholeHolder(SECOND), left).help.values()
    assert help_.macs == {"eth0": b"thelan", "eth1": b"storag"}
    elsewhere = inputs(SECOND, THIRD, holding=FIRST, leaving=[FIRST], links={FIRST: theirs[:1]}, own=here[:1])
    taken = decide(WholeHolder(SECOND), elsewhere)
    assert (taken.states, dict(taken.help)) == ({VIP: State.HOLDING}, {}), "no LAN in common, no help"


def test_what_nobody_announced_for_a_while_is_asked_for() -> None:
    holder = WholeHolder(SECOND)
    decide(holder, inputs(*NODES, holding=FIRST))
    gone = inputs(SECOND, THIRD, holding=FIRST, leaving=[FIRST])
    assert decide(holder, gone, 1.0, [candidates(VIP, [FIRST])]).scopes == {}
    late = decide(holder, gone, 1.0 + FRESH_SECONDS + 1.0)
    assert (set(late.probing), dict(late.claims), dict(late.help)) == ({VIP}, {}, {})


@pytest.mark.parametrize("held_by", [FIRST, ""])
def test_what_no_service_had_meanwhile_is_asked_for_again(held_by: str) -> None:
    holder = WholeHolder(SECOND)
    alive = NODES if held_by else (SECOND, THIRD)
    decide(holder, inputs(*alive, holding=held_by))
    decide(holder, inputs(*alive, holding=held_by, answered=[VIP]))
    gone = inputs(SECOND, THIRD, holding=held_by, leaving=[held_by] if held_by else [])
    assert decide(holder, gone, 1.0, []).scopes == {}
    assert decide(holder, gone, 1.1).probing == {VIP}


def test_a_process_that_has_not_heard_everybody_claims_with_a_term_above_what_it_may_not_know() -> None:
    holder = WholeHolder(SECOND)
    decide(holder, inputs(SECOND, informed=False))
    claimed = decide(holder, inputs(SECOND, informed=False, answered=[VIP]), 1.0)
    assert claimed.claims == {VIP: Claim(term=UNINFORMED_TERM + 1)}


def booted(holder: WholeHolder) -> None:
    """It took the address though one that comes before it was not there."""
    decide(holder, inputs(SECOND, booting=True))
    claimed = decide(holder, inputs(SECOND, booting=True, answered=[VIP]), 1.0)
    assert not claimed.claims[VIP].offered


def test_what_was_taken_while_the_cluster_booted_is_offered_once_when_all_are_there() -> None:
    holder = WholeHolder(SECOND)
    booted(holder)
    everybody = inputs(*NODES, booting=True, answered=[VIP])
    assert not decide(holder, everybody, 20.0).claims[VIP].offered, "all are to know of each other first"
    offered = decide(holder, everybody, 20.0 + SKEW_SECONDS)
    assert (offered.claims[VIP].offered, offered.states) == (True, {VIP: State.HOLDING})
    kept = decide(holder, everybody, 20.0 + SKEW_SECONDS + HANDOVER_SECONDS)
    assert not kept.claims[VIP].offered, "nobody took it"
    assert not decide(holder, everybody, 100.0).claims[VIP].offered


def test_or_when_the_boot_is_over() -> None:
    holder = WholeHolder(SECOND)
    booted(holder)
    assert decide(holder, inputs(SECOND, THIRD, answered=[VIP]), 60.0).claims[VIP].offered is False, "to whom?"
    assert decide(holder, inputs(*NODES, answered=[VIP]), 61.0).claims[VIP].offered is False


def test_an_offered_address_goes_to_whoever_comes_first() -> None:
    for node, takes in ((FIRST, True), (THIRD, False)):
        holder = WholeHolder(node)
        given = inputs(*NODES)
        offered = AdvertisedState(claims={VIP: Claim(term=1, offered=True)}, links=LINKS)
        given.liveness.states[SECOND] = offered  # type: ignore[index]
        assert (VIP in decide(holder, given).claims) == takes


def test_a_preferred_node_takes_over_once_it_has_been_heard_and_ready_for_a_while() -> None:
    preferred = [candidates(VIP, NODES, {THIRD: 10})]
    unready = [candidates(VIP, NODES, {THIRD: 10}, handicaps={THIRD: 1})]
    held = inputs(*NODES, holding=FIRST)
    assert decide(WholeHolder(THIRD), held, 0.0, preferred).states == {VIP: State.HOLDING}
    holder = WholeHolder(THIRD)
    assert decide(holder, held, 0.0, unready).states == {VIP: State.WAITING}
    waiting = decide(holder, held, 1.0, preferred)
    assert (waiting.states, waiting.deadline) == ({VIP: State.WAITING}, 10.0)
    assert decide(holder, held, 10.0, preferred).states == {VIP: State.HOLDING}


def test_a_holder_with_a_handicap_is_taken_over_from_at_once() -> None:
    unready = [candidates(VIP, NODES, handicaps={FIRST: 1})]
    given = inputs(*NODES, holding=FIRST)
    assert decide(WholeHolder(SECOND), given, 0.0, unready).states == {VIP: State.HOLDING}
    assert decide(WholeHolder(THIRD), given, 0.0, unready).states == {VIP: State.WAITING}


def lan(lost: bool = False) -> Link:
    return Link(name="eth0", mac=bytes(6), lost=lost, subnets=(Subnet.parse("192.0.2.0/24"),), default_route=True)


BRIDGE = Link(name="br-1234", mac=bytes(6), lost=True, subnets=(Subnet.parse("172.18.0.0/16"),))
SPARE = Link(name="eth1", mac=bytes(6), subnets=(Subnet.parse("198.51.100.0/24"),))


@pytest.mark.parametrize(
    ("own", "interfaces", "keeps"),
    [
        pytest.param((lan(), BRIDGE), None, True, id="an unrelated bridge lost its carrier"),
        pytest.param((lan(lost=True), SPARE), None, False, id="the interface in the subnet did"),
        pytest.param((lan(lost=True), SPARE), {"eth1"}, True, id="another one is named"),
        pytest.param((SPARE,), None, False, id="it has none in the subnet, others do"),
    ],
)
def test_only_an_interface_that_could_carry_the_address_has_a_say(
    own: tuple[Link, ...], interfaces: set[str] | None, keeps: bool
) -> None:
    scope = Scope(None if interfaces is None else frozenset(interfaces))
    groups = [candidates(VIP, [SECOND, THIRD], scope=scope)]
    there = (lan(), SPARE)
    rival = WholeHolder(THIRD)
    given = inputs(SECOND, THIRD, holding=SECOND, links={SECOND: own}, own=there)
    assert (VIP in decide(rival, given, 0.0, groups).scopes) == (not keeps)


def test_where_nobody_has_the_subnet_the_interface_with_the_default_route_counts() -> None:
    routed = Address.parse("203.0.113.7")
    groups = [candidates(routed, [SECOND, THIRD])]
    state = AdvertisedState(claims={routed: Claim(term=1)}, links=(lan(lost=True), SPARE))
    given = inputs(SECOND, THIRD, own=(lan(), SPARE))
    given.liveness.states[SECOND] = state  # type: ignore[index]
    assert routed in decide(WholeHolder(THIRD), given, 0.0, groups).scopes


def test_from_any_node_an_address_is_announced_without_regard_to_subnets() -> None:
    given = inputs(SECOND, THIRD, holding=SECOND, links={SECOND: (SPARE,)}, own=(lan(),))
    groups = [candidates(VIP, [SECOND, THIRD])]
    assert decide(WholeHolder(THIRD, by_subnet=False), given, 0.0, groups).scopes == {}


def test_addresses_that_come_and_go_leave_nothing_behind() -> None:
    holder = WholeHolder(FIRST)
    sizes = []
    for number in range(400):
        address = Address(Family.IPV4, 0x0A000000 + number)
        groups = [candidates(address, [FIRST])]
        holder.decide(groups, inputs(FIRST), float(number))
        assert holder.decide(groups, inputs(FIRST, answered=[address]), number + 0.1).claims
        holder.decide([], inputs(FIRST), number + 0.2)
        sizes.append(len(pickle.dumps(holder)))
    assert max(sizes[200:]) <= max(sizes[:200]) + 8


def test_who_stops_asking_for_a_claim_that_cannot_answer_decides_again_though_nothing_more_happens() -> None:
    """The claim keeps this node from asking on, and is one that precedes nothing: its node has lost its link."""
    holder = WholeHolder(FIRST)
    assert decide(holder, inputs(FIRST)).states[VIP] is State.PROBING
    lost = (Link(name="eth0", mac=bytes(6), lost=True),)
    given = inputs(FIRST, SECOND, holding=SECOND, links={SECOND: lost})
    state = decide(holder, given, 0.1)
    assert state.states[VIP] is State.WAITING
    assert state.deadline is not None
    assert decide(holder, given, state.deadline).states[VIP] is State.HOLDING
