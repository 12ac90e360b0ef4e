"""Decides what this node announces, whenever the cluster or the living speakers change."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol

from allocator.cluster import Object
from allocator.core.addresses import Address
from allocator.reflector import Change, Key
from speaker.heartbeats import Liveness
from speaker.metrics import SpeakerMetrics
from speaker.scope import Scope, union
from speaker.view import Candidacy, View

_PROTOCOL = "layer2"


class Announces(Protocol):
    """What carries out a decision."""

    def announce(self, wanted: Mapping[Address, Scope]) -> None:
        """Announce exactly this from now on."""
        ...

    def announce_again(self) -> None:
        """Tell the LAN anew about everything announced."""
        ...


class Peers(Protocol):
    """What follows the nodes there are."""

    def set_peers(self, addresses: Mapping[str, str]) -> None:
        """Exchange heartbeats with these nodes from now on."""
        ...

    def serve(self) -> None:
        """This node knows enough of the cluster to announce."""
        ...


class Reports(Protocol):
    """What tells people."""

    def normal(self, about: Object, *, reason: str, message: str) -> None:
        """Report something that went as it should, about an object; returns at once."""
        ...


class Decider:
    """Applies changes in order, on one thread that alone owns the view.

    `_changes`, `_liveness`, `_synced` and `_stopping` are guarded by `_wake`; everything else belongs to the thread.
    News of the living comes first: a takeover never waits for a backlog of watch events.
    """

    def __init__(
        self,
        *,
        node: str,
        view: View,
        announcer: Announces,
        peers: Peers,
        events: Reports,
        metrics: SpeakerMetrics,
    ) -> None:
        self._node = node
        self._view = view
        self._announcer = announcer
        self._peers = peers
        self._events = events
        self._metrics = metrics
        self._wake = threading.Condition()
        self._changes: list[Change] = []
        self._liveness: Liveness | None = None
        self._synced = False
        self._stopping = False
        self._alive: frozenset[str] = frozenset()
        self._known: dict[str, str] | None = None
        self._ours: frozenset[tuple[Key, Address]] = frozenset()
        self._thread = threading.Thread(target=self._run, name="decider", daemon=True)

    def start(self) -> None:
        """Begin deciding."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is announced stays announced until the announcer stops."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def on_change(self, change: Change) -> None:
        """Take note of a change in the cluster (called by the reflectors)."""
        with self._wake:
            self._changes.append(change)
            self._wake.notify()

    def on_synced(self) -> None:
        """Every reflector has delivered its first list: what is known is the whole cluster."""
        with self._wake:
            self._synced = True
            self._wake.notify()

    def on_liveness(self, liveness: Liveness) -> None:
        """Take note of who is alive (called by the heartbeats)."""
        with self._wake:
            unseen = self._liveness is not None and self._liveness.shaken
            self._liveness = Liveness(liveness.alive, liveness.shaken or unseen)
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(self._has_news)
                if self._stopping:
                    return
                liveness, self._liveness = self._liveness, None
                changes: list[Change] = []
                if liveness is None:
                    changes, self._changes = self._changes, changes
            if liveness is not None:
                self._alive = liveness.alive
                self._act()
                if liveness.shaken:
                    self._announcer.announce_again()
            else:
                self._follow(changes)

    def _has_news(self) -> bool:
        cluster = self._synced and (bool(self._changes) or self._known is None)
        return self._stopping or self._liveness is not None or cluster

    def _follow(self, changes: list[Change]) -> None:
        for change in changes:
            self._view.apply(change)
        if self._view.refresh():
            self._act()
        peers = self._view.peers()
        if peers != self._known:
            first = self._known is None
            self._known = peers
            self._peers.set_peers(peers)
            if first:
                self._peers.serve()

    def _act(self) -> None:
        won = self._view.elected(self._alive)
        self._announcer.announce(_wanted(won))
        ours = frozenset((candidacy.service, candidacy.address) for candidacy in won)
        taken, released = ours - self._ours, self._ours - ours
        newly = {key for key, _ in taken} - {key for key, _ in self._ours}
        self._ours = ours
        for key, address in released:
            self._metrics.announced.remove(*self._labels(key, address))
        for key, address in taken:
            self._metrics.announced.labels(*self._labels(key, address)).set(1)
        for key in newly:
            service = self._view.service(key)
            if service is not None:
                message = f'announcing from node "{self._node}" with protocol "{_PROTOCOL}"'
                self._events.normal(service, reason="nodeAssigned", message=message)

    def _labels(self, key: Key, address: Address) -> tuple[str, str, str, str]:
        return "/".join(key), _PROTOCOL, self._node, str(address)


def _wanted(won: list[Candidacy]) -> dict[Address, Scope]:
    """Sum up per address: Services that share one announce it together, on the interfaces of all of them."""
    scopes: dict[Address, list[Scope]] = {}
    for candidacy in won:
        scopes.setdefault(candidacy.address, []).append(candidacy.scope)
    return {address: union(*parts) for address, parts in scopes.items()}
