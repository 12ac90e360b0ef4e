"""The addresses this node announces: which, on which interfaces, and telling the LAN about them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from allocator.core.addresses import Address
from allocator.logs import EventLog
from speaker.conflicts import Claim, Conflict, ConflictListener
from speaker.frames.ethernet import mac_text
from speaker.holdings import Holdings, Turn
from speaker.interfaces import Interface, announcing
from speaker.metrics import SpeakerMetrics
from speaker.pacing import REFRESH_SECONDS, Reason, TokenBucket
from speaker.presence import OpenPresence, Presence
from speaker.probing import RETRY_SECONDS
from speaker.responder import PacketLoop
from speaker.scope import Scope

log = EventLog("announcer")

ANNOUNCEMENTS_PER_SECOND = 2000.0
ANNOUNCEMENTS_AT_ONCE = 500.0
"""Both in addresses; each is two ARP frames an interface, or one of NDP. A node that takes over 1000 addresses has
announced all of them after a quarter of a second, at 2 Mbit/s."""

_NONE: frozenset[Address] = frozenset()
_NOTHING: Mapping[Address, Mapping[str, bytes]] = {}


class Announcer:
    """Carries out what is to be announced: keeps every interface in step, and sends what is due.

    An address that nobody of ours has announced before is probed for first, and not answered until that is over: a
    host that has it keeps it, and is asked again from time to time. A host that claims an address later is
    contradicted now and then and reported; the address stays answered. Claims by our own speakers are reported when
    they last: whoever elects resolves them.

    `_holdings`, `_presences`, `_own_macs` and `_bucket` are guarded by `_changed`. Callers change them, the
    announcer's own thread sends what is due, the packet thread brings claims. Once `announce` has returned, no frame
    for a withdrawn address is sent. Listeners are called without the lock, by any of these threads: they must be
    quick.
    """

    def __init__(
        self,
        *,
        packets: PacketLoop,
        open_presence: OpenPresence,
        metrics: SpeakerMetrics,
        probe: bool = True,
        announcements_per_second: float = ANNOUNCEMENTS_PER_SECOND,
        announcements_at_once: float = ANNOUNCEMENTS_AT_ONCE,
        refresh_seconds: float = REFRESH_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """`refresh_seconds` of 0 is never; `retry_seconds` lie between two looks at an address somebody else has.

        Without `probe` every address is answered at once; who else claims it is reported all the same.
        """
        self._packets = packets
        self._open_presence = open_presence
        self._metrics = metrics
        self._probe = probe
        self._listener = ConflictListener()
        self._changed = threading.Condition()
        self._holdings = Holdings(refresh_seconds=refresh_seconds, retry_seconds=retry_seconds)
        self._presences: dict[Interface, Presence] = {}
        self._own_macs: frozenset[bytes] = frozenset()
        self._lent: Mapping[Address, Mapping[str, bytes]] = _NOTHING
        self._bucket = TokenBucket(
            rate_per_second=announcements_per_second, burst=announcements_at_once, now=time.monotonic()
        )
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)

    def report_to(self, listener: ConflictListener) -> None:
        """Name who is told of conflicts; before `start`."""
        self._listener = listener

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
            for presence in self._presences.values():
                self._retire(presence)
            self._presences.clear()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def announced(self) -> dict[Address, Scope]:
        """What is announced now, without what is still being probed for or left to another host."""
        with self._changed:
            return {address: self._holdings.wanted[address] for address in self._holdings.answered()}

    def conflicts(self) -> tuple[Conflict, ...]:
        """The conflicts with hosts that are none of ours, as they are now."""
        with self._changed:
            return self._holdings.conflicts()

    def interfaces_of(self, scope: Scope) -> list[str]:
        """The names of the interfaces here that the scope includes."""
        with self._changed:
            return sorted({interface.name for interface in self._presences if scope.includes(interface.name)})

    def announce(
        self,
        wanted: Mapping[Address, Scope],
        *,
        unheld: AbstractSet[Address] = _NONE,
        lent: Mapping[Address, Mapping[str, bytes]] = _NOTHING,
    ) -> None:
        """From now on announce exactly `wanted`: answer first, then tell the LAN about what is new.

        What is new and among `unheld` (as far as is known, none of ours has announced it before) is probed for first.
        What is `lent` a hardware address, by interface, is answered with that one and not announced unasked.
        """
        with self._changed:
            before = self._holdings.wanted
            if before == wanted and lent == self._lent:
                return
            returned = [address for address in self._lent if address in wanted and address not in lent]
            self._lent = dict(lent)
            turn = self._holdings.want(wanted, unheld=unheld if self._probe else _NONE, now=time.monotonic())
            self._answer()
            self._holdings.announce_again(returned, Reason.TAKEN)
            self._changed.notify_all()
        # Logged last: a thousand lines take longer than a thousand frames, and the clients wait for the frames.
        for address in sorted(turn.released):
            services = self._listener.services_of(address)
            log.info("address.withdrawn", ip=address, service=services, protocol="layer2", interfaces=before[address])
        self._tell_of(turn, wanted)

    def announce_again(self) -> None:
        """Start every announced address's burst anew: the LAN may have learned another holder meanwhile."""
        with self._changed:
            self._holdings.announce_again(self._holdings.wanted, Reason.DOUBT)
            self._changed.notify_all()

    def set_interfaces(self, interfaces: Iterable[Interface]) -> None:
        """Follow the node's interfaces: answer on those that can announce, and announce on those that are new."""
        found = tuple(interfaces)
        usable = {_identity(interface): interface for interface in announcing(found)}
        with self._changed:
            self._own_macs = frozenset(interface.mac for interface in found)
            for interface in [known for known in self._presences if known not in usable]:
                self._retire(self._presences.pop(interface))
                log.info("interface.lost", interface=interface.name)
            added = [
                interface.name for interface in usable if interface not in self._presences and self._open(interface)
            ]
            if not added:
                return
            self._answer()
            wanted = self._holdings.wanted.items()
            here = [address for address, scope in wanted if any(scope.includes(name) for name in added)]
            self._holdings.announce_again(here, Reason.INTERFACE)
            self._changed.notify_all()

    def _open(self, interface: Interface) -> bool:
        try:
            presence = self._open_presence(interface, self._claimed)
        except OSError as error:
            # The link went again before it was opened; its next change is reported anew.
            log.warning("interface.unusable", interface=interface.name, error=error)
            return False
        self._presences[interface] = presence
        for listener in presence.listeners:
            self._packets.add(listener)
        log.info("interface.ready", interface=interface.name, mac=mac_text(interface.mac))
        return True

    def _retire(self, presence: Presence) -> None:
        for listener in presence.listeners:
            self._packets.retire(listener)

    def _answer(self) -> None:
        answered = self._holdings.answered()
        for interface, presence in self._presences.items():
            wanted = self._holdings.wanted.items()
            here = frozenset(address for address, scope in wanted if scope.includes(interface.name))
            lent = {address: macs[interface.name] for address, macs in self._lent.items() if interface.name in macs}
            presence.answer_for(here & answered, watched=here, lent=lent)

    def _claimed(self, claim: Claim) -> None:
        node = self._listener.whose(claim.mac)
        with self._changed:
            if claim.mac in self._own_macs:
                # Another interface of this node in the same LAN, or a loop.
                return
            now = time.monotonic()
            if node is not None:
                report = self._holdings.rivalled(claim, node, now)
                defend = False
            else:
                report = self._holdings.claimed(claim, now)
                defend = report and claim.address in self._holdings.answered() and self._bucket.take(now)
            if defend:
                self._send(claim.address, Reason.DEFENCE)
            if report:
                # A conflict has begun, and with it a probation; later claims only put that off.
                self._changed.notify_all()
        if not report:
            return
        self._metrics.conflicts.labels(str(claim.address), "host" if node is None else "speaker").inc()
        log.warning(
            "address.conflict",
            ip=claim.address,
            service=self._listener.services_of(claim.address),
            interface=claim.interface,
            mac=mac_text(claim.mac),
            node=node or "-",
            defended=defend,
        )
        if node is None:
            self._listener.on_conflict(claim.address, claim.interface, claim.mac)
        else:
            self._listener.on_rival(claim.address, node)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                turn, wait_seconds = self._step()
                if turn is None and wait_seconds != 0.0:
                    self._changed.wait(wait_seconds)
                wanted = self._holdings.wanted
            if turn is not None:
                self._tell_of(turn, wanted)

    def _step(self) -> tuple[Turn | None, float | None]:
        """Do one thing that is due; return how long nothing is (None: until something changes)."""
        now = time.monotonic()
        due_at = self._holdings.next_due()
        if due_at is None or due_at > now:
            return None, None if due_at is None else due_at - now
        if not self._bucket.take(now):
            return None, self._bucket.wait_seconds(now)
        due = self._holdings.pop(now)
        if isinstance(due, Turn):
            self._answer()
            return due, 0.0
        if due is not None:
            self._send(due.address, due.reason)
        return None, 0.0

    def _send(self, address: Address, reason: Reason | None) -> None:
        scope = self._holdings.wanted[address]
        for interface, presence in self._presences.items():
            if not scope.includes(interface.name):
                continue
            # A refresh also asks: a host that took the address without a word would stay unnoticed for ever.
            if reason in (None, Reason.REFRESH):
                presence.probe(address)
            if reason is not None:
                presence.announce(address)
                self._metrics.announcements.labels(reason).inc()

    def _tell_of(self, turn: Turn, wanted: Mapping[Address, Scope]) -> None:
        for address in turn.taken:
            services = self._listener.services_of(address)
            interfaces = wanted.get(address, "-")
            log.info("address.announced", ip=address, service=services, protocol="layer2", interfaces=interfaces)
            if address in wanted and not self.interfaces_of(wanted[address]):
                log.warning(
                    "address.unreachable", ip=address, reason="no such interface here", wanted=wanted[address]
                )
        for address in turn.settled:
            log.info("address.conflict-over", ip=address, service=self._listener.services_of(address))
            self._listener.on_over(address)


def _identity(interface: Interface) -> Interface:
    """The interface with only what its sockets depend on: a new address or flag must not reopen them."""
    return Interface(index=interface.index, name=interface.name, mac=interface.mac)
