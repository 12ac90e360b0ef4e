"""Listens on one interface for frames by others that call our addresses theirs, and asks for them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from allocator.core.addresses import Address
from speaker.layer2.conflicts import Claim
from speaker.metrics import SpeakerMetrics
from speaker.netdev import bpf
from speaker.netdev.frame_listener import FrameListener
from speaker.netdev.interfaces import Interface
from speaker.netdev.packet_socket import MaySend, Refused, always


class ClaimWatch(FrameListener):
    """Reports every frame that claims a watched address; who sent it, and what to do about it, others decide.

    A socket of its own keeps the filter of the one that answers small. `_addresses` is replaced whole by the
    announcer's caller and read by the packet thread.
    """

    def __init__(
        self,
        interface: Interface,
        metrics: SpeakerMetrics,
        on_claim: Callable[[Claim], None],
        may_send: MaySend = always,
    ) -> None:
        """Open the socket, watching nothing yet. Raises OSError."""
        super().__init__(interface, metrics, may_send)
        self._on_claim = on_claim
        self._addresses: frozenset[Address] = frozenset()

    def watch_for(self, addresses: frozenset[Address]) -> None:
        """From now on report claims of exactly these. Raises Refused: then those watched before still are."""
        before = self._addresses
        self._addresses = addresses
        try:
            self._socket.set_filter(self._filter(addresses))
        except Refused:
            self._addresses = before & addresses
            raise

    def watches(self, address: Address) -> bool:
        """Return whether claims of the address are reported."""
        return address in self._addresses

    def probe(self, address: Address) -> bool:
        """Ask the LAN whether anyone has the address; return whether the question went out."""
        return self._socket.send(self._question(address))

    def _handle(self, data: bytes) -> bool:
        claimed = self._claimed(data)
        if claimed is None or claimed[0] not in self._addresses:
            return False
        address, mac = claimed
        self._on_claim(Claim(address=address, interface=self.interface.name, mac=mac))
        return True

    @abstractmethod
    def _filter(self, addresses: frozenset[Address]) -> bpf.Program:
        """What lets through the claims of these."""

    @abstractmethod
    def _question(self, address: Address) -> bytes:
        """The frame that asks for the address."""

    @abstractmethod
    def _claimed(self, data: bytes) -> tuple[Address, bytes] | None:
        """Which address the frame says is where, None if it says no such thing. Raises MalformedFrame."""
