"""The life of one address on one node: its states, and what leads from one to the next.

The first transition whose state and guard fit is made; where none does, the state stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from speaker.election.case import Case


class State(StrEnum):
    """What a node does about an address that some Service has."""

    WAITING = "waiting"
    """Nothing: another node holds it, or is to take it."""
    PROBE_WAIT = "probe wait"
    """It is for this node to take, which advertises that it is about to ask the LAN; not asked for, not answered."""
    PROBING = "probing"
    """It is for this node to take, and the LAN is asked whether a host has it; not answered."""
    HOLDING = "holding"
    """Answered and claimed."""
    HANDING_OVER = "handing over"
    """Answered and claimed until another node is heard to claim it."""
    HELPING = "helping"
    """Answered with the hardware address of a node whose speaker restarts, and claimed in its place."""
    YIELDING = "yielding"
    """No longer answered, because of another's claim; from here on it is as waiting."""


FREE = (State.WAITING, State.YIELDING)
"""The states in which this node has nothing of an address."""
PROBED = (State.PROBE_WAIT, State.PROBING)
"""The states in which an address is advertised as probed: no other candidate begins to take it."""
HELD = (State.HOLDING, State.HANDING_OVER, State.HELPING)
"""The states in which an address is claimed."""


@dataclass(frozen=True, slots=True)
class Transition:
    """From any of the states, if the guard holds, to the next; the guard's docstring says when that is."""

    states: tuple[State, ...]
    guard: Callable[[Case], bool]
    to: State


TRANSITIONS = (
    Transition((*PROBED, *HELD), Case.cannot_answer, State.WAITING),
    Transition((*PROBED, *HELD), Case.cut_off, State.YIELDING),
    Transition((State.HOLDING, State.HELPING), Case.preceded, State.YIELDING),
    Transition((State.HANDING_OVER,), Case.taken, State.YIELDING),
    Transition(PROBED, Case.taken, State.WAITING),
    Transition(PROBED, Case.probed_by_a_better, State.WAITING),
    Transition(PROBED, Case.outdone, State.WAITING),
    Transition((State.PROBE_WAIT,), Case.advertised_for_long_enough, State.PROBING),
    Transition((State.PROBING,), Case.answered, State.HOLDING),
    Transition((State.HOLDING, State.HELPING), Case.outdone, State.HANDING_OVER),
    Transition((State.HELPING,), Case.help_over, State.HOLDING),
    Transition((State.HANDING_OVER,), Case.entitled, State.HOLDING),
    Transition((State.HANDING_OVER,), Case.waited_for_too_long, State.WAITING),
    Transition(FREE, Case.left_by_a_restarting_node, State.HELPING),
    Transition(FREE, Case.ours_until_now, State.HOLDING),
    Transition(FREE, Case.turn_after_another, State.PROBE_WAIT),
    Transition(FREE, Case.turn, State.PROBING),
)


def next_state(state: State, case: Case) -> State:
    """Return the state that follows now."""
    for transition in TRANSITIONS:
        if state in transition.states and transition.guard(case):
            return transition.to
    return State.WAITING if state is State.YIELDING else state


def table() -> list[tuple[str, str, str]]:
    """Return the transitions for people: from, when, to."""
    return [(", ".join(each.states), (each.guard.__doc__ or "").rstrip("."), str(each.to)) for each in TRANSITIONS]
