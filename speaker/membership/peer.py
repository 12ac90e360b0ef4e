"""What one speaker knows of another."""

from __future__ import annotations

from dataclasses import dataclass, field

from speaker.membership.heartbeat import Heartbeat, Phase
from speaker.membership.state_sync import ReceivedState


@dataclass(slots=True)
class Peer:
    """One other speaker. `fresh` means that its heartbeats arrive, `hears_us` that ours arrive there.

    All times are seconds of the membership's clock.
    """

    challenge: int
    silent_since: float
    """When it was last heard; before the first time, since when it might have been."""
    excused: float = 0.0
    """Seconds of its silence since then in which this node did not listen."""
    echo: int = 0
    incarnation: int | None = None
    sequence: int = -1
    phase: Phase = Phase.STARTING
    fresh: bool = False
    fresh_since: float = 0.0
    """Since when its heartbeats arrive, while they do."""
    hears_us: bool = False
    beside_us_until: float = 0.0
    """When it was last on this node's side, where it is not."""
    deaf_since: float = 0.0
    """Since when it is heard, does not hear us, and its side is what it is, while that is so."""
    linked_nodes: int = 0
    """How many nodes are on its side, as it says."""
    side: int = 0
    """How many of those count."""
    reads: int = 0
    """The newest version of the heartbeats' format that it reads; 0 before it was heard of."""
    version: int = 0
    """Of its state, as it says."""
    received: ReceivedState = field(default_factory=ReceivedState)
    stated: bool = False
    """Whether the state of this process of it was known once; a newer one may be under way."""
    known_since_fresh: bool = False
    """Whether that was since it was last given up: what it claimed before may be long over."""
    parted: bool = False
    """Whether the node's process before this one was heard to its end: it left, or was replaced while heard."""
    introduced: bool = False
    """Whether that was so, and this process was heard before it served, and has heard this node since: the node has
    announced nothing unheard."""
    acknowledged: int = 0
    """The version of our state that it says it has."""
    sent_at: float = -1.0
    """When chunks of our state were last sent to it."""
    told: int = 0
    """How many pieces of our state were sent to it while it was not heard."""
    neighbour_since: float | None = None
    """Since when it owes us frequent heartbeats; None while it does not."""
    wants_until: float = 0.0
    """Until when we owe it frequent heartbeats though by our own ring we need not."""
    probe: bool = False
    """The next heartbeat to it asks for one in return."""

    @property
    def known(self) -> bool:
        """Whether we have its whole present state."""
        return self.received.version >= self.version

    @property
    def current(self) -> bool:
        """Whether it is heard, and its state is known since."""
        return self.fresh and self.known_since_fresh

    @property
    def heard_out(self) -> bool:
        """Whether hearing is mutual, and its state known since."""
        return self.current and self.hears_us

    @property
    def linked(self) -> bool:
        """Whether hearing is mutual, by what a neighbour said since it is one: others are heard too rarely."""
        heard = self.neighbour_since is not None and self.silent_since >= self.neighbour_since
        return heard and self.fresh and self.hears_us

    @property
    def owes_since(self) -> float:
        """Since when it owes us a heartbeat, moved on by the time in which this node did not listen."""
        return max(self.silent_since, self.neighbour_since or 0.0) + self.excused

    def take(self, heartbeat: Heartbeat, now: float) -> None:
        """Take note of what a heartbeat of its present process says of itself, but for the state."""
        if not heartbeat.hears and (self.hears_us or not self.fresh or heartbeat.linked != self.linked_nodes):
            self.deaf_since = now
        self.echo = heartbeat.challenge
        self.sequence = heartbeat.sequence
        self.phase = heartbeat.phase
        self.linked_nodes, self.side = heartbeat.linked, heartbeat.side
        self.version = heartbeat.version
        self.acknowledged = heartbeat.have
        self.silent_since, self.excused = now, 0.0
        if not self.fresh:
            self.fresh_since = now
        self.fresh = True
        self.hears_us = heartbeat.hears

    @property
    def can_announce(self) -> bool:
        """Whether it serves, as far as is known, if somebody on this node's side hears it."""
        if self.fresh:
            # Its state may not be known again yet: until then what it was last heard to claim is not taken.
            return self.phase is Phase.SERVING and self.stated
        # Only others hear it. What was last known of it holds; who was never heard is taken to serve.
        return self.phase is Phase.SERVING or not self.stated

    def silence(self, now: float) -> float:
        """For how long of our listening it has owed us a heartbeat."""
        return now - self.owes_since

    def excuse(self, seconds: float, now: float) -> None:
        """So much of its silence until now was this node's own."""
        self.excused += min(seconds, self.silence(now))
