"""What the heartbeats report: who can announce now, and what each says it announces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from speaker.membership.state_sync import Statement


@dataclass(frozen=True, slots=True)
class Liveness:
    """The speakers that can announce now, this one included once it serves.

    `shaken` says that others may have announced in our place meanwhile, `fenced` that nothing may be answered until
    a report without it. `statements` are what each peer was last heard to say, the dead ones included; what the
    `unheard`, who live by their Lease alone, do now is not known. The `leaving` said good-bye last.
    """

    alive: frozenset[str]
    shaken: bool = False
    fenced: bool = False
    unheard: frozenset[str] = frozenset()
    leaving: frozenset[str] = frozenset()
    statements: Mapping[str, Statement] = field(default_factory=dict)
