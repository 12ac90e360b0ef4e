"""What people are told about announcements: Events, ServiceL2Status objects and the node shown on an IPAllocation.

All of it is written by threads of their own: nothing that moves an address waits for the API server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Key
from allocator.kube.timestamps import write_time
from speaker.cluster.state import View
from speaker.election.candidates import Candidates
from speaker.election.holder import HolderState
from speaker.frames.ethernet import mac_text
from speaker.status.diff import Announcement, Contested

_PROTOCOL = "layer2"


class Recorder(Protocol):
    """What posts Events."""

    def record(self, service: Object, *, reason: str, message: str, normal: bool = True) -> None:
        """Report something about a Service; returns at once."""
        ...


class Statuses(Protocol):
    """What writes objects' statuses."""

    def announce(self, wanted: Mapping[tuple[Key, Address], Announcement]) -> None:
        """This node announces exactly this; returns at once."""
        ...

    def contest(self, address: Address, contested: Contested) -> None:
        """Another host claims the address, or no longer does; returns at once."""
        ...


class Reporter:
    """Turns decisions and conflicts into reports, each only when something changed.

    `report` is the controller's thread's; conflicts come from others, which read only `_services`, replaced whole.
    """

    def __init__(self, *, node: str, events: Recorder, statuses: Statuses) -> None:
        self._node = node
        self._events = events
        self._statuses = statuses
        self._services: Mapping[Address, tuple[Object, ...]] = {}
        self._announced: dict[tuple[Key, Address], Announcement] = {}
        self._unreachable: frozenset[Address] = frozenset()

    def report(self, view: View, groups: Iterable[Candidates], state: HolderState) -> None:
        """Compare with what was said last, and say what is new."""
        now = _now()
        announced: dict[tuple[Key, Address], Announcement] = {}
        unreachable: dict[Address, Key] = {}
        held: list[tuple[Key, Address]] = []
        for group in groups:
            for key, address in group.services:
                if address in state.unable:
                    unreachable[address] = key
                if address in state.scopes:
                    held.append((key, address))
                if address not in state.claims or address in state.help:
                    # Still being asked for, left to another host, or answered for another node that has the traffic.
                    continue
                interfaces = tuple(sorted(state.scopes[address].interfaces or ()))
                known = self._announced.get((key, address))
                if known is None or known.interfaces != interfaces:
                    known = Announcement(interfaces=interfaces, since=known.since if known else now)
                announced[key, address] = known
        self._services = _services(view, held)
        self._tell_events(view, announced, unreachable)
        self._announced = announced
        self._unreachable = frozenset(unreachable)
        self._statuses.announce(announced)

    def conflict(self, address: Address, interface: str, mac: bytes) -> None:
        """A host that is none of ours claims an address that is ours (RFC 5227)."""
        message = f'{address} is also claimed by {mac_text(mac)} on {interface} of node "{self._node}"'
        for service in self._services.get(address, ()):
            self._event(service, "addressConflict", message, normal=False)
        self._statuses.contest(address, Contested(claimed=True, message=message, since=_now()))

    def conflict_over(self, address: Address) -> None:
        """Nobody else claims the address any more."""
        message = f'nobody but node "{self._node}" claims {address}'
        self._statuses.contest(address, Contested(claimed=False, message=message, since=_now()))

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
            self._event(view.service(unreachable[address]), "announceFailed", message, normal=False)

    def _event(self, service: Object | None, reason: str, message: str, *, normal: bool = True) -> None:
        if service is not None:
            self._events.record(service, reason=reason, message=message, normal=normal)


def _services(view: View, held: Iterable[tuple[Key, Address]]) -> dict[Address, tuple[Object, ...]]:
    found: dict[Address, tuple[Object, ...]] = {}
    for key, address in held:
        service = view.service(key)
        if service is not None:
            found[address] = (*found.get(address, ()), service)
    return found


def _now() -> str:
    return write_time(datetime.now(UTC))
