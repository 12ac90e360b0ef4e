"""Asking a LAN who owns an address, and hearing out everyone who answers."""

from __future__ import annotations

import ipaddress
import socket
import time

from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.lab.capture import ETH_P_ARP, ETH_P_IPV6
from tests.lab.network import Host

_IS_AT = 2


def who_has(host: Host, address: str, interface: str = "eth0", *, listen_seconds: float = 0.5) -> set[str]:
    """Ask once by ARP or neighbour solicitation; return every hardware address that answers within the time.

    The whole time is listened for, since only that shows that nobody else answers.
    """
    target = ipaddress.ip_address(address)
    ethertype = ETH_P_ARP if target.version == 4 else ETH_P_IPV6
    mac = host.mac(interface)
    source = _own_address(host, interface, target)
    frame = _arp_request(mac, source, address) if target.version == 4 else _solicitation(mac, source, address)
    with host.inside():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
    with raw:
        raw.bind((interface, ethertype))
        raw.send(frame)
        answers: set[str] = set()
        deadline = time.monotonic() + listen_seconds
        while (remaining := deadline - time.monotonic()) > 0:
            raw.settimeout(remaining)
            try:
                data = raw.recv(2048)
            except TimeoutError:
                break
            if answer := _answer(data, address):
                answers.add(answer)
        return answers


def _own_address(host: Host, interface: str, target: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    own = [
        (entry["local"], entry["prefixlen"])
        for link in host.ip_json("address", "show", "dev", interface)
        for entry in link["addr_info"]
        if ipaddress.ip_address(entry["local"]).version == target.version
    ]
    same_subnet = [each for each in own if target in ipaddress.ip_network(f"{each[0]}/{each[1]}", strict=False)]
    return str((same_subnet or own)[0][0])


def _arp_request(mac: str, source: str, target: str) -> bytes:
    question = ARP(op="who-has", hwsrc=mac, psrc=source, pdst=target)
    return bytes(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / question)


def _solicitation(mac: str, source: str, target: str) -> bytes:
    last = ipaddress.IPv6Address(target).packed[-3:]
    group = str(ipaddress.IPv6Address(ipaddress.IPv6Address("ff02::1:ff00:0").packed[:13] + last))
    group_mac = "33:33:ff:" + ":".join(f"{byte:02x}" for byte in last)
    question = IPv6(src=source, dst=group, hlim=255) / ICMPv6ND_NS(tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=mac)
    return bytes(Ether(src=mac, dst=group_mac) / question)


def _answer(data: bytes, address: str) -> str | None:
    """Return the hardware address that the frame says `address` is at, or None if it says no such thing."""
    packet = Ether(data)
    if ARP in packet:
        answered = packet[ARP].op == _IS_AT and packet[ARP].psrc == address
        return str(packet[ARP].hwsrc).lower() if answered else None
    if ICMPv6ND_NA in packet and ipaddress.ip_address(packet[ICMPv6ND_NA].tgt) == ipaddress.ip_address(address):
        option = packet.getlayer(ICMPv6NDOptDstLLAddr)
        return str(option.lladdr if option else packet.src).lower()
    return None
