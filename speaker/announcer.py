"""The addresses this node announces: which, on which interfaces, and telling the LAN about them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from allocator.core.addresses import Address
from allocator.logs import EventLog
from speaker.interfaces import Interface, announcing
from speaker.pacing import BurstSchedule, TokenBucket
from speaker.responder import PacketLoop, Responder
from speaker.scope import Scope

log = EventLog("announcer")

OpenResponders = Callable[[Interface], Iterable[Responder]]
"""Opens what answers on an interface, one responder per family it can serve. Raises OSError."""

ANNOUNCEMENTS_PER_SECOND = 2000.0
ANNOUNCEMENTS_AT_ONCE = 500.0
"""Both in addresses; each is two ARP frames an interface, or one of NDP. A node that takes over 1000 addresses has
announced all of them after a quarter of a second, at 2 Mbit/s."""


class Announcer:
    """Holds the announced addresses, keeps every responder in step, and sends the gratuitous bursts.

    `_announced`, `_responders` and `_schedule` are guarded by `_changed`. Callers change them; the announcer's own
    thread only sends what is due. Once `announce` has returned, no frame for a withdrawn address is sent.
    """

    def __init__(
        self,
        *,
        packets: PacketLoop,
        open_responders: OpenResponders,
        announcements_per_second: float = ANNOUNCEMENTS_PER_SECOND,
        announcements_at_once: float = ANNOUNCEMENTS_AT_ONCE,
    ) -> None:
        self._packets = packets
        self._open_responders = open_responders
        self._changed = threading.Condition()
        self._announced: dict[Address, Scope] = {}
        self._responders: dict[Interface, tuple[Responder, ...]] = {}
        self._schedule = BurstSchedule()
        self._bucket = TokenBucket(
            rate_per_second=announcements_per_second, burst=announcements_at_once, now=time.monotonic()
        )
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)

    def start(self) -> None:
        """Begin sending what is due."""
        self._thread.start()

    def stop(self) -> None:
        """Withdraw everything and end the thread; nothing is sent to say goodbye, the next holder speaks."""
        self.announce({})
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        with self._changed:
            for responders in self._responders.values():
                self._retire(responders)
            self._responders.clear()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def announced(self) -> dict[Address, Scope]:
        """What is announced now."""
        with self._changed:
            return dict(self._announced)

    def interfaces_of(self, scope: Scope) -> list[str]:
        """The names of the interfaces here that the scope includes."""
        with self._changed:
            return sorted({interface.name for interface in self._responders if scope.includes(interface.name)})

    def announce(self, wanted: Mapping[Address, Scope]) -> None:
        """From now on announce exactly `wanted`: answer first, then tell the LAN about what is new."""
        with self._changed:
            before = self._announced
            self._announced = dict(wanted)
            released = before.keys() - wanted.keys()
            taken = [address for address, scope in wanted.items() if before.get(address) != scope]
            if not released and not taken:
                return
            for address in released:
                self._schedule.release(address)
            self._answer()
            for address in taken:
                self._schedule.start(address)
            self._changed.notify_all()
        # Logged last: a thousand lines take longer than a thousand frames, and the clients wait for the frames.
        for address in sorted(released):
            log.info("address.withdrawn", ip=address, protocol="layer2", interfaces=before[address])
        for address in taken:
            log.info("address.announced", ip=address, protocol="layer2", interfaces=wanted[address])
            if not self.interfaces_of(wanted[address]):
                log.warning(
                    "address.unreachable", ip=address, reason="no such interface here", wanted=wanted[address]
                )

    def announce_again(self) -> None:
        """Start every announced address's burst anew: the LAN may have learned another holder meanwhile."""
        with self._changed:
            for address in self._announced:
                self._schedule.start(address)
            self._changed.notify_all()

    def set_interfaces(self, interfaces: Iterable[Interface]) -> None:
        """Follow the node's interfaces: answer on those that can announce, and announce on those that are new."""
        usable = {_identity(interface): interface for interface in announcing(interfaces)}
        with self._changed:
            for interface in [known for known in self._responders if known not in usable]:
                self._retire(self._responders.pop(interface))
                log.info("interface.lost", interface=interface.name)
            added = [self._open(interface) for interface in usable if interface not in self._responders]
            if not any(added):
                return
            self._answer()
            for address, scope in self._announced.items():
                if any(interface is not None and scope.includes(interface.name) for interface in added):
                    self._schedule.start(address)
            self._changed.notify_all()

    def _open(self, interface: Interface) -> Interface | None:
        try:
            responders = tuple(self._open_responders(interface))
        except OSError as error:
            # The link went again before it was opened; its next change is reported anew.
            log.warning("interface.unusable", interface=interface.name, error=error)
            return None
        self._responders[interface] = responders
        for responder in responders:
            self._packets.add(responder)
        log.info("interface.ready", interface=interface.name, mac=interface.mac.hex(":"))
        return interface

    def _retire(self, responders: Iterable[Responder]) -> None:
        for responder in responders:
            self._packets.retire(responder)

    def _answer(self) -> None:
        for interface, responders in self._responders.items():
            here = frozenset(address for address, scope in self._announced.items() if scope.includes(interface.name))
            for responder in responders:
                responder.answer_for(here)

    def _run(self) -> None:
        with self._changed:
            while not self._stopping:
                self._changed.wait(self._send_due())

    def _send_due(self) -> float | None:
        """Send one due announcement and return how long nothing is due (None: until something changes)."""
        now = time.monotonic()
        due = self._schedule.next_due()
        if due is None or due > now:
            return None if due is None else due - now
        if not self._bucket.take(now):
            return self._bucket.wait_seconds(now)
        ready = self._schedule.pop(now)
        if ready is not None:
            address, step = ready
            self._send(address, step)
        return 0.0

    def _send(self, address: Address, step: int) -> None:
        scope = self._announced[address]
        for interface, responders in self._responders.items():
            for responder in responders:
                if scope.includes(interface.name) and responder.covers(address):
                    responder.announce(address)
        if step == 0:
            log.info("address.told", ip=address, interfaces=scope)


def _identity(interface: Interface) -> Interface:
    """The interface with only what its responders depend on: a new address or flag must not reopen its sockets."""
    return Interface(index=interface.index, name=interface.name, mac=interface.mac)
