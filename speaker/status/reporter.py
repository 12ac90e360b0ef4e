"""What is reported about announcements: Events, ServiceL2Status objects and the node shown on an IPAllocation.

All of it is written by threads of their own: nothing that moves an address waits for the API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Key
from speaker.frames.ethernet import mac_text
from speaker.status.events import Recorder, reference
from speaker.status.facts import Announced, Asked, Fact, Subject, Unannounced
from speaker.status.statement import Contested


class Statuses(Protocol):
    """What writes objects' statuses."""

    def report(self, changed: Mapping[Subject, Fact | None], *, heard: AbstractSet[str]) -> None:
        """This is to be said from now on, of these; returns at once."""
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
        self._announced: dict[tuple[str, Key], set[Address]] = {}
        self._unserved: set[tuple[str, Key, Address]] = set()

    def report(self, changed: Mapping[Subject, Fact | None], *, heard: AbstractSet[str]) -> None:
        """This is to be said from now on, of these; returns at once. As `Reports.report`."""
        for subject, fact in changed.items():
            self._note_service(subject, fact)
            if isinstance(fact, Announced):
                self._note_announced(subject, fact)
            else:
                self._note_unannounced(subject)
            if isinstance(fact, Unannounced) and fact.own:
                message = f'{subject.address} cannot be announced from node "{self._node}": {fact.message}'
                if fact.reason == "NoInterface":
                    # In MetalLB's words.
                    message = (
                        f'the interfaces specified by LB IP "{subject.address}" doesn\'t exist in assigned node '
                        f'"{self._node}" with protocol "{subject.protocol}"'
                    )
                self._event(reference(subject.service, fact.uid), "announceFailed", message, normal=False)
        self._statuses.report(changed, heard=heard)

    def conflict(self, address: Address, interface: str, mac: bytes) -> None:
        """A host that is none of ours claims an address that is ours (RFC 5227)."""
        message = f'{address} is also claimed by {mac_text(mac)} on {interface} of node "{self._node}"'
        for service in self._services.get(address, {}).values():
            self._event(service, "addressConflict", message, normal=False)
        self._statuses.contest(address, Contested(claimed=True, message=message))

    def conflict_over(self, address: Address) -> None:
        """Nobody else claims the address any more."""
        message = f'nobody but node "{self._node}" claims {address}'
        self._statuses.contest(address, Contested(claimed=False, message=message))

    def _note_announced(self, subject: Subject, fact: Announced) -> None:
        by, service, address = subject.protocol, subject.service, subject.address
        announced = self._announced.setdefault((by, service), set())
        if not announced:
            message = f'announcing from node "{self._node}" with protocol "{by}"'
            self._event(reference(service, fact.uid), "nodeAssigned", message)
        announced.add(address)
        if not fact.traffic and (by, service, address) not in self._unserved:
            message = (
                f'{address} is announced by node "{self._node}", where this Service has no endpoint: with '
                "externalTrafficPolicy Local it gets no traffic there; give the Services that share the address "
                "endpoints on the same nodes, or use externalTrafficPolicy Cluster"
            )
            self._event(reference(service, fact.uid), "noLocalEndpoint", message, normal=False)
        self._note_unserved(subject, unserved=not fact.traffic)

    def _note_unserved(self, subject: Subject, *, unserved: bool) -> None:
        key = (subject.protocol, subject.service, subject.address)
        if unserved:
            self._unserved.add(key)
        else:
            self._unserved.discard(key)

    def _note_unannounced(self, subject: Subject) -> None:
        announced = self._announced.get((subject.protocol, subject.service), set())
        announced.discard(subject.address)
        self._note_unserved(subject, unserved=False)
        if not announced:
            self._announced.pop((subject.protocol, subject.service), None)

    def _note_service(self, subject: Subject, fact: Fact | None) -> None:
        others = {
            key: known for key, known in self._services.get(subject.address, {}).items() if key != subject.service
        }
        if isinstance(fact, Announced | Asked):
            others[subject.service] = reference(subject.service, fact.uid)
        if others:
            self._services[subject.address] = others
        else:
            self._services.pop(subject.address, None)

    def _event(self, service: Object, reason: str, message: str, *, normal: bool = True) -> None:
        self._events.record(service, reason=reason, message=message, normal=normal)
