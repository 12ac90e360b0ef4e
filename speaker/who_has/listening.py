"""Listening to who announces addresses: gratuitous ARP and unsolicited neighbour advertisements, as they come."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from allocator.core.addresses import AddressRange, Family
from speaker.netdev.interfaces import Interface
from speaker.who_has.messages import Claimed
from speaker.who_has.results import Identities
from speaker.who_has.wire import Wire, heard


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One announcement; `before` is the hardware address that announced the address last, if that was another."""

    at: datetime
    interface: str
    claimed: Claimed
    node: str
    before: str
    node_before: str

    def __str__(self) -> str:
        moved = f", before at {_named(self.before, self.node_before)}" if self.before else ""
        where = _named(self.claimed.mac, self.node)
        return (
            f"{self.at:%H:%M:%S}.{self.at.microsecond // 1000:03} {self.interface} {self.claimed.address} is at "
            f"{where}{moved}: {self.claimed.kind}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as one line of the JSON output."""
        return {
            "time": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "interface": self.interface,
            "address": str(self.claimed.address),
            "hardwareAddress": self.claimed.mac,
            "node": self.node,
            "before": self.before,
            "kind": self.claimed.kind,
        }


class Listener:
    """Sockets on some interfaces, open from the start to the end of the block. For one thread."""

    def __init__(self, interfaces: Iterable[Interface], families: Collection[Family]) -> None:
        """Open the sockets. Raises OSError."""
        self._stack = ExitStack()
        self._wires = []
        with ExitStack() as opened:
            for interface in interfaces:
                for family in families:
                    self._wires.append(opened.enter_context(closing(Wire.for_all(interface, family))))
            self._stack = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def announcements(
        self, ranges: Sequence[AddressRange], who: Identities, *, seconds: float | None
    ) -> Iterator[Announcement]:
        """Yield announcements of addresses in the ranges for so long, or without end. Raises OSError."""
        last: dict[tuple[str, object], str] = {}
        until = None if seconds is None else time.monotonic() + seconds
        for _, wire, claimed in heard(self._wires, until=until):
            if not claimed.gratuitous or not any(claimed.address in each for each in ranges):
                continue
            key = (wire.interface.name, claimed.address)
            before = last.get(key, claimed.mac)
            last[key] = claimed.mac
            changed = before if before != claimed.mac else ""
            yield Announcement(
                at=datetime.now(UTC),
                interface=wire.interface.name,
                claimed=claimed,
                node=who.nodes.get(claimed.mac, ""),
                before=changed,
                node_before=who.nodes.get(changed, ""),
            )


def _named(mac: str, node: str) -> str:
    return f"{mac} ({node})" if node else mac
