"""The events that the speaker's other threads report and the controller has not taken yet, the urgent first."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from allocator.core.addresses import Address
from speaker.membership.fence import clock
from speaker.membership.link import Link, with_cut_off
from speaker.membership.liveness import Liveness
from speaker.netdev.interfaces import Interface
from speaker.netdev.link_state import LinkMemory

_Change = TypeVar("_Change")


@dataclass(frozen=True, slots=True, kw_only=True)
class Urgent:
    """The latest of everything that cannot wait; None where there is nothing new.

    `links` are this node's interfaces, `gone` the watched nodes whose kernels do not answer, `refused` the addresses
    that this node's own kernel does not let it answer for. With nothing in it, it says that the time is up.
    """

    liveness: Liveness | None = None
    links: tuple[Link, ...] | None = None
    gone: frozenset[str] | None = None
    refused: frozenset[Address] | None = None
    answered: bool = False


_NOTHING = Urgent()


class EventQueue(Generic[_Change]):
    """Collects events from any thread for one that takes them.

    Who is alive and the interfaces come first: a takeover never waits for a backlog of watch events. Of the cluster
    nothing is handed out before all of it is known. Everything is guarded by `_wake`.
    """

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._urgent = _NOTHING
        self._memory = LinkMemory()
        self._links: tuple[Link, ...] = ()
        self._cut_off: frozenset[str] = frozenset()
        self._changes: list[_Change] = []
        self._synced = False
        self._first_taken = False
        self._closed = False

    def take(self, deadline: float | None, *, busy: bool = False) -> Urgent | Sequence[_Change] | None:
        """Wait for an event, or until `deadline` (as of `clock`), and return what comes first; None once closed.

        The first changes are those that make up the whole cluster, none if it is empty. Who is `busy` with earlier
        ones does not wait, and gets no changes where there are none.
        """
        with self._wake:
            if not busy:
                self._wake.wait_for(self._has_events, None if deadline is None else max(0.0, deadline - clock()))
            if self._closed:
                return None
            if self._urgent != _NOTHING or (deadline is not None and deadline <= clock()):
                urgent, self._urgent = self._urgent, _NOTHING
                return urgent
            changes: list[_Change] = []
            if self._synced:
                changes, self._changes = self._changes, changes
                self._first_taken = True
            return changes

    def close(self) -> None:
        """Hand out nothing any more, and let go whoever waits."""
        with self._wake:
            self._closed = True
            self._wake.notify()

    def put_change(self, change: _Change) -> None:
        """Keep a change in the cluster, in order."""
        with self._wake:
            self._changes.append(change)
            self._wake.notify()

    def put_synced(self) -> None:
        """The changes put until now make up the whole cluster."""
        with self._wake:
            self._synced = True
            self._wake.notify()

    def put_liveness(self, liveness: Liveness) -> None:
        """Replace what is known of the living; but that they were shaken, or let go, stays until it is taken."""
        with self._wake:
            before = self._urgent.liveness
            if before is not None:
                shaken, let_go = liveness.shaken or before.shaken, liveness.let_go | before.let_go
                liveness = replace(liveness, shaken=shaken, let_go=let_go)
            self._put(replace(self._urgent, liveness=liveness))
            if liveness.cut_off_links != self._cut_off:
                self._cut_off = liveness.cut_off_links
                self._put_links()

    def put_interfaces(self, interfaces: Iterable[Interface]) -> None:
        """Replace what is known of this node's interfaces."""
        with self._wake:
            self._links = self._memory.links(interfaces)
            self._put_links()

    def put_gone(self, nodes: frozenset[str]) -> None:
        """Replace what is known of the watched nodes: the kernels of these do not answer."""
        with self._wake:
            self._put(replace(self._urgent, gone=nodes))

    def put_refused(self, addresses: frozenset[Address]) -> None:
        """Replace what is known of this node's kernel: it does not let these addresses be answered for."""
        with self._wake:
            self._put(replace(self._urgent, refused=addresses))

    def put_answered(self) -> None:
        """Something that had to be asked for is answered for now."""
        with self._wake:
            self._put(replace(self._urgent, answered=True))

    def _put_links(self) -> None:
        self._put(replace(self._urgent, links=with_cut_off(self._links, self._cut_off)))

    def _put(self, urgent: Urgent) -> None:
        self._urgent = urgent
        self._wake.notify()

    def _has_events(self) -> bool:
        cluster = self._synced and (bool(self._changes) or not self._first_taken)
        return self._closed or self._urgent != _NOTHING or cluster
