"""Asking the LAN for addresses, a few times, and hearing out everyone who answers until the time is up."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from allocator.core.addresses import Address, Family
from speaker.netdev.interfaces import Interface
from speaker.who_has.asking_interfaces import AskingInterface
from speaker.who_has.messages import Claimed, question
from speaker.who_has.wire import Wire, heard

QUESTIONS = 3
"""A LAN may lose one, and a host that answers only now and then is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A host that answered: `after_seconds` from the question before its first answer, `count` its answers."""

    address: Address
    mac: str
    interface: str
    after_seconds: float
    count: int = 1


def ask(places: Mapping[Address, Sequence[AskingInterface]], *, seconds: float) -> list[Answer]:
    """Ask for every address on its interfaces; return who answered within the time, in order of answering.

    The whole time is listened for, since only that shows that nobody else answers. Raises OSError.
    """
    with ExitStack() as stack:
        wires = [stack.enter_context(closing(wire)) for wire in _opened(places)]
        questions = [
            (wire, address, _question(address, wire.interface, places[address]))
            for wire in wires
            for address in _asked_on(wire, places)
        ]
        found: dict[tuple[Address, str, str], Answer] = {}
        asked_at: dict[Address, float] = {}
        end = time.monotonic() + seconds
        for left in range(QUESTIONS, 0, -1):
            for wire, address, frame in questions:
                asked_at[address] = time.monotonic()
                wire.send(frame)
            until = end if left == 1 else time.monotonic() + seconds / QUESTIONS
            for moment, wire, claimed in heard(wires, until=min(until, end)):
                if claimed.address in asked_at:
                    _note(found, wire, claimed, moment - asked_at[claimed.address])
    return list(found.values())


def _note(found: dict[tuple[Address, str, str], Answer], wire: Wire, claimed: Claimed, after_seconds: float) -> None:
    key = (claimed.address, claimed.mac, wire.interface.name)
    before = found.get(key)
    found[key] = Answer(
        address=claimed.address,
        mac=claimed.mac,
        interface=wire.interface.name,
        after_seconds=before.after_seconds if before is not None else max(after_seconds, 0.0),
        count=before.count + 1 if before is not None else 1,
    )


def _opened(places: Mapping[Address, Sequence[AskingInterface]]) -> Iterable[Wire]:
    by_wire: dict[tuple[Interface, Family], list[Address]] = {}
    for address, chosen in places.items():
        for place in chosen:
            by_wire.setdefault((place.interface, address.family), []).append(address)
    for (interface, _), addresses in by_wire.items():
        yield Wire.for_answers(interface, addresses)


def _asked_on(wire: Wire, places: Mapping[Address, Sequence[AskingInterface]]) -> list[Address]:
    return [
        address
        for address, chosen in places.items()
        if address.family is wire.family and any(place.interface == wire.interface for place in chosen)
    ]


def _question(address: Address, interface: Interface, chosen: Sequence[AskingInterface]) -> bytes:
    sender = next(place.sender for place in chosen if place.interface == interface)
    return question(address, mac=interface.mac, sender=sender)
