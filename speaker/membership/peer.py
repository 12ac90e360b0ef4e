"""What one speaker knows of another."""

from __future__ import annotations

from dataclasses import dataclass, field

from speaker.membership.heartbeat import News, Phase
from speaker.membership.state_sync import Heard


@dataclass(slots=True)
class Peer:
    """One other speaker. `fresh` means it is there, `alive` that it can announce and we know what.

    All times are seconds of the membership's clock.
    """

    challenge: int
    silent_since: float
    """When it was last heard; before the first time, since when it might have been."""
    echo: int = 0
    incarnation: int | None = None
    sequence: int = -1
    phase: Phase = Phase.STARTING
    fresh: bool = False
    version: int = 0
    """Of its statement, as it says."""
    heard: Heard = field(default_factory=Heard)
    stated: bool = False
    """Whether this process of it has been heard out once; a newer statement may be under way."""
    heard_out: bool = False
    """Whether that was since it was last given up: what it stated before may be long over."""
    acknowledged: int = 0
    """The version of our statement that it says it has."""
    told_at: float = -1.0
    """When chunks of our statement were last sent to it."""
    watched_since: float | None = None
    """Since when it owes us frequent heartbeats; None while it does not."""
    wants_until: float = 0.0
    """Until when we owe it frequent heartbeats though by our own ring we need not."""
    asked_at: float | None = None
    """When others were last asked about its silence; None while it is not suspected."""
    suspected_at: float = 0.0
    accusers: set[str] = field(default_factory=set)
    vouched_at: float = -1.0
    probe: bool = False
    """The next heartbeat to it asks for one in return."""
    news: list[News] = field(default_factory=list)
    first_renewed_at: float | None = None
    """When its Lease was first seen to be renewed in the present silence; None while it was not."""
    renewed_at: float | None = None
    """When that was last seen, where it proves that the peer lives; None while it does not."""

    @property
    def known(self) -> bool:
        """Whether we have its whole present statement."""
        return self.heard.version >= self.version

    @property
    def alive(self) -> bool:
        """Whether it can announce, by what it told us itself."""
        return self.fresh and self.phase is Phase.SERVING and self.heard_out

    def silence(self, now: float) -> float:
        """For how long it has owed us a heartbeat."""
        return now - max(self.silent_since, self.watched_since or 0.0)
