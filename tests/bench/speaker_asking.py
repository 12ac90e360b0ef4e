"""Asking a LAN about addresses over and over, and telling of every answer with the time it came.

Frames are read here without the speaker's codecs: who judges the speaker must not share its mistakes.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from tests.lab.client import Client

_ARP, _IPV6 = 0x0806, 0x86DD
_ICMPV6, _SOLICITATION, _ADVERTISEMENT = 58, 135, 136
_IS_AT = 2
_SOLICITED = 0x40
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("qq")
_POLL_SECONDS = 0.1
_BUFFER_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer: `mac` is where it says the address is, `sender` who sent the frame, `at` CLOCK_MONOTONIC."""

    at: float
    address: str
    mac: str
    sender: str


def _ignore(*_: object) -> None:
    return


class Asking:
    """Asks about every address once in `every_seconds` while its block runs.

    `on_question` is called by the asking thread just before a question goes out, `on_answer` by the listening one.
    `_questions` is replaced as a whole, by whoever calls `about`, and only read by the asking thread.
    """

    def __init__(
        self,
        client: Client,
        addresses: Iterable[str] = (),
        *,
        every_seconds: float,
        on_answer: Callable[[Answer], None],
        on_question: Callable[[str, float], None] = _ignore,
    ) -> None:
        self._every_seconds = every_seconds
        self._on_answer = on_answer
        self._on_question = on_question
        self._mac = bytes.fromhex(client.host.mac("eth0").replace(":", ""))
        self._own = {own.version: own.packed for own in map(ipaddress.ip_address, client.addresses)}
        self._questions: dict[str, bytes] = {}
        self.about(addresses)
        self._stopping = threading.Event()
        self.failure: BaseException | None = None
        with client.host.inside():
            self._sending = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._listening = [
                socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind)) for kind in (_ARP, _IPV6)
            ]
            self._sending.bind(("eth0", 0))
            for sock, kind in zip(self._listening, (_ARP, _IPV6), strict=True):
                sock.bind(("eth0", kind))
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._threads = [
            threading.Thread(target=self._watched, args=(work,), name=name, daemon=True)
            for name, work in (("asking", self._ask), ("hearing", self._hear))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        for sock in (self._sending, *self._listening):
            sock.close()
        if self.failure is not None:
            raise self.failure

    def about(self, addresses: Iterable[str]) -> None:
        """Ask about exactly these from now on."""
        known = self._questions
        self._questions = {address: known.get(address) or self._asked(address) for address in addresses}

    def _asked(self, address: str) -> bytes:
        own = self._own[ipaddress.ip_address(address).version]
        return question(address, mac=self._mac, own=own)

    def _watched(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # raised where the block ends
            self.failure = error
            self._stopping.set()

    def _ask(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            for address, question in self._questions.items():
                self._on_question(address, time.monotonic())
                self._sending.send(question)
            # Never faster than asked for, and no hurry to make up for lost time.
            due = max(due + self._every_seconds, time.monotonic())
            self._stopping.wait(due - time.monotonic())

    def _hear(self) -> None:
        poll = select.poll()
        by_descriptor = {sock.fileno(): sock for sock in self._listening}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        while not self._stopping.is_set():
            for descriptor, _ in poll.poll(_POLL_SECONDS * 1000):
                while True:
                    try:
                        data, ancillary, _, _ = by_descriptor[descriptor].recvmsg(256, 64)
                    except BlockingIOError:
                        break
                    if (heard := answer_in(data, at=_arrival(ancillary))) is not None:
                        self._on_answer(heard)


def question(address: str, *, mac: bytes, own: bytes) -> bytes:
    """Return the frame with which a host of that hardware and IP address asks who has `address`."""
    target = ipaddress.ip_address(address)
    if isinstance(target, ipaddress.IPv4Address):
        header = b"\xff" * 6 + mac + struct.pack("!HHHBBH", _ARP, 1, 0x0800, 6, 4, 1)
        return header + mac + own + bytes(6) + target.packed
    group = bytes.fromhex("ff0200000000000000000001ff") + target.packed[-3:]
    message = struct.pack("!BBHI", _SOLICITATION, 0, 0, 0) + target.packed + b"\x01\x01" + mac
    checksum = _checksum(own + group + struct.pack("!II", len(message), _ICMPV6) + message)
    message = message[:2] + struct.pack("!H", checksum) + message[4:]
    header = b"\x33\x33" + group[-4:] + mac + struct.pack("!HIHBB", _IPV6, 6 << 28, len(message), _ICMPV6, 255)
    return header + own + group + message


def answer_in(data: bytes, *, at: float) -> Answer | None:
    """Read a frame that came at an instant; None unless it answers a question."""
    kind = int.from_bytes(data[12:14])
    if kind == _ARP and len(data) >= 42 and int.from_bytes(data[20:22]) == _IS_AT:
        if data[:6] == b"\xff" * 6:
            return None
        address, mac = socket.inet_ntop(socket.AF_INET, data[28:32]), data[22:28]
    elif kind == _IPV6 and len(data) >= 78 and (data[20], data[54]) == (_ICMPV6, _ADVERTISEMENT):
        if not data[58] & _SOLICITED:
            return None
        address = socket.inet_ntop(socket.AF_INET6, data[62:78])
        mac = data[80:86] if data[78:80] == b"\x02\x01" else data[6:12]
    else:
        return None
    return Answer(at=at, address=address, mac=mac.hex(":"), sender=data[6:12].hex(":"))


def _arrival(ancillary: list[tuple[int, int, bytes]]) -> float:
    """When the kernel had the frame, however late Python asks for it."""
    now = time.monotonic()
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            age: float = time.time() - (seconds + nanoseconds / 1e9)
            return now - age
    return now


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
