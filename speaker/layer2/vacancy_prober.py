"""Asks the LAN about addresses that nobody announces yet: those that come next, and those of new Services."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from allocator.core.addresses import Address
from allocator.process.logs import EventLog
from speaker.cluster.next_addresses import Question
from speaker.frames.ethernet import mac_text
from speaker.layer2.conflicts import Claim
from speaker.layer2.gratuitous import TokenBucket
from speaker.layer2.interface_endpoint import OpenEndpoint
from speaker.layer2.interface_endpoints import InterfaceEndpoints
from speaker.layer2.vacancy import Finding, Vacancy
from speaker.metrics import SpeakerMetrics
from speaker.netdev.event_loop import PacketLoop
from speaker.netdev.interfaces import Interface
from speaker.netdev.packet_socket import MaySend, always

log = EventLog("vacancy")

PROBES_PER_SECOND = 50.0
PROBES_AT_ONCE = 25.0
"""Of addresses that wait to be given: a new pool is known after a second, and a hundred pools make no burst."""

_CHOOSE_SECONDS = 1.0
_FENCED_LOOK_SECONDS = 0.05
"""How often to see whether sending is allowed again, while something is due."""

Choose = Callable[[], Mapping[Address, Question]]
"""Works out what is to be asked; called by the prober's thread, so that nobody who decides waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VacancyListener:
    """Who gets what was found. Called without a lock by the prober's and the packet thread, so each must be quick.

    `on_taken` gets the address, our interface and the MAC of a host that is none of ours, each time that one is new
    there; `on_vacant` an address each time that a look found that nobody has it; `on_asked` the addresses asked about
    from now on. `whose` returns which of our nodes has a MAC.
    """

    on_taken: Callable[[Address, str, bytes], None] = lambda *_: None
    on_vacant: Callable[[Address], None] = lambda _: None
    on_asked: Callable[[frozenset[Address]], None] = lambda _: None
    whose: Callable[[bytes], str | None] = lambda _: None


class VacancyProber:
    """Has sockets of its own, so that what is only asked about weighs on nothing that answers.

    `_vacancy`, `_endpoints`, `_interrupted`, `_bucket` and all about `_choose` are guarded by `_changed`. Callers
    bring what is to be asked, the prober's own thread works it out and sends, the packet thread brings claims.
    """

    def __init__(
        self,
        *,
        packets: PacketLoop,
        open_endpoint: OpenEndpoint,
        metrics: SpeakerMetrics,
        may_send: MaySend = always,
        probes_per_second: float = PROBES_PER_SECOND,
    ) -> None:
        self._may_send = may_send
        self._listener = VacancyListener()
        self._changed = threading.Condition()
        self._vacancy = Vacancy()
        self._endpoints = InterfaceEndpoints(
            packets=packets,
            open_endpoint=open_endpoint,
            on_claim=self._claimed,
            metrics=metrics,
            on_heard=self._heard,
            quiet=True,
        )
        self._choose: Choose | None = None
        self._choose_at = math.inf
        self._chosen_at = 0.0
        self._interrupted = False
        self._bucket = TokenBucket(rate_per_second=probes_per_second, burst=PROBES_AT_ONCE, now=time.monotonic())
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="vacancy", daemon=True)

    def report_to(self, listener: VacancyListener) -> None:
        """Name who gets what is found; before `start`."""
        self._listener = listener

    def start(self) -> None:
        """Begin asking."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and leave every interface."""
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

    def ask(self, choose: Choose, *, at_once: bool) -> None:
        """Ask about exactly what `choose` returns from now on; returns at once. Only the latest is called.

        `at_once` where a Service is about to have an address; else it is called within a second.
        """
        with self._changed:
            self._choose = choose
            before, in_time = self._choose_at, self._chosen_at + _CHOOSE_SECONDS
            self._choose_at = 0.0 if at_once else min(before, in_time)
            if self._choose_at < before:
                # Else the thread wakes up in time by itself: of many changes a second it is to notice one.
                self._changed.notify_all()

    def is_vacant(self, address: Address) -> bool:
        """Return whether the LAN was asked about the address just before, and nobody has it."""
        with self._changed:
            return self._may_send() and not self._interrupted and self._vacancy.is_vacant(address, time.monotonic())

    def set_interfaces(self, interfaces: Iterable[Interface]) -> None:
        """Follow the node's interfaces; what new ones have a say about is asked anew."""
        with self._changed:
            if names := self._endpoints.follow(interfaces):
                self._ask_anew(names)
                self._watch()

    def _heard(self, name: str) -> None:
        """A port that has learned: what was asked through it before reached nobody."""
        with self._changed:
            if self._endpoints.heard(name):
                self._ask_anew([name])

    def _ask_anew(self, names: list[str]) -> None:
        self._vacancy.restart(time.monotonic(), self._endpoints.concerned(names, self._vacancy.scopes()))
        self._changed.notify_all()

    def _watch(self) -> None:
        self._endpoints.answer(self._vacancy.scopes(), frozenset(), {})

    def _claimed(self, claim: Claim) -> None:
        node = self._listener.whose(claim.mac)
        with self._changed:
            ours = node is not None or self._endpoints.is_own(claim.mac)
            finding = self._vacancy.heard(claim.address, ours=ours)
        if finding is Finding.TAKEN:
            log.info("address.taken", ip=claim.address, interface=claim.interface, mac=mac_text(claim.mac))
            self._listener.on_taken(claim.address, claim.interface, claim.mac)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                choose = self._due_choice()
            if choose is not None:
                self._ask(choose())
            with self._changed:
                vacant, wait_seconds = self._step()
                if vacant is None and wait_seconds > 0.0 and not self._stopping:
                    until_choice = self._choose_at - time.monotonic()
                    if (seconds := min(wait_seconds, until_choice)) > 0.0:
                        self._changed.wait(None if seconds == math.inf else seconds)
            if vacant is not None:
                self._listener.on_vacant(vacant)

    def _due_choice(self) -> Choose | None:
        now = time.monotonic()
        if self._choose is None or now < self._choose_at:
            return None
        choose, self._choose = self._choose, None
        self._choose_at, self._chosen_at = math.inf, now
        return choose

    def _ask(self, questions: Mapping[Address, Question]) -> None:
        with self._changed:
            before = self._vacancy.scopes()
            self._vacancy.ask(questions, time.monotonic())
            if self._vacancy.scopes() != before:
                self._watch()
        self._listener.on_asked(frozenset(questions))

    def _step(self) -> tuple[Address | None, float]:
        """Do one thing that is due; return an address found vacant, and for how long nothing is due."""
        now = time.monotonic()
        due = self._vacancy.next_due()
        if due is None or due > now:
            return None, math.inf if due is None else due - now
        if not self._may_send():
            self._interrupted = True
            return None, _FENCED_LOOK_SECONDS
        if self._interrupted:
            self._interrupted = False
            self._vacancy.restart(now)
            return None, 0.0
        if not self._vacancy.is_urgent(now) and not self._bucket.take(now):
            return None, self._bucket.wait_seconds(now)
        step = self._vacancy.pop(now)
        if step is None:
            return None, 0.0
        address, finding = step
        if finding is Finding.VACANT:
            return address, 0.0
        scope = self._vacancy.scopes()[address]
        if self._endpoints.asks_from(address, scope) > now or not self._endpoints.probe(address, scope):
            self._vacancy.unsent(address)
        return None, 0.0
