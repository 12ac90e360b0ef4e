"""One address at one moment, as this node sees it: the facts that the transitions ask for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from speaker.election.graceful_restart import Help


@dataclass(slots=True, kw_only=True)
class Case:
    """Facts about one address. The guards say in a sentence what each means.

    `claimants` are the others that are heard to claim it, or that one that is heard names as its holder; `preceding`
    those whose claim precedes this node's. `beaten` says that a candidate comes before this node, which may take the
    address. `help` is how this node would, or does, answer for a restarting one. `is_over` says that the time is, for
    states that last for some time only.
    """

    able: bool
    isolated: bool
    claimants: Collection[str]
    preceding: frozenset[str]
    first_prober: bool
    is_answered: bool
    chosen: bool
    may_take: bool
    beaten: bool
    vouched: bool
    help: Help | None
    runs: bool
    is_over: bool

    def cannot_answer(self) -> bool:
        """No interface of this node can answer for it any more."""
        return not self.able

    def cut_off(self) -> bool:
        """This node is cut off, and a candidate is not."""
        return self.isolated

    def preceded(self) -> bool:
        """Another's claim precedes this node's: it is heard, or a node that hears both says so."""
        return bool(self.preceding)

    def taken(self) -> bool:
        """Another's claim is heard, or heard of from a node that hears it."""
        return bool(self.claimants)

    def probed_by_a_better(self) -> bool:
        """A candidate that comes before this node asks the LAN for it too, or is about to."""
        return not self.first_prober

    def outdone(self) -> bool:
        """It is for another node to hold, or this one is no candidate any more."""
        return not self.chosen

    def advertised_for_long_enough(self) -> bool:
        """The other candidates have had the time to hear of it."""
        return self.is_over

    def answered(self) -> bool:
        """The probes are over, and no host has it."""
        return self.is_answered

    def help_over(self) -> bool:
        """The restarting node does not forward any more, or took too long."""
        return not self.runs

    def entitled(self) -> bool:
        """It is for this node to hold after all."""
        return self.chosen

    def waited_for_too_long(self) -> bool:
        """No other node was heard to claim it in the time for a hand-over."""
        return self.is_over

    def turn(self) -> bool:
        """It is this node's turn to take it."""
        return self.able and not self.isolated and self.may_take

    def turn_after_another(self) -> bool:
        """It is this node's turn to take it, and a candidate comes before this one, which may be about to ask too."""
        return self.turn() and self.beaten

    def ours_until_now(self) -> bool:
        """It is this node's turn, and one of our nodes announced it until now."""
        return self.turn() and self.vouched

    def left_by_a_restarting_node(self) -> bool:
        """It is this node's turn, and its holder said that it leaves and goes on forwarding."""
        return self.turn() and self.vouched and self.help is not None and self.runs
