"""The programs on the hosts of `speaker_wire`: one asks for an address, one turns questions round, one floods."""

from __future__ import annotations

import json
import socket
import sys
import time

from allocator.core.addresses import Address, Family
from speaker.frames import ndp
from speaker.frames.arp import ArpFrame, Operation
from speaker.frames.ethernet import BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV6, UNKNOWN
from speaker.frames.ipv6 import group_mac, solicited_node

_SOURCES = {Family.IPV4: Address.parse("192.0.2.2"), Family.IPV6: Address.parse("2001:db8::2")}
_ANSWER_SECONDS = 1.0
_TICK_SECONDS = 0.002


def ask(vip: str, questions: int) -> dict[str, object]:
    """Ask again and again, each time waiting for the answer; return how long each took."""
    address = Address.parse(vip)
    sock = _socket(ETHERTYPE_ARP if address.family is Family.IPV4 else ETHERTYPE_IPV6)
    mac = sock.getsockname()[4]
    question = _question(address, mac)
    times, unanswered = [], 0
    for _ in range(questions):
        started = time.perf_counter_ns()
        sock.send(question)
        try:
            # Nothing else is addressed to this host while it asks.
            while sock.recv(128)[:6] != mac:
                pass
            times.append((time.perf_counter_ns() - started) / 1000)
        except TimeoutError:
            unanswered += 1
    return {"microseconds": times, "unanswered": unanswered}


def turn_round(ethertype: int) -> None:
    """Send every broadcast and multicast frame back to where it came from, until killed."""
    sock = _socket(ethertype)
    sock.settimeout(None)
    mac = sock.getsockname()[4]
    print("turning", flush=True)
    while True:
        frame = sock.recv(2048)
        if frame[0] & 1:
            sock.send(frame[6:12] + mac + frame[12:])


def flood(frames_per_second: int, seconds: float) -> dict[str, object]:
    """Broadcast requests for odd addresses at a rate, as far as this machine can; return the rate reached."""
    sock = _socket(0)
    mac = sock.getsockname()[4]
    frames = [_question(Address(Family.IPV4, (198 << 24 | 18 << 16) + 2 * index + 1), mac) for index in range(100)]
    print("started", flush=True)
    started = time.monotonic()
    sent = 0
    while (passed := time.monotonic() - started) < seconds:
        due = int(passed * frames_per_second)
        while sent < due:
            sock.send(frames[sent % len(frames)])
            sent += 1
        time.sleep(_TICK_SECONDS)
    return {"frames_per_second": sent / (time.monotonic() - started)}


def _socket(ethertype: int) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind(("eth0", ethertype))
    sock.settimeout(_ANSWER_SECONDS)
    return sock


def _question(address: Address, mac: bytes) -> bytes:
    sender = _SOURCES[address.family]
    if address.family is Family.IPV4:
        return ArpFrame(
            destination=BROADCAST,
            source=mac,
            operation=Operation.REQUEST,
            sender_mac=mac,
            sender_ip=sender,
            target_mac=UNKNOWN,
            target_ip=address,
        ).encode()
    group = solicited_node(address)
    return ndp.Solicitation(
        destination=group_mac(group),
        source=mac,
        sender=sender,
        receiver=group,
        target=address,
        link_address=mac,
    ).encode()


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        print(json.dumps(ask(sys.argv[2], int(sys.argv[3]))))
    elif sys.argv[1] == "turn-round":
        turn_round({"arp": ETHERTYPE_ARP, "ndp": ETHERTYPE_IPV6}[sys.argv[2]])
    else:
        print(json.dumps(flood(int(sys.argv[2]), float(sys.argv[3]))))
