"""What people are told about announcements: Events, ServiceL2Status objects and the node shown on an IPAllocation.

All of it is written by threads of their own: nothing that moves an address waits for the API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Protocol

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Key
from allocator.kube.timestamps import write_time
from speaker.frames.ethernet import mac_text
from speaker.status.diff import Announcement, Contested
from speaker.status.facts import Announced, Asked, Fact, Subject, Unannounced


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
    """Turns facts and conflicts into reports, each only when something changed.

    `report` is the controller's thread's; conflicts come from others, which read only `_services`, whose values are
    replaced whole.
    """

    def __init__(self, *, node: str, events: Recorder, statuses: Statuses) -> None:
        self._node = node
        self._events = events
        self._statuses = statuses
        self._services: dict[Address, dict[Key, Object]] = {}
        self._announced: dict[Subject, Announcement] = {}
        self._announcing: dict[Key, int] = {}

    def report(self, changed: Mapping[Subject, Fact | None], *, heard: AbstractSet[str]) -> None:  # noqa: ARG002
        """This is to be said from now on, of these."""
        for subject, fact in changed.items():
            self._note_service(subject, fact)
            if isinstance(fact, Announced):
                self._announce(subject, fact)
                continue
            if self._announced.pop(subject, None) is not None:
                self._announcing[subject.service] -= 1
            if isinstance(fact, Unannounced) and fact.own:
                self._event(
                    _service(subject.service, fact.uid),
                    "announceFailed",
                    f'the interfaces specified by LB IP "{subject.address}" doesn\'t exist in assigned node '
                    f'"{self._node}" with protocol "{subject.protocol}"',
                    normal=False,
                )
        self._statuses.announce(
            {(subject.service, subject.address): said for subject, said in self._announced.items()}
        )

    def conflict(self, address: Address, interface: str, mac: bytes) -> None:
        """A host that is none of ours claims an address that is ours (RFC 5227)."""
        message = f'{address} is also claimed by {mac_text(mac)} on {interface} of node "{self._node}"'
        for service in self._services.get(address, {}).values():
            self._event(service, "addressConflict", message, normal=False)
        self._statuses.contest(address, Contested(claimed=True, message=message, since=_now()))

    def conflict_over(self, address: Address) -> None:
        """Nobody else claims the address any more."""
        message = f'nobody but node "{self._node}" claims {address}'
        self._statuses.contest(address, Contested(claimed=False, message=message, since=_now()))

    def _announce(self, subject: Subject, fact: Announced) -> None:
        known = self._announced.get(subject)
        self._announced[subject] = Announcement(interfaces=fact.interfaces, since=known.since if known else _now())
        if known is not None:
            return
        before = self._announcing.get(subject.service, 0)
        self._announcing[subject.service] = before + 1
        if not before:
            message = f'announcing from node "{self._node}" with protocol "{subject.protocol}"'
            self._event(_service(subject.service, fact.uid), "nodeAssigned", message)

    def _note_service(self, subject: Subject, fact: Fact | None) -> None:
        others = {
            key: known for key, known in self._services.get(subject.address, {}).items() if key != subject.service
        }
        if isinstance(fact, Announced | Asked):
            others[subject.service] = _service(subject.service, fact.uid)
        if others:
            self._services[subject.address] = others
        else:
            self._services.pop(subject.address, None)

    def _event(self, service: Object, reason: str, message: str, *, normal: bool = True) -> None:
        self._events.record(service, reason=reason, message=message, normal=normal)


def _service(key: Key, uid: str) -> Object:
    return {"metadata": {"namespace": key[0], "name": key[1], "uid": uid}}


def _now() -> str:
    return write_time(datetime.now(UTC))
