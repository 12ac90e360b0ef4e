"""What FRR has said and done so far, as far as it is reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from allocator.bgp.command import Daemon, Reset
from allocator.bgp.inputs import Peer
from speaker.bgp.events import Applied, Connected, Disconnected, Event, Refusing, Rejected, Withheld
from speaker.bgp.reports import DaemonState, SessionState, Snapshot


class FrrReports:
    """Sums up the driver's events and what was read back. Belongs to one thread."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._daemons: dict[Daemon, DaemonState] = {}
        self._states: Mapping[str, SessionState] = {}
        self._rejected: tuple[Rejected, ...] = ()
        self._withheld: tuple[Reset, ...] = ()
        self._last_apply: Applied | None = None
        self._last_apply_at: float | None = None
        self.adopted_prefixes = 0
        """How many prefixes bgpd announced already when it was first connected to."""
        self._known = False

    def connected(self, daemon: Daemon) -> bool:
        """Whether the daemon takes commands."""
        state = self._daemons.get(daemon)
        return state is not None and state.connected

    @property
    def read(self) -> bool:
        """Whether it is known what all daemons run that are there, bgpd at least."""
        return self.connected(Daemon.BGPD) and self._daemons.keys() == set(Daemon)

    def take(self, event: Event) -> None:
        """Take in what the driver reports."""
        match event:
            case Connected(daemon, pid, version, running, pod_release):
                self._daemons[daemon] = DaemonState(connected=True, pid=pid, version=version, pod_release=pod_release)
                if daemon is Daemon.BGPD and not self._known:
                    self._known = True
                    self.adopted_prefixes = len(running.networks)
            case Disconnected(daemon, error):
                self._daemons[daemon] = DaemonState(connected=False, error=error)
                if daemon is Daemon.BGPD:
                    self._states = {}
            case Refusing(rejected):
                self._rejected = rejected
            case Withheld(resets):
                self._withheld = resets
            case Applied():
                self._last_apply, self._last_apply_at = event, self._clock()

    def set_states(self, vrf: str, states: Mapping[str, SessionState]) -> None:
        """Replace what is known of the sessions of a VRF."""
        others = {name: state for name, state in self._states.items() if state.vrf != vrf}
        now = {name: _since_as_before(self._states.get(name), state) for name, state in states.items()}
        self._states = {**others, **now}

    def keep(self, sessions: Mapping[str, Peer]) -> None:
        """Forget what is known of other sessions than these: of a VRF that has none any more nobody asks bgpd."""
        self._states = {
            name: state for name, state in self._states.items() if name in sessions and state.is_of(sessions[name])
        }

    @property
    def states(self) -> Mapping[str, SessionState]:
        """The sessions as last read."""
        return self._states

    def snapshot(self, of_decision: Snapshot) -> Snapshot:
        """Return a snapshot with what is known of FRR added."""
        return replace(
            of_decision,
            daemons=dict(self._daemons),
            states=self._states,
            rejected=self._rejected,
            withheld=self._withheld,
            last_apply=self._last_apply,
            last_apply_at=self._last_apply_at,
        )


def _since_as_before(before: SessionState | None, now: SessionState) -> SessionState:
    """Keep the moment of a session that goes on: bgpd works it out anew from the clock, a second more or less."""
    if before is None or not (before.up and now.up and before.drops == now.drops):
        return now
    return replace(now, established_at=before.established_at)
