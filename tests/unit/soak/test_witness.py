"""The witness on the wire sees two that answer and none that does, and blames nobody for what it did not ask."""

from __future__ import annotations

import pytest

from tests.bench.speaker_asking import Answer
from tests.soak.witness import Kind, Spell, Witness

VIP = "203.0.113.30"
ONE, TWO = "02:00:00:00:00:01", "02:00:00:00:00:02"
EVERY = 0.05


class Wire:
    """Time passes in questions; who answers them is told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.witness = Witness({ONE: "node-1", TWO: "node-2"}, every_seconds=EVERY)
        self.witness.expect(VIP)

    def passes(self, seconds: float, *answering: str, leading_to: str = "") -> None:
        for _ in range(round(seconds / EVERY)):
            self.witness.asked(VIP, self.now)
            for number, mac in enumerate(answering):
                at = self.now + 0.001 * (number + 1)
                self.witness.heard(Answer(at=at, address=VIP, mac=leading_to or mac, sender=mac))
            self.now += EVERY

    def lengths(self, kind: Kind) -> list[float]:
        return [spell.seconds for spell in self.witness.spells() if spell.kind is kind]


def test_one_node_that_answers_is_nothing_to_speak_of() -> None:
    wire = Wire()
    wire.passes(5, ONE)
    assert wire.witness.spells() == []


def test_silence_lasts_from_the_first_question_to_the_next_answer() -> None:
    wire = Wire()
    wire.passes(1, ONE)
    wire.passes(0.5)
    wire.passes(1, TWO)
    assert wire.lengths(Kind.UNANSWERED) == [pytest.approx(0.5, abs=2 * EVERY)]


def test_silence_that_has_not_ended_counts_as_well() -> None:
    wire = Wire()
    wire.passes(1, ONE)
    wire.passes(2)
    assert wire.lengths(Kind.UNANSWERED) == [pytest.approx(2.0, abs=2 * EVERY)]


def test_nobody_is_blamed_while_nobody_asks() -> None:
    wire = Wire()
    wire.passes(1, ONE)
    wire.passes(0.2)
    wire.now += 3
    wire.passes(1, ONE)
    assert max(wire.lengths(Kind.UNANSWERED), default=0.0) <= 0.4


def test_an_answer_that_leads_to_a_dead_node_is_none() -> None:
    wire = Wire()
    wire.passes(1, ONE)
    wire.witness.lost(ONE)
    wire.passes(0.5, TWO, leading_to=ONE)
    wire.passes(1, TWO)
    assert wire.lengths(Kind.UNANSWERED) == [pytest.approx(0.5, abs=2 * EVERY)]


def test_nobody_need_answer_for_what_is_excused() -> None:
    wire = Wire()
    wire.passes(1, ONE)
    wire.witness.excuse(VIP)
    wire.passes(3)
    assert wire.witness.spells() == []


@pytest.mark.parametrize(("lost", "counts"), [((ONE,), True), ((ONE, TWO), False)], ids=["one", "all"])
def test_what_nobody_could_answer_until_it_was_excused_counts_for_nothing(
    lost: tuple[str, ...], counts: bool
) -> None:
    wire = Wire()
    wire.passes(1, ONE)
    for node in lost:
        wire.witness.lost(node)
    wire.passes(3)
    wire.witness.excuse(VIP)
    assert bool(wire.lengths(Kind.UNANSWERED)) == counts


def test_two_that_answer_are_seen_for_as_long_as_both_do() -> None:
    wire = Wire()
    wire.passes(1, ONE)
    wire.passes(0.8, ONE, TWO)
    wire.passes(1, TWO)
    assert wire.lengths(Kind.TWO_PLACES) == [pytest.approx(0.8, abs=2 * EVERY)]
    assert wire.lengths(Kind.TWO_SENDERS) == [pytest.approx(0.8, abs=2 * EVERY)]
    assert {spell.about for spell in wire.witness.spells()} == {"node-1 and node-2"}


def test_who_stands_in_leads_to_the_same_place() -> None:
    wire = Wire()
    wire.passes(1, ONE)
    wire.passes(0.8, ONE, TWO, leading_to=ONE)
    assert wire.lengths(Kind.TWO_PLACES) == []
    assert wire.lengths(Kind.TWO_SENDERS) == [pytest.approx(0.8, abs=2 * EVERY)]


def test_taking_turns_is_not_answering_together() -> None:
    wire = Wire()
    for _ in range(3):
        wire.passes(1, ONE)
        wire.passes(1, TWO)
    assert wire.witness.spells() == []


def test_time_counts_anew_from_whatever_happens_meanwhile() -> None:
    spell = Spell(kind=Kind.UNANSWERED, address=VIP, begun=10.0, ended=12.0)
    assert spell.since([]) == 2.0
    assert spell.since([9.0, 10.5, 11.5, 13.0]) == 0.5
