"""Looking at the wire from a host: every frame with the time it came."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from tests.lab.network import Host

ETH_P_ALL = 0x0003
ETH_P_ARP = 0x0806
ETH_P_IPV6 = 0x86DD
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("qq")
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it was on the wire; `at` is the kernel's time of it on CLOCK_MONOTONIC, in seconds."""

    at: float
    outgoing: bool
    data: bytes

    def packet(self) -> Any:
        """Return it as scapy reads it."""
        return Ether(self.data)


class Capture:
    """Collects the frames of one interface while its block runs; they stay readable after it.

    `_frames` is appended to by the capture's thread alone; readers take a copy, which is one step.
    """

    def __init__(
        self,
        host: Host,
        interface: str = "eth0",
        *,
        ethertype: int = ETH_P_ALL,
        keep: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        """`ethertype` is filtered by the kernel (only ETH_P_ALL shows outgoing frames), `keep` by Python."""
        self._keep = keep
        self._frames: list[Frame] = []
        self._stopping = threading.Event()
        with host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
            self._socket.bind((interface, ethertype))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.settimeout(_POLL_SECONDS)
        self._thread = threading.Thread(target=self._run, name=f"capture-{host.name}-{interface}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()

    @property
    def frames(self) -> list[Frame]:
        """The frames so far, in the order they came."""
        return self._frames.copy()

    def packets(self) -> list[Any]:
        """Return the frames so far as scapy reads them, `time` being the CLOCK_MONOTONIC time."""
        packets = []
        for frame in self.frames:
            packet = frame.packet()
            packet.time = frame.at
            packets.append(packet)
        return packets

    def save(self, path: Path) -> None:
        """Write a pcap file."""
        wrpcap(str(path), self.packets())

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                data, ancillary, _, address = self._socket.recvmsg(65535, 64)
            except TimeoutError:
                continue
            except OSError:
                # The interface went away with its host.
                return
            if self._keep(data):
                outgoing = address[2] == socket.PACKET_OUTGOING
                self._frames.append(Frame(_monotonic(ancillary), outgoing, data))


def _monotonic(ancillary: list[tuple[int, int, bytes]]) -> float:
    now = time.monotonic()
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            age: float = time.time() - (seconds + nanoseconds / 1e9)
            return now - age
    return now
