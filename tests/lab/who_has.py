"""Asking a LAN who owns an address, and hearing out everyone who answers."""

from __future__ import annotations

import ipaddress
import select
import socket
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress

from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.lab.capture import ETH_P_ARP, ETH_P_IPV6
from tests.lab.network import Host

_IS_AT = 2
_ETHERTYPES = {4: ETH_P_ARP, 6: ETH_P_IPV6}
_DISCARD_PORT = 9


def who_has(host: Host, address: str, interface: str = "eth0", *, listen_seconds: float = 0.5) -> set[str]:
    """Ask once by ARP or neighbour solicitation; return every hardware address that answers within the time.

    The whole time is listened for, since only that shows that nobody else answers.
    """
    return who_have(host, [address], interface, listen_seconds=listen_seconds)[address]


def who_have(
    host: Host, addresses: Collection[str], interface: str = "eth0", *, listen_seconds: float = 0.5
) -> dict[str, set[str]]:
    """Ask for many addresses at once; return by address what `who_has` returns, after the same time."""
    versions = {ipaddress.ip_address(address).version for address in addresses}
    mac = host.mac(interface)
    answers: dict[str, set[str]] = {address: set() for address in addresses}
    with ExitStack() as stack:
        poll = select.poll()
        raw = {version: stack.enter_context(_raw(host, interface, _ETHERTYPES[version])) for version in versions}
        by_descriptor = {each.fileno(): each for each in raw.values()}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        for address in addresses:
            raw[ipaddress.ip_address(address).version].send(_question(host, interface, mac, address))
        deadline = time.monotonic() + listen_seconds
        while (remaining := deadline - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(remaining * 1000):
                if (answer := _answer(by_descriptor[descriptor].recv(2048), answers)) is not None:
                    address, answering = answer
                    answers[address].add(answering)
    return answers


def _raw(host: Host, interface: str, ethertype: int) -> socket.socket:
    with host.inside():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
    raw.bind((interface, ethertype))
    return raw


def _question(host: Host, interface: str, mac: str, address: str) -> bytes:
    target = ipaddress.ip_address(address)
    source = _own_address(host, interface, target)
    return _arp_request(mac, source, address) if target.version == 4 else _solicitation(mac, source, address)


def _own_address(host: Host, interface: str, target: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return what the host's kernel would ask from; where it has no route there, the interface's first address."""
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    with host.inside(), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        with suppress(OSError):
            probe.connect((str(target), _DISCARD_PORT))
            return str(probe.getsockname()[0])
    shown = host.ip_json("address", "show", "dev", interface)
    own = (str(entry["local"]) for link in shown for entry in link["addr_info"])
    return next(local for local in own if ipaddress.ip_address(local).version == target.version)


def _arp_request(mac: str, source: str, target: str) -> bytes:
    question = ARP(op="who-has", hwsrc=mac, psrc=source, pdst=target)
    return bytes(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / question)


def _solicitation(mac: str, source: str, target: str) -> bytes:
    last = ipaddress.IPv6Address(target).packed[-3:]
    group = str(ipaddress.IPv6Address(ipaddress.IPv6Address("ff02::1:ff00:0").packed[:13] + last))
    group_mac = "33:33:ff:" + ":".join(f"{byte:02x}" for byte in last)
    question = IPv6(src=source, dst=group, hlim=255) / ICMPv6ND_NS(tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=mac)
    return bytes(Ether(src=mac, dst=group_mac) / question)


def _answer(data: bytes, asked: Mapping[str, object]) -> tuple[str, str] | None:
    """Return the address that the frame is an answer about, and the hardware address that it is said to be at.

    None for a frame that answers no question about an address of `asked`.
    """
    packet = Ether(data)
    if ARP in packet:
        said, mac = packet[ARP].psrc if packet[ARP].op == _IS_AT else "", packet[ARP].hwsrc
    elif ICMPv6ND_NA in packet:
        option = packet.getlayer(ICMPv6NDOptDstLLAddr)
        said, mac = packet[ICMPv6ND_NA].tgt, option.lladdr if option else packet.src
    else:
        return None
    address = next(
        (each for each in asked if said and ipaddress.ip_address(each) == ipaddress.ip_address(said)), None
    )
    return None if address is None else (address, str(mac).lower())
