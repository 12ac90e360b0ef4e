"""This node on one interface: everything that answers, announces, asks and listens there."""

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
class Presence:
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
        lent: Mapping[Address, bytes],
    ) -> None:
        """From now on answer for exactly these addresses, and report claims of exactly those watched.

        What is `lent` is said to be at that hardware address instead of the interface's, and not announced.
        """
        for responder in self.responders:
            responder.answer_for(addresses, lent)
        for watch in self.watches:
            watch.watch_for(watched)

    def announce(self, address: Address) -> bool:
        """Tell the LAN, unasked, that the address is here now; return whether anything went out."""
        return any([each.announce(address) for each in self.responders if each.covers(address)])

    def probe(self, address: Address) -> None:
        """Ask the LAN whether anyone has the address."""
        for watch in self.watches:
            if watch.covers(address):
                watch.probe(address)


OpenPresence = Callable[[Interface, Callable[[Claim], None]], Presence]
"""Opens what there is on an interface and who is told of claims heard there. Raises OSError."""


def opener(metrics: SpeakerMetrics, may_send: MaySend = always) -> OpenPresence:
    """Return what opens an interface: everything, or nothing where one part raises OSError.

    While `may_send` says no, nothing is answered, announced or asked.
    """

    def open_presence(interface: Interface, on_claim: Callable[[Claim], None]) -> Presence:
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
        return Presence(tuple(responders), tuple(watches))

    return open_presence
