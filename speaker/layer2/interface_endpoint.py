"""This node's endpoint on one interface: everything that answers, announces, asks and listens there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from allocator.core.addresses import Address
from speaker.layer2.arp import ArpResponder
from speaker.layer2.arp_watch import ArpWatch
from speaker.layer2.conflicts import Claim
from speaker.layer2.ndp import NdpResponder
from speaker.layer2.ndp_watch import NdpWatch
from speaker.metrics import SpeakerMetrics
from speaker.netdev.event_loop import Listener, Responder, Watch
from speaker.netdev.interfaces import Interface
from speaker.netdev.packet_socket import MaySend, always


@dataclass(frozen=True, slots=True)
class InterfaceEndpoint:
    """One responder and one watch per family, addressed together: each takes what is of its family."""

    responders: tuple[Responder, ...]
    watches: tuple[Watch, ...]

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """All that waits for frames."""
        return (*self.responders, *self.watches)

    def answer_for(
        self,
        addresses: frozenset[Address],
        *,
        watched: frozenset[Address],
        helped: Mapping[Address, bytes],
    ) -> None:
        """From now on answer for exactly these addresses, and report claims of exactly those watched.

        What is `helped` is answered with that hardware address instead of the interface's, and not announced.
        """
        for responder in self.responders:
            responder.answer_for(addresses, helped)
        for watch in self.watches:
            watch.watch_for(watched)

    def announce(self, address: Address) -> bool:
        """Announce the address to the LAN, unasked; return whether anything went out."""
        return any([each.announce(address) for each in self.responders if each.covers(address)])

    def probe(self, address: Address) -> None:
        """Ask the LAN whether anyone has the address."""
        for watch in self.watches:
            if watch.covers(address):
                watch.probe(address)


OpenEndpoint = Callable[[Interface, Callable[[Claim], None]], InterfaceEndpoint]
"""Opens what there is on an interface and who gets the claims heard there. Raises OSError."""


def opener(metrics: SpeakerMetrics, may_send: MaySend = always) -> OpenEndpoint:
    """Return what opens an interface: everything, or nothing where one part raises OSError.

    While `may_send` is false, nothing is answered, announced or asked.
    """

    def open_endpoint(interface: Interface, on_claim: Callable[[Claim], None]) -> InterfaceEndpoint:
        with ExitStack() as undo:
            responders: list[Responder] = []
            for responder in (ArpResponder, NdpResponder):
                responders.append(responder(interface, metrics, may_send))
                undo.callback(responders[-1].close)
            watches: list[Watch] = []
            for watch in (ArpWatch, NdpWatch):
                watches.append(watch(interface, metrics, on_claim, may_send))
                undo.callback(watches[-1].close)
            undo.pop_all()
        return InterfaceEndpoint(tuple(responders), tuple(watches))

    return open_endpoint
