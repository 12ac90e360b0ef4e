"""What FRR has said and done so far, as far as it is reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from allocator.bgp.command import Daemon, Reset
from allocator.bgp.desired import Difference
from allocator.bgp.inputs import BFDProfile, Peer
from speaker.bgp.events import Applied, Connected, Disconnected, Event, Rejected, Resetting, Withheld
from speaker.bgp.reports import DaemonState, SessionState, Snapshot


class FrrReports:
    """Sums up the driver's events and what was read back. Belongs to one thread."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._daemons: dict[Daemon, DaemonState] = {}
        self._states: Mapping[str, SessionState] = {}
        self._sessions: Mapping[str, Peer] = {}
        self._profiles: Mapping[str, BFDProfile] = {}
        self._rejected: dict[tuple[object, ...], Rejected] = {}
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
                self._forget(lambda each: (each.profile != "") == (daemon is Daemon.BFDD))
                if daemon is Daemon.BGPD and not self._known:
                    self._known = True
                    self.adopted_prefixes = len(running.networks)
            case Disconnected(daemon, error):
                self._daemons[daemon] = DaemonState(connected=False, error=error)
                if daemon is Daemon.BGPD:
                    self._states = {}
            case Rejected():
                self._rejected[event.peer, event.profile, event.network, event.key] = event
            case Withheld(resets):
                self._withheld = resets
            case Resetting(resets):
                self._withheld = tuple(each for each in self._withheld if each not in resets)
            case Applied():
                self._last_apply, self._last_apply_at = event, self._clock()
                self._forget(lambda each: not each.key and each.network is None)

    def expect(self, difference: Difference) -> None:
        """Take in what FRR is asked for next: of what has changed nothing is refused yet."""
        if difference.sessions is not None:
            before, self._sessions = self._sessions, difference.sessions
            same = {name for name, peer in self._sessions.items() if before.get(name) == peer}
            self._forget(lambda each: each.peer != "" and each.peer not in same)
        if difference.profiles is not None:
            before_profiles, self._profiles = self._profiles, difference.profiles
            kept = {name for name, profile in self._profiles.items() if before_profiles.get(name) == profile}
            self._forget(lambda each: each.profile != "" and each.profile not in kept)
        if difference.prefixes:
            self._forget(lambda each: each.network is not None and each.network[1] in difference.prefixes)

    def set_states(self, vrf: str, states: Mapping[str, SessionState]) -> None:
        """Replace what is known of the sessions of a VRF."""
        others = {name: state for name, state in self._states.items() if state.vrf != vrf}
        now = {name: _since_as_before(self._states.get(name), state) for name, state in states.items()}
        self._states = {**others, **now}

    @property
    def states(self) -> Mapping[str, SessionState]:
        """The sessions as last read."""
        return self._states

    def snapshot(self, of_decision: Snapshot) -> Snapshot:
        """Return a snapshot with what is known of FRR added."""
        return replace(
            of_decision,
            daemons=dict(self._daemons),
            states={name: state for name, state in self._states.items() if name in of_decision.sessions},
            rejected=tuple(self._rejected.values()),
            withheld=self._withheld,
            last_apply=self._last_apply,
            last_apply_at=self._last_apply_at,
        )

    def _forget(self, concerned: Callable[[Rejected], bool]) -> None:
        for key in [key for key, each in self._rejected.items() if concerned(each)]:
            del self._rejected[key]


def _since_as_before(before: SessionState | None, now: SessionState) -> SessionState:
    """Keep the moment of a session that goes on: bgpd works it out anew from the clock, a second more or less."""
    if before is None or not (before.up and now.up and before.drops == now.drops):
        return now
    return replace(now, established_at=before.established_at)
