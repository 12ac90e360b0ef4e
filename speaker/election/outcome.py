"""What a decision about one group of addresses comes to."""

from __future__ import annotations

from dataclasses import dataclass, field

from allocator.core.addresses import Address
from speaker.election.holder_state import Held
from speaker.election.transitions import State


@dataclass(slots=True)
class Outcome:
    """What a decision about a group comes to: `held` are the addresses announced now, `since` and `deadline` what the
    group is to remember. `unlinked` says that this node, a candidate, has no link for them. `holder` names under whom
    nothing is left to decide as things are (`ElectedGroup`)."""

    states: dict[Address, State] = field(default_factory=dict)
    held: dict[Address, Held] = field(default_factory=dict)
    contested: dict[Address, str] = field(default_factory=dict)
    named: dict[Address, str] = field(default_factory=dict)
    unable: bool = False
    since: dict[str, float] = field(default_factory=dict)
    deadline: float | None = None
    unlinked: bool = False
    settled: bool = False
    holder: str | None = None
