"""Events on BGPPeers: a session came up or ended, is about to be reset, or FRR refuses it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.kube.resource import Resource
from allocator.objects.names import BGP_PEERS
from speaker.bgp.events import Event, Rejected, Resetting
from speaker.bgp.reports import SessionState, Snapshot

FRESH_SECONDS = 30.0
"""A session that is older when it is first seen was there before this speaker was, and is no event."""


class PeerRecorder(Protocol):
    """What posts Events about objects of any kind."""

    def record(self, about: Object, *, reason: str, message: str, normal: bool = True, kind: Resource = ...) -> None:
        """Report something; returns at once."""
        ...


class BgpEvents:
    """A `BgpListener`, called on the thread that decides about BGP; `_uids` is written by the reflector's thread."""

    def __init__(
        self, *, node: str, namespace: str, recorder: PeerRecorder, clock: Callable[[], float] = time.time
    ) -> None:
        self._node = node
        self._namespace = namespace
        self._recorder = recorder
        self._clock = clock
        self._uids: dict[str, str] = {}
        self._neighbors: Mapping[tuple[str, str], str] = {}
        """The BGPPeer that each is of, or was of before that had another address."""
        self._states: Mapping[str, SessionState] = {}

    def on_peer(self, change: Change) -> None:
        """Take note of a BGPPeer: an Event is found by the uid of what it is about."""
        name = change.key[1]
        if change.new is None:
            self._uids.pop(name, None)
        else:
            self._uids[name] = str(change.new["metadata"].get("uid") or "")

    def on_services(self, keys: frozenset[str] | None) -> None:
        """Pass over it."""

    def on_event(self, event: Event) -> None:
        """Report what is done to sessions."""
        if isinstance(event, Rejected) and event.peer:
            self._say(event.peer, "ConfigRejected", f"FRR refuses {event.command!r}: {event.answer}", normal=False)
        elif isinstance(event, Resetting):
            for reset in event.resets:
                name = self._neighbors.get((reset.vrf, reset.neighbor))
                if name is not None:
                    self._say(name, "SessionReset", f"resetting the session with {reset.neighbor}: {reset.reason}")

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Report the sessions that came up, and those that ended."""
        before, self._states = self._states, snapshot.states
        known = {key: name for key, name in self._neighbors.items() if name in snapshot.sessions}
        self._neighbors = known | {(peer.vrf, peer.id): name for name, peer in snapshot.sessions.items()}
        for name, peer in snapshot.sessions.items():
            old, new = before.get(name), snapshot.states.get(name)
            if old is not None and not old.is_of(peer):
                # The one with another address: its end is a reset, which has been reported.
                old = None
            if new is not None and new.up and not (old is not None and old.up):
                if old is not None or self._clock() - (new.established_at or 0.0) < FRESH_SECONDS:
                    self._say(name, "SessionUp", f"the session with {peer.id} is established")
            elif old is not None and old.up and not (new is not None and new.up):
                why = new.last_reset if new is not None else "FRR is not reached"
                self._say(name, "SessionDown", f"the session with {peer.id} has ended: {why}", normal=False)

    def _say(self, peer: str, reason: str, message: str, *, normal: bool = True) -> None:
        about = {"metadata": {"name": peer, "namespace": self._namespace, "uid": self._uids.get(peer, "")}}
        text = f'node "{self._node}": {message}'
        self._recorder.record(about, reason=reason, message=text, normal=normal, kind=BGP_PEERS)
