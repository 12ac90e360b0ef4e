"""What people are told about announcements: Events, ServiceL2Status objects and the node shown on an IPAllocation.

All of it is written by threads of their own: nothing that moves an address waits for the API server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from allocator.allocations import write_time
from allocator.cluster import Object
from allocator.core.addresses import Address
from allocator.logs import EventLog
from allocator.reflector import Key
from speaker.contest import Contest
from speaker.tenure import Tenancy
from speaker.view import View

log = EventLog("status")

_PROTOCOL = "layer2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """Who announces an address, on which interfaces (empty: on all), since when."""

    node: str
    interfaces: tuple[str, ...]
    since: str


class Recorder(Protocol):
    """What posts Events."""

    def record(self, about: Object, *, reason: str, message: str, warning: bool = False) -> None:
        """Report something about an object; returns at once."""
        ...


class Reporter:
    """Turns decisions into reports, each only when something changed. Owned by the decider's thread."""

    def __init__(self, *, node: str, events: Recorder) -> None:
        self._node = node
        self._events = events
        self._announced: dict[tuple[Key, Address], Announcement] = {}
        self._unreachable: frozenset[Address] = frozenset()

    def report(self, view: View, contests: Iterable[Contest], tenancy: Tenancy) -> None:
        """Compare with what was said last, and say what is new."""
        now = write_time(datetime.now(UTC))
        announced: dict[tuple[Key, Address], Announcement] = {}
        unreachable: dict[Address, Key] = {}
        for contest in contests:
            for key, address in contest.services:
                if address in tenancy.unreachable:
                    unreachable[address] = key
                if address not in tenancy.scopes:
                    continue
                interfaces = tuple(sorted(tenancy.scopes[address].interfaces or ()))
                known = self._announced.get((key, address))
                if known is None or known.interfaces != interfaces:
                    known = Announcement(node=self._node, interfaces=interfaces, since=known.since if known else now)
                announced[key, address] = known
        self._tell_events(view, announced, unreachable)
        self._announced = announced
        self._unreachable = frozenset(unreachable)

    def _tell_events(
        self, view: View, announced: Mapping[tuple[Key, Address], Announcement], unreachable: Mapping[Address, Key]
    ) -> None:
        before = {key for key, _ in self._announced}
        for key in sorted({key for key, _ in announced} - before):
            message = f'announcing from node "{self._node}" with protocol "{_PROTOCOL}"'
            self._event(view.service(key), "nodeAssigned", message)
        for address in sorted(unreachable.keys() - self._unreachable):
            message = (
                f'the interfaces specified by LB IP "{address}" doesn\'t exist in assigned node "{self._node}" '
                f'with protocol "{_PROTOCOL}"'
            )
            self._event(view.service(unreachable[address]), "announceFailed", message, warning=True)

    def _event(self, service: Object | None, reason: str, message: str, *, warning: bool = False) -> None:
        if service is not None:
            self._events.record(service, reason=reason, message=message, warning=warning)
