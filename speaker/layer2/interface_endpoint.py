"""This node's endpoint on one interface: everything that answers, announces, asks and listens there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from allocator.core.addresses import Address, Family
from speaker.layer2.arp import ArpResponder
from speaker.layer2.arp_watch import ArpWatch
from speaker.layer2.conflicts import Claim
from speaker.layer2.ndp import NdpResponder
from speaker.layer2.ndp_watch import NdpWatch
from speaker.metrics import SpeakerMetrics
from speaker.netdev.event_loop import Listener, Responder, Watch
from speaker.netdev.interfaces import Interface
from speaker.netdev.packet_socket import MaySend, Refused, always


@dataclass(frozen=True, slots=True)
class InterfaceEndpoint:
    """One responder and one watch per family."""

    responders: Mapping[Family, Responder]
    watches: Mapping[Family, Watch]

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """All that waits for frames."""
        return (*self.responders.values(), *self.watches.values())

    def answer_for(
        self,
        addresses: frozenset[Address],
        *,
        watched: frozenset[Address],
        helped: Mapping[Address, bytes],
    ) -> list[Refused]:
        """From now on answer for exactly these addresses, and report claims of exactly those watched.

        What is `helped` is answered with that hardware address instead of the interface's, and not announced. Return
        what the kernel refused: `works` says for which addresses.
        """
        refusals = []
        for family in Family:
            # First the watch: what nobody listens for is not to be found free.
            try:
                self.watches[family].watch_for(_of(family, watched))
            except Refused as error:
                refusals.append(error)
            if (responder := self.responders.get(family)) is None:
                continue
            try:
                responder.answer_for(_of(family, addresses), helped)
            except Refused as error:
                refusals.append(error)
        return refusals

    def works(self, address: Address, *, answered: bool) -> bool:
        """Return whether the kernel lets the address be watched, and where it is to be, answered."""
        family = address.family
        return self.watches[family].watches(address) and (not answered or self.responders[family].answers(address))

    def announce(self, address: Address) -> bool:
        """Announce the address to the LAN, unasked; return whether anything went out."""
        return self.responders[address.family].announce(address)

    def probe(self, address: Address) -> bool:
        """Ask the LAN whether anyone has the address; return whether the question went out."""
        return self.watches[address.family].probe(address)


def _of(family: Family, addresses: frozenset[Address]) -> frozenset[Address]:
    return frozenset(address for address in addresses if address.family is family)


OpenEndpoint = Callable[[Interface, Callable[[Claim], None]], InterfaceEndpoint]
"""Opens what there is on an interface and who gets the claims heard there. Raises OSError."""


def opener(metrics: SpeakerMetrics, may_send: MaySend = always, *, answers: bool = True) -> OpenEndpoint:
    """Return what opens an interface: everything, or nothing where one part raises OSError.

    While `may_send` is false, nothing is answered, announced or asked. Without `answers` there is only what asks.
    """

    def open_endpoint(interface: Interface, on_claim: Callable[[Claim], None]) -> InterfaceEndpoint:
        with ExitStack() as undo:
            responders: dict[Family, Responder] = {}
            for responder in (ArpResponder, NdpResponder) if answers else ():
                responders[responder.family] = responder(interface, metrics, may_send)
                undo.callback(responders[responder.family].close)
            watches: dict[Family, Watch] = {}
            for watch in (ArpWatch, NdpWatch):
                watches[watch.family] = watch(interface, metrics, on_claim, may_send)
                undo.callback(watches[watch.family].close)
            undo.pop_all()
        return InterfaceEndpoint(responders, watches)

    return open_endpoint
