"""Which addresses are known to be free before they are needed: rounds of probes as pure steps in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
from hypothesis import given, settings

from allocator.core.addresses import Address
from speaker.cluster.next_addresses import Question
from speaker.cluster.scope import EVERYWHERE, Scope
from speaker.layer2.probing import PROBE_SECONDS, PROBES
from speaker.layer2.vacancy import FRESH_LOOKS, LOOK_SECONDS, Finding, Vacancy, interval

A, B = (Address.parse(f"192.0.2.{number}") for number in (1, 2))
ASKED = Question(scope=EVERYWHERE)


class Lan:
    """Steps through time: who has which address answers each probe at once, unless the frame is lost."""

    def __init__(self, vacancy: Vacancy) -> None:
        self.vacancy = vacancy
        self.now = 0.0
        self.hosts: set[Address] = set()
        self.ours: set[Address] = set()
        self.lost: Callable[[], bool] = lambda: False
        self.probes: list[tuple[float, Address]] = []
        self.findings: list[tuple[float, Address, Finding]] = []

    def run(self, until: float) -> None:
        while (due := self.vacancy.next_due()) is not None and due <= until:
            self.now = max(self.now, due)
            while (step := self.vacancy.pop(self.now)) is not None:
                self._take(*step)
        self.now = until

    def _take(self, address: Address, finding: Finding | None) -> None:
        if finding is not None:
            self.findings.append((self.now, address, finding))
            return
        self.probes.append((self.now, address))
        if address in self.hosts | self.ours and not self.lost():
            heard = self.vacancy.heard(address, ours=address in self.ours)
            if heard is not None:
                self.findings.append((self.now, address, heard))

    def found(self) -> list[tuple[Address, Finding]]:
        return [(address, finding) for _, address, finding in self.findings]


def lan(*addresses: Address, question: Question = ASKED) -> Lan:
    vacancy = Vacancy()
    vacancy.ask(dict.fromkeys(addresses, question), 0.0)
    return Lan(vacancy)


def test_three_probes_without_an_answer_find_an_address_vacant() -> None:
    wire = lan(A)
    wire.run(1.0)

    assert [round(at, 3) for at, _ in wire.probes] == [0.0, 0.02, 0.04]
    assert wire.findings == [(PROBES * PROBE_SECONDS, A, Finding.VACANT)]
    assert wire.vacancy.is_vacant(A, 1.0)


def test_a_host_that_answers_is_found_once_and_asked_with_one_probe_from_then_on() -> None:
    wire = lan(A)
    wire.hosts = {A}
    wire.run(LOOK_SECONDS * 2 + 1)

    assert wire.found() == [(A, Finding.TAKEN)]
    assert len(wire.probes) == PROBES + 2
    assert not wire.vacancy.is_vacant(A, wire.now)


def test_a_host_that_leaves_is_found_gone_by_three_more_probes() -> None:
    wire = lan(A)
    wire.hosts = {A}
    wire.run(1.0)
    wire.hosts = set()
    wire.run(LOOK_SECONDS + 2)

    assert wire.found() == [(A, Finding.TAKEN), (A, Finding.VACANT)]
    assert len(wire.probes) == PROBES + 1 + PROBES


def test_a_host_that_comes_and_says_so_is_found_at_once() -> None:
    wire = lan(A)
    wire.run(1.0)

    assert wire.vacancy.heard(A, ours=False) is Finding.TAKEN
    assert not wire.vacancy.is_vacant(A, 1.0)


def test_one_of_our_nodes_proves_nothing_either_way() -> None:
    wire = lan(A)
    wire.ours = {A}
    wire.run(LOOK_SECONDS * 2)

    assert wire.findings == []
    assert not wire.vacancy.is_vacant(A, wire.now)


def test_a_look_that_is_not_repeated_in_time_counts_no_more() -> None:
    wire = lan(A)
    wire.run(1.0)

    assert wire.vacancy.is_vacant(A, FRESH_LOOKS * LOOK_SECONDS)
    assert not wire.vacancy.is_vacant(A, FRESH_LOOKS * LOOK_SECONDS + 1)


def test_what_is_asked_on_other_interfaces_is_asked_anew() -> None:
    wire = lan(A)
    wire.run(1.0)
    wire.vacancy.ask({A: Question(scope=Scope(frozenset({"eth1"})))}, 1.0)

    assert not wire.vacancy.is_vacant(A, 1.0)


def test_what_an_interface_has_no_say_about_is_not_asked_anew_for_it() -> None:
    wire = lan(A, B)
    wire.run(1.0)
    wire.vacancy.restart(1.0, [A])

    assert not wire.vacancy.is_vacant(A, 1.0)
    assert wire.vacancy.is_vacant(B, 1.0)


def test_after_a_standstill_nothing_counts() -> None:
    wire = lan(A)
    wire.run(1.0)
    wire.vacancy.restart(1.0)
    assert not wire.vacancy.is_vacant(A, 1.0)
    wire.run(2.0)
    assert wire.vacancy.is_vacant(A, 2.0)


def test_a_verdict_that_comes_late_waits_for_answers_that_are_still_to_be_read() -> None:
    vacancy = Vacancy()
    vacancy.ask({A: ASKED}, 0.0)
    for at in (0.0, 0.02, 0.04):
        assert vacancy.pop(at) == (A, None)

    assert vacancy.pop(5.0) is None
    vacancy.heard(A, ours=False)
    assert vacancy.pop(5.1) is None
    assert not vacancy.is_vacant(A, 5.1)


def test_a_claimed_address_is_asked_about_first_and_one_known_to_be_free_not_again() -> None:
    vacancy = Vacancy()
    vacancy.ask({A: ASKED, B: Question(scope=EVERYWHERE, claimed=True)}, 0.0)
    assert vacancy.is_urgent(0.0)
    assert vacancy.pop(0.0) == (B, None)
    wire = lan(A)
    wire.run(1.0)
    wire.vacancy.ask({A: Question(scope=EVERYWHERE, claimed=True)}, 1.0)
    wire.run(2.0)

    assert len(wire.probes) == PROBES


def test_what_was_found_of_an_address_counts_for_a_moment_after_it_was_given() -> None:
    wire = lan(A, B)
    wire.run(1.0)
    wire.vacancy.ask({B: ASKED}, 1.0)
    assert wire.vacancy.is_vacant(A, 1.0)
    assert A in wire.vacancy.scopes()
    wire.run(LOOK_SECONDS + 1)

    assert not wire.vacancy.is_vacant(A, wire.now)
    assert A not in wire.vacancy.scopes()
    assert [address for at, address in wire.probes if at > 1.0] == [B]


def test_a_round_of_which_a_probe_was_not_sent_shows_nothing() -> None:
    vacancy = Vacancy()
    vacancy.ask({A: ASKED}, 0.0)
    for at in (0.0, 0.02, 0.04):
        assert vacancy.pop(at) == (A, None)
    vacancy.unsent(A)

    assert vacancy.pop(0.06) is None
    assert not vacancy.is_vacant(A, 0.06)


def test_a_pool_at_rest_costs_less_than_a_frame_a_second_however_much_of_it_is_asked_about() -> None:
    for count in (1, 8, 16, 48):
        addresses = [Address.parse(f"192.0.2.{number}") for number in range(1, count + 1)]
        wire = lan(*addresses, question=Question(scope=EVERYWHERE, companions=count))
        wire.hosts = set(addresses[::3])
        wire.run(interval(count))
        began, before = wire.now, len(wire.probes)
        wire.run(began + 10 * interval(count))

        assert (len(wire.probes) - before) / (wire.now - began) < 1.0


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from(["come", "go", "wait", "pause", "unask", "ask"]), st.floats(0.001, 40.0)),
        max_size=30,
    ),
    st.randoms(use_true_random=False),
)
def test_an_address_is_vacant_only_after_a_round_that_no_host_answered(
    steps: list[tuple[str, float]], chance: object
) -> None:
    """Without losses: whoever is there since before the last round began is never taken for nobody."""
    wire = lan(A, B)
    there_since: float | None = None
    for what, seconds in steps:
        if what == "come" and there_since is None:
            wire.hosts, there_since = {A}, wire.now
        elif what == "go":
            wire.hosts, there_since = set(), None
        elif what == "pause":
            wire.now += seconds
            wire.vacancy.restart(wire.now)
        elif what == "unask":
            wire.vacancy.ask({B: ASKED}, wire.now)
        elif what == "ask":
            wire.vacancy.ask({A: ASKED, B: ASKED}, wire.now)
        wire.run(wire.now + seconds)
        if there_since is not None and wire.now - there_since > FRESH_LOOKS * LOOK_SECONDS:
            assert not wire.vacancy.is_vacant(A, wire.now)
    wire.hosts = set()
    wire.vacancy.ask({A: ASKED, B: ASKED}, wire.now)
    wire.run(wire.now + 2 * LOOK_SECONDS)
    assert wire.vacancy.is_vacant(A, wire.now)
    assert wire.vacancy.is_vacant(B, wire.now)
