"""The addresses this node announces: which, on which interfaces, and the frames that say so to the LAN."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet

from allocator.core.addresses import Address
from speaker.cluster.scope import Scope
from speaker.layer2.address_state import AddressStates, Transition
from speaker.layer2.announcer_reports import AnnouncerReports
from speaker.layer2.conflicts import Claim, Conflict, ConflictListener
from speaker.layer2.gratuitous import REFRESH_SECONDS, Reason, TokenBucket
from speaker.layer2.interface_endpoint import OpenEndpoint
from speaker.layer2.interface_endpoints import LEARNING_SECONDS, HelpedMacs, InterfaceEndpoints
from speaker.layer2.probing import RETRY_SECONDS
from speaker.layer2.refusals import Refusals
from speaker.metrics import SpeakerMetrics
from speaker.netdev.event_loop import PacketLoop
from speaker.netdev.interfaces import Interface
from speaker.netdev.packet_socket import MaySend, always

ANNOUNCEMENTS_PER_SECOND = 3000.0
ANNOUNCEMENTS_AT_ONCE = 500.0
"""Both in addresses; each is two ARP frames an interface, or one of NDP. A node that takes over 1000 addresses has
announced all of them after a fifth of a second, and 5000 after one and a half, at 3 Mbit/s."""

CLEAR_SECONDS = 0.01
"""Between two times that addresses turn out to be free and are answered: of thousands, many at once."""

_FENCED_LOOK_SECONDS = 0.05
"""How often to see whether sending is allowed again, while something is due."""
_NONE: frozenset[Address] = frozenset()
_NOTHING: HelpedMacs = {}


class Announcer:
    """Carries out what is to be announced: keeps every interface in step, and sends what is due.

    An address that nobody of ours has announced before is probed for first, and not answered until that is over: a
    host that has it keeps it, and is asked again from time to time. A host that claims an address later is
    contradicted now and then and reported; the address stays answered. Claims by our own speakers are reported when
    they last: whoever elects resolves them.

    What the kernel refuses is reported and tried again; it counts as not answered meanwhile. Where the link of an
    interface has just come up, questions wait until something is heard there, and what is answered there is announced
    again then.

    While `may_send` is false, whatever is due waits, and of what was being probed for nothing counts: who was asked
    before a standstill may have answered during it.

    `_states`, `_endpoints`, `_refusals`, `_helped`, `_known_vacant`, `_interrupted` and `_bucket` are guarded by
    `_changed`. Callers change them, the announcer's own thread sends what is due, the packet thread brings claims.
    Once `announce` has returned, no frame for a withdrawn address is sent. Listeners are called without the lock, by
    any of these threads: they must be quick.
    """

    def __init__(
        self,
        *,
        packets: PacketLoop,
        open_endpoint: OpenEndpoint,
        metrics: SpeakerMetrics,
        may_send: MaySend = always,
        probe: bool = True,
        is_vacant: Callable[[Address], bool] = lambda _: False,
        announcements_per_second: float = ANNOUNCEMENTS_PER_SECOND,
        announcements_at_once: float = ANNOUNCEMENTS_AT_ONCE,
        refresh_seconds: float = REFRESH_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        learning_seconds: float = LEARNING_SECONDS,
    ) -> None:
        """`refresh_seconds` of 0 is never; `retry_seconds` lie between two looks at an address somebody else has.

        Without `probe` every address is answered at once, and the LAN is never asked: where a router answers for
        every address, its answer would be a conflict each time. A gratuitous claim of an address is reported all the
        same. What `is_vacant` is answered at once, too: the LAN was asked about it just before. That is called with
        the announcer's lock.
        """
        self._is_vacant = is_vacant
        self._metrics = metrics
        self._may_send = may_send
        self._probe = probe
        self._reports = AnnouncerReports(metrics)
        self._changed = threading.Condition()
        self._states = AddressStates(refresh_seconds=refresh_seconds, retry_seconds=retry_seconds)
        self._endpoints = InterfaceEndpoints(
            packets=packets,
            open_endpoint=open_endpoint,
            on_claim=self._claimed,
            metrics=metrics,
            on_heard=self._heard,
            learning_seconds=learning_seconds,
        )
        self._refusals = Refusals()
        self._clear_at = 0.0
        self._helped: HelpedMacs = _NOTHING
        self._known_vacant: set[Address] = set()
        self._interrupted = False
        self._bucket = TokenBucket(
            rate_per_second=announcements_per_second, burst=announcements_at_once, now=time.monotonic()
        )
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)

    def report_to(self, listener: ConflictListener) -> None:
        """Name who gets reports of conflicts; before `start`."""
        self._reports.listener = listener

    def start(self) -> None:
        """Begin sending what is due."""
        self._thread.start()

    def stop(self) -> None:
        """Withdraw everything and end the thread; nothing is sent: the next holder announces."""
        self.announce({})
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        with self._changed:
            self._endpoints.close()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def answered(self, among: Iterable[Address] | None = None) -> frozenset[Address]:
        """Which of these addresses, or of all, are answered for now: not what is being probed for, left to another,
        or refused by the kernel."""
        with self._changed:
            found = self._states.answered() if among is None else filter(self._states.is_answered, among)
            return frozenset(found) - self._refusals.current().keys()

    def conflicts(self) -> tuple[Conflict, ...]:
        """The conflicts with hosts that are none of ours, as they are now."""
        with self._changed:
            return self._states.conflicts()

    def interfaces_of(self, scope: Scope) -> list[str]:
        """The names of the interfaces here that the scope includes."""
        with self._changed:
            return self._endpoints.names(scope)

    def announce(
        self,
        wanted: Mapping[Address, Scope],
        *,
        unheld: AbstractSet[Address] = _NONE,
        helped: HelpedMacs = _NOTHING,
    ) -> None:
        """From now on announce exactly `wanted`: answer first, then announce what is new.

        What is new and among `unheld` (as far as is known, none of ours announced it until now) is probed for first;
        `on_answered` is called when any of it is answered.
        What is `helped` is answered with the restarting node's hardware address, by interface, and not announced.
        `wanted` is not changed by the caller any more.
        """
        with self._changed:
            before = self._states.wanted
            if before == wanted and helped == self._helped:
                return
            returned = [address for address in self._helped if address in wanted and address not in helped]
            self._helped = dict(helped)
            # Of thousands of addresses few are new: the others are not to be looked at.
            new = frozenset(address for address in unheld if address in wanted and address not in before)
            changed, transition = self._states.want(
                wanted,
                unheld=self._to_ask(new) if self._probe else _NONE,
                now=time.monotonic(),
                asks_from=self._endpoints.asks_from,
            )
            self._known_vacant &= wanted.keys()
            self._answer(changed)
            self._states.announce_again(returned, Reason.TAKEN)
            self._changed.notify_all()
        self._report_refused()
        if not unheld.isdisjoint(transition.taken):
            self._reports.listener.on_answered()
        # Last: a thousand lines take longer than a thousand frames, and the clients wait for the frames.
        self._reports.withdrawn(transition.released, before)
        self._report(transition, wanted)

    def found_vacant(self, address: Address) -> None:
        """Take note that the LAN was asked about the address, and nobody has it: it need not be asked to the end."""
        with self._changed:
            transition = self._states.found_vacant(address)
            if not transition.taken:
                return
            self._answer(transition.taken)
            wanted = self._states.wanted
            self._changed.notify_all()
        self._reports.listener.on_answered()
        self._report(transition, wanted)

    def announce_again(self, addresses: Iterable[Address] | None = None) -> None:
        """Start the bursts of these addresses, or of all, anew: the LAN may have learned another holder meanwhile."""
        with self._changed:
            wanted = self._states.wanted
            again = list(wanted) if addresses is None else [each for each in addresses if each in wanted]
            self._states.announce_again(again, Reason.DOUBT)
            self._changed.notify_all()

    def set_interfaces(self, interfaces: Iterable[Interface]) -> None:
        """Follow the node's interfaces: answer on those that can announce, and announce on those that are new."""
        with self._changed:
            changed = self._endpoints.follow(interfaces)
            if changed or self._endpoints.failed or self._refusals.current():
                self._use(changed)
        self._report_refused()

    def _heard(self, name: str) -> None:
        with self._changed:
            if self._endpoints.heard(name):
                self._reach([name])

    def _use(self, names: list[str]) -> None:
        """What is answered on these interfaces is other than before; there may be new ones, or none that work."""
        self._answer(self._states.wanted, on=names)
        self._reach(names)

    def _reach(self, names: list[str]) -> None:
        """What is sent on these interfaces reaches others than before: ask, and announce, again."""
        here = self._endpoints.concerned(names, self._states.wanted)
        if here:
            self._states.ask_from(here, self._endpoints.asks_from, time.monotonic())
            self._states.announce_again(here, Reason.INTERFACE)
        self._changed.notify_all()

    def _to_ask(self, new: AbstractSet[Address]) -> frozenset[Address]:
        """Which of these new addresses the LAN has not just been asked about."""
        to_ask = frozenset(address for address in new if not self._is_vacant(address))
        self._known_vacant |= new - to_ask
        self._metrics.new_addresses.labels("before").inc(len(new) - len(to_ask))
        self._metrics.new_addresses.labels("then").inc(len(to_ask))
        return to_ask

    def _answer(self, changed: Collection[Address], *, on: Collection[str] | None = None) -> None:
        states = self._states
        refused = self._endpoints.change(changed, states.wanted, states.is_answered, self._helped, on=on)
        # That it works on one interface does not show that it does on the others.
        self._note_refused(refused, changed if on is None else ())

    def _note_refused(self, refused: Mapping[Address, str], tried: Collection[Address]) -> None:
        self._refusals.note(
            refused,
            tried=tried,
            wanted=self._states.wanted,
            failed=self._endpoints.failed,
            now=time.monotonic(),
        )

    def _try_refused_again(self) -> None:
        again = [address for address in self._refusals.current() if address in self._states.wanted]
        self._refusals.forget()
        opened = self._endpoints.open_failed()
        self._answer(again)
        self._states.announce_again(again, Reason.DOUBT)
        self._use(opened)

    def _report_refused(self) -> None:
        """Report what the kernel has come to refuse, or no longer does. Called without the lock."""
        with self._changed:
            change = self._refusals.take_change()
        if change is None:
            return
        self._reports.refused(*change)

    def _report(self, transition: Transition, wanted: Mapping[Address, Scope]) -> None:
        self._reports.changed(transition, wanted, self.interfaces_of)

    def _claimed(self, claim: Claim) -> None:
        node = self._reports.listener.whose(claim.mac)
        with self._changed:
            if self._endpoints.is_own(claim.mac):
                # Another interface of this node in the same LAN, or a loop.
                return
            now = time.monotonic()
            if node is not None:
                report = self._states.rivalled(claim, node, now)
                defend = False
            else:
                report = self._states.claimed(claim, now)
                may_defend = report and self._states.is_answered(claim.address) and self._may_send()
                defend = may_defend and self._bucket.take(now)
            if defend:
                self._send(claim.address, Reason.DEFENCE)
            if report:
                # A conflict has begun, and with it a probation; later claims only put that off.
                self._changed.notify_all()
        if not report:
            return
        self._reports.claimed(claim, node, defended=defend)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                transition, wait_seconds = self._step()
                if transition is None and wait_seconds != 0.0:
                    self._changed.wait(wait_seconds)
                wanted = self._states.wanted
            self._report_refused()
            if transition is not None:
                if transition.taken:
                    self._reports.listener.on_answered()
                self._report(transition, wanted)

    def _step(self) -> tuple[Transition | None, float | None]:
        """Do one thing that is due; return how long nothing is (None: until something changes)."""
        now = time.monotonic()
        if self._refusals.retry_at is not None and self._refusals.retry_at <= now:
            self._try_refused_again()
            return None, 0.0
        timers = [at for at in (self._states.next_timer(), self._refusals.retry_at) if at is not None]
        timer_at = min(timers, default=None)
        if timer_at is None or timer_at > now:
            return None, None if timer_at is None else timer_at - now
        if not self._may_send():
            self._interrupted = True
            return None, _FENCED_LOOK_SECONDS
        if self._interrupted:
            self._interrupted = False
            self._states.ask_anew(now)
            return None, 0.0
        if not self._bucket.take(now):
            return None, self._bucket.wait_seconds(now)
        timer = self._states.pop(now, may_clear=now >= self._clear_at)
        if isinstance(timer, Transition):
            self._clear_at = now + CLEAR_SECONDS
            self._answer(timer.taken)
            return timer, 0.0
        if timer is None:
            return None, max(0.0, self._clear_at - now)
        self._send(timer.address, timer.reason)
        return None, 0.0

    def _send(self, address: Address, reason: Reason | None) -> None:
        scope = self._states.wanted[address]
        refused = self._endpoints.send(address, scope, reason, asks=self._probe)
        if refused is not None:
            self._note_refused({address: refused}, [address])
        if address in self._known_vacant:
            # A host that has come since the LAN was asked is found now, not with the first refresh.
            self._known_vacant.discard(address)
            self._endpoints.probe(address, scope)
