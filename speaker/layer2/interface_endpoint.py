"""This node's endpoint on one interface: everything that answers, announces, asks and listens there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

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


def _nothing() -> dict[Family, set[Address]]:
    return {family: set() for family in Family}


@dataclass(frozen=True, slots=True)
class InterfaceEndpoint:
    """One responder and one watch per family, and what they are to do. What a change costs follows the change."""

    responders: Mapping[Family, Responder]
    watches: Mapping[Family, Watch]
    _watched: Mapping[Family, set[Address]] = field(default_factory=_nothing)
    _answered: Mapping[Family, set[Address]] = field(default_factory=_nothing)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """All that waits for frames."""
        return (*self.responders.values(), *self.watches.values())

    @property
    def watched(self) -> set[Address]:
        """The addresses whose claims are to be reported."""
        return set().union(*self._watched.values())

    def change(
        self, changes: Iterable[tuple[Address, bool, bool]], *, helped: Mapping[Address, bytes]
    ) -> list[Refused]:
        """Of these addresses, report claims of those to be watched (first flag) and answer for those of the second.

        What is `helped` is answered with that hardware address instead of the interface's, and not announced. Return
        what the kernel refused: `works` says for which addresses.
        """
        watches: set[Family] = set()
        answers: set[Family] = set()
        for address, watched, answered in changes:
            family = address.family
            responder = self.responders.get(family)
            # A filter is made of all addresses of its family: only where it has to be another, or was refused.
            if self.watches[family].watches(address) != watched:
                watches.add(family)
            if responder is not None and responder.answers(address) != answered:
                answers.add(family)
            _set(self._watched[family], address, member=watched)
            _set(self._answered[family], address, member=answered)
        refusals = []
        for family in Family:
            # First the watch: what nobody listens for is not to be found free.
            try:
                if family in watches:
                    self.watches[family].watch_for(frozenset(self._watched[family]))
            except Refused as error:
                refusals.append(error)
            if (responder := self.responders.get(family)) is None:
                continue
            try:
                if family in answers:
                    responder.answer_for(frozenset(self._answered[family]))
            except Refused as error:
                refusals.append(error)
            responder.help_with(helped)
        return refusals

    def works(self, address: Address, *, answered: bool) -> bool:
        """Return whether the kernel lets the address be watched, and where it is to be, answered."""
        family = address.family
        return self.watches[family].watches(address) and (not answered or self.responders[family].answers(address))

    def announce(self, address: Address) -> bool:
        """Send the gratuitous announcement to the LAN; return whether anything went out. Raises Refused."""
        return self.responders[address.family].announce(address)

    def probe(self, address: Address) -> bool:
        """Ask the LAN whether anyone has the address; return whether the question went out."""
        return self.watches[address.family].probe(address)


def _set(addresses: set[Address], address: Address, *, member: bool) -> None:
    if member:
        addresses.add(address)
    else:
        addresses.discard(address)


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
