"""Asks bgpd how its sessions are, every two seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future

from allocator.bgp.inputs import Peer
from allocator.process.logs import EventLog
from speaker.bgp.reports import SessionState
from speaker.bgp.session_states import command_for, session_states
from speaker.bgp.vty import Reply

log = EventLog("bgp")

READ_SECONDS = 2.0


class SessionReader:
    """Asks when it is time, unless bgpd has not answered yet. Belongs to one thread.

    `ask` sends a command; `on_states` is called with the answer for each VRF, on the thread that got it.
    """

    def __init__(
        self,
        ask: Callable[[str], Future[Reply]],
        on_states: Callable[[str, Mapping[str, SessionState]], None],
    ) -> None:
        self._ask = ask
        self._on_states = on_states
        self._answers: list[Future[Reply]] = []
        self.due = 0.0
        """When to call `read` again."""

    def read(self, sessions: Iterable[Peer], *, connected: bool) -> None:
        """Ask, if it is time."""
        now = time.monotonic()
        if now < self.due or not connected:
            return
        self.due = now + READ_SECONDS
        if not all(answer.done() for answer in self._answers):
            return
        peers = tuple(sessions)
        self._answers = []
        for vrf in sorted({peer.vrf for peer in peers}):
            answer = self._ask(command_for(vrf))
            self._answers.append(answer)
            answer.add_done_callback(lambda answered, vrf=vrf: self._read(answered, vrf, peers))  # type: ignore[misc]

    def _read(self, answered: Future[Reply], vrf: str, peers: tuple[Peer, ...]) -> None:
        try:
            states = session_states(answered.result().text, vrf, peers)
        except (OSError, ValueError) as error:
            log.debug("bgp.sessions-unread", vrf=vrf, error=error)
        else:
            self._on_states(vrf, states)
