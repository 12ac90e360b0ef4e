"""What a node has to report, by address and by Service, and what there is to look at because of it."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from typing import NamedTuple

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Change, Key
from allocator.kube.timestamps import write_time
from speaker.status.allocation_status import Told
from speaker.status.backlog import Backlog
from speaker.status.facts import Announced, Fact, Subject, Unannounced
from speaker.status.predecessors import Predecessors
from speaker.status.reported_address import ReportedAddress
from speaker.status.service_l2_status import Announcement, Step, StoredStatuses, steps
from speaker.status.statement import Contested, Statement

SETTLE_SECONDS = 0.3
"""What moves away again within this time is not written at all."""
OTHERS_SECONDS = 2.0
"""How long a node waits with what another is to say before it: that one may have seen a change a little later."""
LEFT_OUT_SECONDS = 120.0
"""Within which a ServiceL2Status follows that other nodes than before are left out, and nothing else."""


class Order(IntEnum):
    """What comes first: what people look for."""

    CONFLICT = 0
    ADDRESS = 1
    SERVICE = 2
    HEARD = 3
    """Another node may be the one that speaks for all."""


class Item(NamedTuple):
    """Something to look at; `what` is None where the order says all."""

    order: Order
    what: Address | Key | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressReport:
    """What to report of an address: as of `edits`; `unannounced` are the Services whose users are to hear of it."""

    entry: ReportedAddress
    say: Statement
    edits: int
    new: bool
    heard: frozenset[str]
    unannounced: Mapping[Key, Unannounced]


class ReportState:
    """Takes in facts and what is stored, and puts what they bear on into `backlog`. `_lock` guards everything."""

    def __init__(self, *, node: str, backlog: Backlog[Item]) -> None:
        self._node = node
        self._backlog = backlog
        self._lock = threading.Lock()
        self._addresses: dict[Address, ReportedAddress] = {}
        self._announced: dict[Key, dict[Address, Announcement]] = {}
        self._stored = StoredStatuses()
        self._left: dict[Key, set[str]] = {}
        self._heard: frozenset[str] = frozenset({node})
        self._predecessors = Predecessors(node=node)
        self._reporting = False

    def report(self, changed: Mapping[Subject, Fact | None], *, heard: AbstractSet[str]) -> None:
        """Take in facts, as `Reports.report` has them, of one protocol."""
        now = write_time(datetime.now(UTC))
        with self._lock:
            for subject, fact in changed.items():
                self._take(subject, fact, now)
            if heard != self._heard:
                self._heard = frozenset(heard)
                self._predecessors.hear(self._heard)
                self._backlog.put(Item(Order.HEARD, None), after_seconds=OTHERS_SECONDS)
            if not self._reporting:
                self._reporting = True
                for service in self._stored.services():
                    self._backlog.put(Item(Order.SERVICE, service), after_seconds=OTHERS_SECONDS)

    def contest(self, address: Address, contested: Contested) -> None:
        """Take in that another host claims the address, or no longer does."""
        with self._lock:
            # A host may be found before it is known here that it was asked for.
            self._entry(address).contest(contested)
            self._backlog.put(Item(Order.CONFLICT, address))

    def note(self, change: Change) -> None:
        """Take in a change of one of this node's ServiceL2Statuses."""
        with self._lock:
            service = self._stored.note(change)
            if service is not None and self._reporting:
                self._backlog.put(Item(Order.SERVICE, service), after_seconds=OTHERS_SECONDS)

    def doubt_all(self) -> None:
        """What was reported may be lost: look at every address and Service anew.

        What was made just before may be lost without a change that would report it.
        """
        with self._lock:
            for service in self._announced:
                self._stored.forget(service)
                self._backlog.put(Item(Order.SERVICE, service), after_seconds=OTHERS_SECONDS)
            for address, entry in self._addresses.items():
                entry.told = None
                self._backlog.put(Item(Order.ADDRESS, address))

    def doubt_what_was_left(self) -> None:
        """Look at every address left to a node that is not heard any more: this one may speak for all now."""
        with self._lock:
            left = self._predecessors.take_left()
        # Whatever changes meanwhile is put by whoever changes it.
        for address in left:
            self._backlog.put(Item(Order.ADDRESS, address))

    def address_report(self, address: Address) -> AddressReport | None:
        """Return what to report of the address; None where there is nothing. Whatever comes of it may be reported."""
        with self._lock:
            entry = self._addresses.get(address)
            if entry is None or not entry.is_to_tell(speaks_for_all=lambda: self._predecessors.is_first(address)):
                return None
            entry.named = entry.named or entry.announced
            return AddressReport(
                entry=entry,
                say=entry.statement,
                edits=entry.edits,
                new=entry.new,
                heard=self._heard,
                unannounced=entry.unannounced,
            )

    def note_told(self, address: Address, report: AddressReport, told: Told) -> None:
        """The report was written; a node that it replaced and that is gone has left its ServiceL2Status, too."""
        with self._lock:
            report.entry.note_told(report.say, edits=report.edits)
            if report.entry.over and self._addresses.get(address) is report.entry:
                self._drop(address)
            if told.replaced in ("", self._node) or told.replaced in self._heard:
                return
            for service in report.entry.facts:
                self._left.setdefault(service, set()).add(told.replaced)
                self._backlog.put(Item(Order.SERVICE, service))

    def left_by(self, service: Key) -> frozenset[str]:
        """Return the nodes that have gone and left their ServiceL2Status for the Service."""
        with self._lock:
            return frozenset(self._left.get(service, ()))

    def note_deleted(self, service: Key, node: str) -> None:
        """What the node has left is gone."""
        with self._lock:
            left = self._left.get(service, set())
            left.discard(node)
            if not left:
                self._left.pop(service, None)

    def steps(self, service: Key) -> tuple[Step, ...]:
        """Return what is to be done about the Service's ServiceL2Status."""
        with self._lock:
            announced = self._announced.get(service, {})
            return tuple(steps(self._node, service, announced, self._stored.of(service)))

    def note_stored(self, service: Key, name: str, stored: Object | None) -> None:
        """A step was taken: this is the object now, or it is gone."""
        with self._lock:
            if stored is not None:
                self._stored.put(stored)
            else:
                self._stored.drop(service, name)

    def _take(self, subject: Subject, fact: Fact | None, now: str) -> None:
        service, address = subject.service, subject.address
        entry = self._entry(address)
        entry.take(service, fact, now=now)
        if entry.over:
            self._drop(address)
        else:
            delay = SETTLE_SECONDS if entry.own else OTHERS_SECONDS
            self._backlog.put(Item(Order.ADDRESS, address), after_seconds=delay)
        announced = self._announced.setdefault(service, {})
        before = announced.pop(address, None)
        if isinstance(fact, Announced):
            announced[address] = Announcement(interfaces=fact.interfaces, since=entry.since, left_out=fact.left_out)
        after = announced.get(address)
        if not announced:
            del self._announced[service]
        if before != after:
            self._backlog.put(Item(Order.SERVICE, service), after_seconds=_delay(before, after))

    def _entry(self, address: Address) -> ReportedAddress:
        entry = self._addresses.get(address)
        if entry is None:
            entry = self._addresses[address] = ReportedAddress(node=self._node)
        return entry

    def _drop(self, address: Address) -> None:
        del self._addresses[address]
        self._predecessors.forget(address)


def _delay(before: Announcement | None, after: Announcement | None) -> float:
    if before is None or after is None or replace(before, left_out=after.left_out) != after:
        return SETTLE_SECONDS
    # One node's label may change who is left out for every Service there is: not all at once.
    return LEFT_OUT_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311  no secret
