"""The table of transitions, for every state in every case that its guards tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import product
from typing import Any

from speaker.election.case import Case
from speaker.election.graceful_restart import Help
from speaker.election.transitions import FREE, HELD, PROBED, TRANSITIONS, State, Transition, next_state

FACTS: dict[str, tuple[Any, ...]] = {each.name: (False, True) for each in fields(Case)} | {
    "claimants": (frozenset(), frozenset({"node-2"})),
    "preceding": (frozenset(), frozenset({"node-2"})),
    "help": (None, Help(node="node-2", macs={}, term=1, until=1.0)),
}


def cases() -> Iterator[Case]:
    """Every combination of what the guards ask for."""
    for values in product(*FACTS.values()):
        yield Case(**dict(zip(FACTS, values, strict=True)))


def test_every_state_has_one_place_and_every_transition_is_made_in_some_case() -> None:
    groups = (FREE, PROBED, HELD)
    assert sorted(state for group in groups for state in group) == sorted(State)
    made: set[tuple[State, Transition]] = set()
    for case in cases():
        for state in State:
            fitting = [each for each in TRANSITIONS if state in each.states and each.guard(case)]
            made.update((state, each) for each in fitting[:1])
            stays = State.WAITING if state is State.YIELDING else state
            assert next_state(state, case) is (fitting[0].to if fitting else stays)
    assert made == {(state, each) for each in TRANSITIONS for state in each.states}


def test_what_leads_to_a_question_and_what_to_an_answer() -> None:
    """The first candidate asks at once, others after a probe wait; answered is what was asked for, or ours."""
    for case in cases():
        for state in State:
            to = next_state(state, case)
            if to is state:
                continue
            if to is State.PROBE_WAIT:
                assert state in FREE
                assert case.beaten
            if to is State.PROBING:
                assert case.is_over if state is State.PROBE_WAIT else state in FREE and not case.beaten
            if to in HELD and state not in HELD:
                assert case.is_answered if state is State.PROBING else state in FREE and case.vouched
            if state not in FREE and (not case.able or case.isolated):
                assert to in FREE
            if state in PROBED and (case.claimants or not case.first_prober or not case.chosen):
                assert to in FREE


def test_the_walk_comes_to_an_end_whatever_the_case() -> None:
    """A state that has just begun is not over, and ends the walk where this node lets go of the address."""
    for case in cases():
        for begun in State:
            state, now, passed = begun, case, [begun]
            while (to := next_state(state, now)) is not state and to not in FREE:
                assert to not in passed, f"{passed}, {to}: {case}"
                state, now = to, replace(case, is_over=False)
                passed.append(to)
