"""From wanting an address to answering for it, and what becomes of claims by others."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from allocator.core.addresses import Address, Family
from speaker.cluster.scope import EVERYWHERE, Scope
from speaker.layer2.address_state import AddressStates, Timer, Transition
from speaker.layer2.conflicts import HANDOVER_SECONDS, MOST_RIVALS, REPORT_SECONDS, Claim, Conflicts
from speaker.layer2.gratuitous import Reason
from speaker.layer2.probing import PROBE_SECONDS, PROBES
from tests.unit.effort import examples

VIP, OTHER = Address.parse("192.0.2.100"), Address.parse("192.0.2.101")
MAC, MAC2 = b"\x02\x00\x00\x00\x00\x77", b"\x02\x00\x00\x00\x00\x78"
RETRY = 10.0
NONE: frozenset[Address] = frozenset()


def address_states() -> AddressStates:
    return AddressStates(refresh_seconds=60.0, retry_seconds=RETRY)


def want(
    held: AddressStates, wanted: Mapping[Address, Scope], *, unheld: AbstractSet[Address], now: float
) -> Transition:
    """Return the transition, once the changes are those that there are."""
    before = dict(held.wanted)
    changed, transition = held.want(wanted, unheld=unheld, now=now)
    assert set(changed) == {each for each in {*before, *wanted} if before.get(each) != wanted.get(each)}
    return transition


def claim(address: Address = VIP, mac: bytes = MAC) -> Claim:
    return Claim(address=address, interface="eth0", mac=mac)


def run(held: AddressStates, until: float) -> list[tuple[float, Timer | Transition]]:
    """Do everything as soon as it is due."""
    done, now = [], 0.0
    while (due := held.next_timer()) is not None and due <= until:
        now = max(now, due)
        if (popped := held.pop(now)) is not None:
            done.append((now, popped))
    return done


def settle(held: AddressStates, until: float) -> list[Timer | Transition]:
    return [what for _, what in run(held, until)]


def test_what_one_of_ours_had_before_is_answered_and_announced_at_once() -> None:
    held = address_states()
    assert want(held, {VIP: EVERYWHERE}, unheld=NONE, now=0.0).taken == (VIP,)
    assert held.answered() == {VIP}
    assert held.pop(0.0) == Timer(VIP, Reason.TAKEN)


def test_what_somebody_else_here_has_asked_about_is_answered_without_waiting_for_its_own_probes() -> None:
    held = address_states()
    held.want({VIP: EVERYWHERE}, unheld=frozenset({VIP}), now=0.0)
    assert held.found_vacant(VIP) == Transition(taken=(VIP,))
    assert held.answered() == {VIP}
    assert settle(held, PROBES * PROBE_SECONDS + 0.001) == [Timer(VIP, Reason.TAKEN)]
    assert held.found_vacant(VIP) == Transition()
    assert held.found_vacant(OTHER) == Transition()


def test_what_another_host_claims_meanwhile_is_not_answered_whoever_found_it_free() -> None:
    held = address_states()
    held.want({VIP: EVERYWHERE}, unheld=frozenset({VIP}), now=0.0)
    held.claimed(claim(), 0.01)
    assert held.found_vacant(VIP) == Transition()
    assert held.answered() == NONE


def test_what_nobody_had_before_is_probed_for_and_not_answered_until_then() -> None:
    held = address_states()
    assert want(held, {VIP: EVERYWHERE}, unheld=frozenset({VIP}), now=0.0) == Transition()
    done = settle(held, PROBES * PROBE_SECONDS - 0.001)
    assert done == [Timer(VIP, None)] * PROBES
    assert held.answered() == NONE
    assert settle(held, PROBES * PROBE_SECONDS + 0.001) == [Transition(taken=(VIP,)), Timer(VIP, Reason.TAKEN)]
    assert held.answered() == {VIP}


def test_only_the_new_are_probed_for_whatever_is_said_of_the_old() -> None:
    held = address_states()
    want(held, {VIP: EVERYWHERE}, unheld=NONE, now=0.0)
    turn = want(held, {VIP: EVERYWHERE, OTHER: EVERYWHERE}, unheld=frozenset({VIP, OTHER}), now=0.0)
    assert turn == Transition()
    assert held.answered() == {VIP}


def test_a_change_of_interfaces_announces_anew_but_cuts_no_probation_short() -> None:
    held = address_states()
    eth0, eth1 = Scope(frozenset({"eth0"})), Scope(frozenset({"eth1"}))
    want(held, {VIP: eth0, OTHER: eth0}, unheld=frozenset({OTHER}), now=0.0)
    assert want(held, {VIP: eth1, OTHER: eth1}, unheld=NONE, now=0.01).taken == (VIP,)
    assert held.answered() == {VIP}


def test_an_address_somebody_has_is_left_alone_and_taken_when_it_is_free() -> None:
    held = address_states()
    want(held, {VIP: EVERYWHERE}, unheld=frozenset({VIP}), now=0.0)
    held.pop(0.0)
    assert held.claimed(claim(), 0.001)
    assert [(conflict.mac, conflict.yielded) for conflict in held.conflicts()] == [(MAC, True)]
    assert settle(held, RETRY) == []
    assert held.answered() == NONE
    assert settle(held, RETRY + 1)[: PROBES + 2] == [
        *[Timer(VIP, None)] * PROBES,
        Transition(taken=(VIP,), settled=(VIP,)),
        Timer(VIP, Reason.TAKEN),
    ]
    assert held.answered() == {VIP}
    assert held.conflicts() == ()


def test_a_later_claim_is_reported_and_looked_into_while_the_address_stays_answered() -> None:
    held = address_states()
    want(held, {VIP: EVERYWHERE}, unheld=NONE, now=0.0)
    settle(held, 20.0)
    assert held.claimed(claim(), 20.0)
    assert held.answered() == {VIP}
    assert [conflict.yielded for conflict in held.conflicts()] == [False]
    probed = [what for what in settle(held, 31.0) if what != Timer(VIP, Reason.REFRESH)]
    assert probed == [*[Timer(VIP, None)] * PROBES, Transition(settled=(VIP,))]
    assert held.conflicts() == ()


def test_a_fight_is_reported_at_most_every_ten_seconds_however_many_take_part() -> None:
    held = address_states()
    want(held, {VIP: EVERYWHERE}, unheld=NONE, now=0.0)
    reported = [tick / 10 for tick in range(305) if held.claimed(claim(mac=(MAC, MAC2)[tick % 2]), tick / 10)]
    assert reported == [0.0, REPORT_SECONDS, 2 * REPORT_SECONDS, 3 * REPORT_SECONDS]


def test_claims_of_what_is_not_wanted_are_nobodys_business() -> None:
    held = address_states()
    assert not held.claimed(claim(), 0.0)
    assert not held.rivalled(claim(), "node-2", 0.0)
    assert held.conflicts() == ()


def test_a_withdrawn_address_ends_its_conflict_and_its_probes() -> None:
    held = address_states()
    want(held, {VIP: EVERYWHERE, OTHER: EVERYWHERE}, unheld=frozenset({VIP}), now=0.0)
    held.claimed(claim(), 0.0)
    turn = want(held, {OTHER: EVERYWHERE}, unheld=NONE, now=1.0)
    assert (turn.released, turn.settled, held.conflicts()) == ((), (VIP,), ())
    assert all(not (isinstance(what, Timer) and what.address == VIP) for what in settle(held, 100.0))


def test_an_address_given_up_before_it_was_answered_is_not_reported_as_withdrawn() -> None:
    held = address_states()
    want(held, {VIP: EVERYWHERE, OTHER: EVERYWHERE}, unheld=frozenset({VIP}), now=0.0)
    held.pop(0.0)
    assert want(held, {}, unheld=NONE, now=PROBE_SECONDS) == Transition(released=(OTHER,))


def test_our_own_speakers_may_both_claim_while_an_address_moves_and_are_reported_when_it_lasts() -> None:
    held = address_states()
    want(held, {VIP: EVERYWHERE}, unheld=NONE, now=0.0)
    heard = [at for at in (0.0, 0.1, 0.3, 0.7) if held.rivalled(claim(), "node-2", at)]
    assert heard == []
    assert held.rivalled(claim(), "node-2", HANDOVER_SECONDS)
    # A second handover long after the first is no rivalry.
    assert not held.rivalled(claim(), "node-2", HANDOVER_SECONDS + REPORT_SECONDS + 1)
    assert held.conflicts() == ()


def test_a_probe_answered_by_the_speaker_that_hands_over_does_not_hold_the_address_back() -> None:
    held = address_states()
    want(held, {VIP: EVERYWHERE}, unheld=frozenset({VIP}), now=0.0)
    held.pop(0.0)
    assert not held.rivalled(claim(), "node-2", 0.001)
    settle(held, 1.0)
    assert held.answered() == {VIP}


def test_whoever_waits_for_a_first_announcement_goes_before_any_probe() -> None:
    held = address_states()
    want(held, {VIP: EVERYWHERE, OTHER: EVERYWHERE}, unheld=frozenset({VIP}), now=0.0)
    assert [held.pop(0.0), held.pop(0.0)] == [Timer(OTHER, Reason.TAKEN), Timer(VIP, None)]


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, an address somebody else had first is not answered until it is free."""

    addresses = st.integers(1, 3).map(lambda value: Address(Family.IPV4, value))

    def __init__(self) -> None:
        super().__init__()
        self.held = address_states()
        self.now = 0.0
        self.foreign: dict[Address, float] = {}
        self.reported: set[Address] = set()
        """What is answered, as far as the transitions say."""

    @rule(wanted=st.sets(addresses), unheld=st.sets(addresses))
    def want(self, wanted: set[Address], unheld: set[Address]) -> None:
        gone = self.held.wanted.keys() - wanted
        transition = want(self.held, dict.fromkeys(wanted, EVERYWHERE), unheld=frozenset(unheld), now=self.now)
        assert self.reported.issuperset(transition.released)
        self.reported = (self.reported - set(transition.released)).union(transition.taken)
        for address in gone:
            self.foreign.pop(address, None)

    @rule(address=addresses)
    def claim(self, address: Address) -> None:
        if address in self.held.wanted and address not in self.held.answered():
            self.foreign[address] = self.now
        self.held.claimed(claim(address), self.now)

    @rule(passed=st.floats(0, 12))
    def wait(self, passed: float) -> None:
        end = self.now + passed
        while (due := self.held.next_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            step = self.held.pop(self.now)
            if isinstance(step, Transition):
                self.reported.update(step.taken)
        self.now = end
        self.foreign = {
            address: at for address, at in self.foreign.items() if self.now < at + RETRY + PROBES * PROBE_SECONDS
        }

    @invariant()
    def the_first_keeps_it(self) -> None:
        assert not self.held.answered() & self.foreign.keys()
        assert self.held.answered() <= self.held.wanted.keys()
        assert {conflict.address for conflict in self.held.conflicts()} <= self.held.wanted.keys()

    @invariant()
    def what_is_said_is_so(self) -> None:
        assert self.reported == self.held.answered()


AnyOrder.TestCase.settings = settings(max_examples=examples(50), stateful_step_count=30, deadline=None)
TestAnyOrder = AnyOrder.TestCase


def test_a_question_waits_until_it_reaches_somebody() -> None:
    held = address_states()
    reaches = {VIP: 35.0}
    wanted = {VIP: EVERYWHERE, OTHER: EVERYWHERE}
    held.want(wanted, unheld=frozenset(wanted), now=0.0, asks_from=lambda address, _: reaches.get(address, 0.0))
    run(held, 3.0)
    assert held.answered() == {OTHER}
    reaches.clear()
    held.ask_from(held.wanted, lambda address, _: reaches.get(address, 0.0), 3.0)
    sent = [step for _, step in run(held, 3.0 + PROBES * PROBE_SECONDS) if step == Timer(VIP, None)]
    assert len(sent) == PROBES, "it is asked for now, as often as ever"
    assert held.answered() == {VIP, OTHER}


def test_where_nobody_is_ever_heard_it_waits_for_no_longer_than_was_said() -> None:
    held = address_states()
    held.want({VIP: EVERYWHERE}, unheld=frozenset({VIP}), now=0.0, asks_from=lambda *_: 35.0)
    assert [step for at, step in run(held, 34.9)] == []
    run(held, 36.0)
    assert held.answered() == {VIP}


def test_what_turned_out_to_be_free_can_be_answered_later_with_others() -> None:
    held = address_states()
    held.want({VIP: EVERYWHERE}, unheld=frozenset({VIP}), now=0.0)
    for number in range(PROBES):
        assert held.pop(number * PROBE_SECONDS) == Timer(VIP, None)
    at = PROBES * PROBE_SECONDS
    assert held.pop(at, may_clear=False) is None
    assert held.answered() == frozenset()
    assert held.pop(at) == Transition(taken=(VIP,))


def test_a_host_that_speaks_for_every_node_takes_no_memory_and_hides_none() -> None:
    conflicts = Conflicts()
    claim = Claim(address=VIP, interface="eth0", mac=bytes(6))
    for number in range(1000):
        assert not conflicts.rivalled(claim, f"node-{number}", number / 10_000)
    assert sum(len(nodes) for nodes in conflicts._rivals.values()) == MOST_RIVALS
    assert not conflicts.rivalled(claim, "node-1", 1.0)
    assert conflicts.rivalled(claim, "node-1", 1.0 + HANDOVER_SECONDS)
