"""A raw socket on one interface that lets claims of addresses through, and sends questions."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Self

from allocator.core.addresses import Address, Family
from speaker.netdev import bpf, filters
from speaker.netdev.bpf import Program
from speaker.netdev.interfaces import Interface
from speaker.who_has.messages import ETHERTYPES, Claimed, claim_in

_RECEIVE_BYTES = 2048
_LONGEST_WAIT_SECONDS = 3600.0
"""poll(2) takes 24 days at most."""


class Wire:
    """Claims heard on one interface, of one family. For one thread. Needs CAP_NET_RAW."""

    def __init__(self, interface: Interface, family: Family, program: Program) -> None:
        """Open the socket; `program` is its filter from the first frame on. Raises OSError."""
        self.interface = interface
        self.family = family
        # Protocol 0 receives nothing until bind() names one: no frame comes in unfiltered.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            bpf.attach(self._socket, program)
            self._socket.bind((interface.name, ETHERTYPES[family]))
        except OSError:
            self._socket.close()
            raise

    @classmethod
    def for_answers(cls, interface: Interface, addresses: Sequence[Address]) -> Self:
        """Open one for claims of these addresses, all of one family. Raises OSError."""
        family = addresses[0].family
        program = filters.arp_claims_of if family is Family.IPV4 else filters.ndp_claims_of
        return cls(interface, family, program(frozenset(addresses)))

    @classmethod
    def for_all(cls, interface: Interface, family: Family) -> Self:
        """Open one for every claim of the family. Raises OSError."""
        return cls(interface, family, filters.arp() if family is Family.IPV4 else filters.advertisements())

    def fileno(self) -> int:
        """The descriptor that becomes readable when a frame waits."""
        return self._socket.fileno()

    def send(self, frame: bytes) -> None:
        """Send a frame. One that a full queue does not take is lost, as on any LAN. Raises OSError."""
        try:
            self._socket.send(frame)
        except OSError as error:
            if error.errno not in (errno.ENOBUFS, errno.EAGAIN):
                raise

    def claims(self) -> Iterator[Claimed]:
        """Yield the claims that wait. Raises OSError, where the interface went down or away."""
        with suppress(BlockingIOError):
            while True:
                claimed = claim_in(self._socket.recv(_RECEIVE_BYTES))
                if claimed is not None:
                    yield claimed

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()


def heard(wires: Iterable[Wire], *, until: float | None) -> Iterator[tuple[float, Wire, Claimed]]:
    """Yield claims as they come, each with its moment, until this moment of `time.monotonic`, or without end.

    Raises OSError, where an interface went down or away.
    """
    by_descriptor = {wire.fileno(): wire for wire in wires}
    poll = select.poll()
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    while (left := None if until is None else until - time.monotonic()) is None or left > 0:
        for descriptor, _ in poll.poll(None if left is None else min(left, _LONGEST_WAIT_SECONDS) * 1000):
            now = time.monotonic()
            wire = by_descriptor[descriptor]
            for claimed in wire.claims():
                yield now, wire, claimed
