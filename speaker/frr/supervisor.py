"""Starts FRR's daemons, keeps them alive, and takes the node out of its routers' tables before they end."""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from speaker.bgp.vty import Vty, VtyError
from speaker.frr import bfd_sessions
from speaker.frr.daemons import PLANS, PROGRAMS, CannotStart, Daemon
from speaker.frr.leave import Leave
from speaker.frr.presence import SpeakerPresence, connections
from speaker.frr.start_checks import nothing_of_frr, socket_folder
from speaker.frr.unix_sockets import read_sockets

_log = logging.getLogger("frr")

LOOK_SECONDS = 2.0
"""Between two looks at the daemons and for the speaker."""

_STARTED_SECONDS = 20.0
_SILENT_SECONDS = 60.0
"""After which a daemon that runs and does not answer is killed. A long command keeps it from answering others."""
_SILENT_QUESTIONS = 5
"""How many in a row it left unanswered by then: time alone passes also while the node or this process is stopped."""

_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.2, 10.0
_STEADY_SECONDS = 30.0
"""A daemon that ran for this long is started again at once."""

_SETTLE_SECONDS = 1.0
"""For withdrawals to be sent and followed; bgpd collects for 50 ms."""

_OWN_CONNECTIONS = 1
"""Of a leave, to bgpd."""
_CEASED_SECONDS = 0.3
_END_SECONDS = 3.0
_ENDING = (signal.SIGTERM, signal.SIGINT)
_MANY = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the supervisor is configured with."""

    sockets: Path
    orphan_after_seconds: float
    """For how long FRR announces what it last knew without a speaker; 0 without end."""

    leave_wait_seconds: float
    """How long routers have to prefer other nodes before the routes are withdrawn (RFC 8326)."""

    allow_other_frr: bool


class Supervisor:
    """All of it on one thread, which must be the main one: it waits for signals."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._daemons: dict[str, Daemon] = {}
        self._started: dict[str, float] = {}
        self._unanswered: dict[str, tuple[float, int]] = {}
        """By daemon: when the first question was asked of those in a row that it did not answer, and their number."""
        self._retries: dict[str, tuple[float, float]] = {}
        """By daemon that has ended: when to start it again, and how long to wait after the next end."""
        self._zebra_is_new = False
        """Whether zebra has been started again since it was last seen that bfdd has its sessions."""
        self._presence = SpeakerPresence(clock())
        self._withdrawn = False
        self._stopping = False
        self._wake_in, self._wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> int:
        """Run until a signal ends it; return the exit code. Raises CannotStart."""
        self._catch_signals()
        try:
            group = socket_folder(self._settings.sockets)
            if not self._settings.allow_other_frr:
                nothing_of_frr(self._settings.sockets)
            for plan in PLANS:
                if (PROGRAMS / plan.name).exists() and not self._stopping:
                    self._start(Daemon(plan, self._settings.sockets, group))
            _log.info("FRR runs, its sockets are in %s", self._settings.sockets)
            code = self._watch()
            self._leave()
        finally:
            for daemon in reversed(self._daemons.values()):
                daemon.end(_END_SECONDS)
        return code

    def _watch(self) -> int:
        """Look after the daemons until a signal, or what nobody foresaw, ends it; return the exit code."""
        try:
            while not self._stopped():
                self._look_for_speaker()
                self._look_at_daemons()
        except Exception:
            # The routers are to move away all the same before the daemons end.
            _log.exception("the supervisor failed, and this node leaves")
            return 1
        return 0

    def _catch_signals(self) -> None:
        # Python writes a byte for each signal that has a handler; a child of ours begins with none.
        signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in _ENDING:
            signal.signal(number, self._stop)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _stopped(self) -> bool:
        """Wait for the next look, or a signal; return whether one has come that ends all."""
        due = min([self._clock() + LOOK_SECONDS, *(at for at, _ in self._retries.values())])
        if not self._stopping and select.select([self._wake_in], [], [], max(0.0, due - self._clock()))[0]:
            os.read(self._wake_in, _MANY)
        return self._stopping

    def _start(self, daemon: Daemon) -> None:
        self._daemons[daemon.name] = daemon
        self._unanswered.pop(daemon.name, None)
        daemon.start(within_seconds=_STARTED_SECONDS)
        self._started[daemon.name] = self._clock()

    def _look_at_daemons(self) -> None:
        for name, daemon in self._daemons.items():
            if self._is_stuck(daemon):
                _log.error("%s has not answered for %.0f s and is killed", name, _SILENT_SECONDS)
                daemon.kill()
            if daemon.exit_code is not None:
                self._start_again(daemon)
        if self._zebra_is_new:
            self._bring_back_bfd()

    def _is_stuck(self, daemon: Daemon) -> bool:
        """Ask a daemon that runs, and return whether it has been silent for too long."""
        asked_at = self._clock()
        if daemon.exit_code is not None or daemon.answers():
            self._unanswered.pop(daemon.name, None)
            return False
        since, questions = self._unanswered.get(daemon.name, (asked_at, 0))
        self._unanswered[daemon.name] = since, questions + 1
        return questions + 1 >= _SILENT_QUESTIONS and self._clock() - since > _SILENT_SECONDS

    def _start_again(self, daemon: Daemon) -> None:
        """Start a daemon that has ended, at once unless it keeps ending; what it is to do the speaker sends it."""
        now = self._clock()
        if daemon.name not in self._retries:
            steady = now - self._started.get(daemon.name, now) > _STEADY_SECONDS
            _log.error("%s ended with %s", daemon.name, daemon.exit_code)
            self._retries[daemon.name] = (now if steady else now + _FIRST_RETRY_SECONDS, _FIRST_RETRY_SECONDS)
        due, pause = self._retries[daemon.name]
        if now < due:
            return
        try:
            self._start(daemon)
        except CannotStart as error:
            pause = min(pause * 2, _LONGEST_RETRY_SECONDS)
            _log.error("%s; next attempt in %.1f s", error, pause)
            self._retries[daemon.name] = (self._clock() + pause, pause)
            return
        del self._retries[daemon.name]
        _log.info("%s runs again", daemon.name)
        self._zebra_is_new |= daemon.name == "zebra"

    def _bring_back_bfd(self) -> None:
        """Start bfdd anew if its sessions are lost, once that can be seen."""
        try:
            lost = bfd_sessions.lost(self._settings.sockets)
        except (VtyError, ValueError, AttributeError) as error:
            _log.debug("it is not known whether bfdd has its sessions: %s", error)
            return
        if lost:
            _log.error("bfdd lost its sessions with zebra, and is started anew")
            self._daemons["bfdd"].kill()
        if lost is not None:
            self._zebra_is_new = False

    def _look_for_speaker(self) -> None:
        """Withdraw everything once there has been no speaker for too long: nobody knows any more what is true."""
        if self._presence.look(self._connections(), self._clock()):
            self._withdrawn = False
        allowed = self._settings.orphan_after_seconds
        if self._withdrawn or not allowed or self._clock() - self._presence.since <= allowed:
            return
        try:
            leave = self._open_leave()
            if not leave.announces or self._withdraw_without_speaker(leave, allowed):
                self._withdrawn = True
        except VtyError as error:
            _log.error("no speaker for %.0f s, and bgpd does not take the withdrawal: %s", allowed, error)

    def _withdraw_without_speaker(self, leave: Leave, allowed: float) -> bool:
        """Withdraw everything, unless somebody connects meanwhile; return whether it is withdrawn.

        A speaker reads what bgpd runs when it connects, and does not notice that it is withdrawn after that: where
        one came in that very moment, bgpd is started anew, and gets everything again.
        """
        _log.error("no speaker for %.0f s: all prefixes are withdrawn until one is there", allowed)

        leave.mark()
        time.sleep(self._settings.leave_wait_seconds)
        if self._others_connected():
            leave.unmark()
            _log.info("somebody has connected to bgpd: nothing is withdrawn yet")
            return False
        leave.take_back()
        missed = self._others_connected()
        time.sleep(_SETTLE_SECONDS)
        leave.unmark()
        _log.info("all prefixes are withdrawn; sessions stay")
        if missed:
            _log.info("somebody had connected to bgpd by then, and it is started anew")
            self._daemons["bgpd"].kill()
        return True

    def _others_connected(self) -> bool:
        """Return whether somebody beside this leave is connected to bgpd."""
        return len(self._connections()) > _OWN_CONNECTIONS

    def _connections(self) -> frozenset[int]:
        """Return who is connected to bgpd, by inode."""
        bgpd = self._daemons.get("bgpd")
        owned = bgpd.socket_inodes() if bgpd is not None else None
        return connections(read_sockets(), self._settings.sockets / "bgpd.vty", owned)

    def _leave(self) -> None:
        """Leave as planned; a bgpd that does not listen any more is simply ended."""
        _log.info("leaving")
        begun = self._clock()
        try:
            leave = self._open_leave()
            leave.withdraw(mark_seconds=self._settings.leave_wait_seconds, settle_seconds=_SETTLE_SECONDS)
            leave.end_sessions(settle_seconds=_CEASED_SECONDS)
            _log.info("left within %.1f s", self._clock() - begun)
        except VtyError as error:
            _log.error("left without taking the routes back: %s", error)

    def _open_leave(self) -> Leave:
        return Leave(Vty(self._settings.sockets / "bgpd.vty"), sleep=time.sleep)
