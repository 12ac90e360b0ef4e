"""The node's network interfaces as the kernel reports them, and which of them may announce addresses."""

from __future__ import annotations

import ipaddress
import os
import re
import select
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from socket import AF_INET, AF_INET6
from typing import Any

from allocator.core.addresses import AddressError
from allocator.process.late_package import initialise_late
from allocator.process.logs import EventLog
from speaker.frames.ethernet import mac_bytes
from speaker.membership.link import Subnet

# By itself it would load a network database, traffic control and all of generic netlink: 6 MB for two questions.
initialise_late("pyroute2")

from pyroute2.iproute import IPRoute  # noqa: E402

log = EventLog("interfaces")

EXCLUDED_NAMES = (
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo$",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
)
"""MetalLB's announcedInterfacesToExclude: interfaces of container networks, never of the LAN."""

_IFF_UP, _IFF_BROADCAST, _IFF_LOOPBACK, _IFF_NOARP, _IFF_LOWER_UP = 0x1, 0x2, 0x8, 0x80, 0x10000
_ARPHRD_ETHER = 1
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
_RECEIVE_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One link: `mac` is six bytes, `carrier` means its medium is there, `master` the bridge or bond it serves.

    `subnets` are those of its addresses, link-local ones left out; `default_route` means that a default route leads
    out of it, `excluded` that it is not to announce whatever it can.
    """

    index: int
    name: str
    mac: bytes
    hardware: int = _ARPHRD_ETHER
    flags: int = _IFF_UP | _IFF_BROADCAST | _IFF_LOWER_UP
    master: int | None = None
    addresses: frozenset[str] = frozenset()
    subnets: frozenset[Subnet] = frozenset()
    default_route: bool = False
    excluded: bool = False

    @property
    def up(self) -> bool:
        """Whether the link is administratively up."""
        return bool(self.flags & _IFF_UP)

    @property
    def carrier(self) -> bool:
        """Whether the medium is connected."""
        return bool(self.flags & _IFF_LOWER_UP)

    @property
    def speaks_arp(self) -> bool:
        """Whether ARP works here: broadcast Ethernet, not loopback, not a port of a bridge or bond."""
        ethernet = self.hardware == _ARPHRD_ETHER and bool(self.flags & _IFF_BROADCAST)
        return ethernet and not self.flags & (_IFF_LOOPBACK | _IFF_NOARP) and self.master is None


def announcing(interfaces: Iterable[Interface]) -> tuple[Interface, ...]:
    """Choose the interfaces that can announce now (MetalLB internal/layer2/announcer.go updateInterfaces)."""
    return tuple(
        interface
        for interface in interfaces
        if interface.up and interface.carrier and interface.speaks_arp and not interface.excluded
    )


def from_netlink(
    links: Iterable[Mapping[str, Any]],
    addresses: Iterable[Mapping[str, Any]],
    routes: Iterable[Mapping[str, Any]] = (),
    *,
    excluded: Iterable[str] = EXCLUDED_NAMES,
) -> tuple[Interface, ...]:
    """Build the interfaces from RTM_NEWLINK, RTM_NEWADDR and, of default routes, RTM_NEWROUTE messages, by index.

    Those are excluded whose name matches one of the regular expressions anywhere.
    """
    patterns = [re.compile(pattern) for pattern in excluded]
    held: dict[int, set[str]] = {}
    subnets: dict[int, set[Subnet]] = {}
    for message in addresses:
        address = _attribute(message, "IFA_LOCAL") or _attribute(message, "IFA_ADDRESS")
        if address is not None:
            held.setdefault(message["index"], set()).add(address)
            subnet = _subnet(_attribute(message, "IFA_ADDRESS") or address, message.get("prefixlen"))
            if subnet is not None:
                subnets.setdefault(message["index"], set()).add(subnet)
    default = {_attribute(message, "RTA_OIF") for message in routes}
    found = []
    for message in links:
        mac = _attribute(message, "IFLA_ADDRESS")
        # Tunnels have addresses of other lengths, or none.
        if mac is None or len(mac) != len("00:00:00:00:00:00"):
            continue
        name = _attribute(message, "IFLA_IFNAME")
        found.append(
            Interface(
                index=message["index"],
                name=name,
                mac=mac_bytes(mac),
                hardware=message["ifi_type"],
                flags=message["flags"],
                master=_attribute(message, "IFLA_MASTER"),
                addresses=frozenset(held.get(message["index"], ())),
                subnets=frozenset(subnets.get(message["index"], ())),
                default_route=message["index"] in default,
                excluded=any(pattern.search(name) for pattern in patterns),
            )
        )
    return tuple(sorted(found, key=lambda interface: interface.index))


def _subnet(address: str, length: int | None) -> Subnet | None:
    """The subnet of an address; None for a link-local one: it is on every LAN."""
    if length is None or ipaddress.ip_address(address).is_link_local:
        return None
    try:
        return Subnet.parse(f"{address}/{length}")
    except AddressError:
        return None


def _attribute(message: Mapping[str, Any], name: str) -> Any:
    return next((value for key, value, *_ in message["attrs"] if key == name), None)


class InterfaceWatch:
    """Reports the node's interfaces whenever they change, from a thread of its own.

    Notifications only say that something changed; each is answered by reading everything anew, so that a
    notification lost by a full queue (ENOBUFS) costs nothing. `_current` is written by the thread alone.
    """

    def __init__(
        self, on_change: Callable[[tuple[Interface, ...]], None], *, excluded: Iterable[str] = EXCLUDED_NAMES
    ) -> None:
        """`excluded` are regular expressions; interfaces whose names match one anywhere do not announce."""
        self._on_change = on_change
        self._excluded = tuple(excluded)
        self._current: tuple[Interface, ...] = ()
        self._notifications = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._notifications.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="interfaces", daemon=True)

    def start(self) -> None:
        """Begin watching; the first report follows at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch and its thread."""
        self._stopping.set()
        os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._notifications.close()
        os.close(self._wake)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._notifications, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        with IPRoute() as route:
            while not self._stopping.is_set():
                self._drain()
                # Routes are not watched: on a node they change with every pod, and the default one with its link.
                routes = [*route.get_default_routes(family=AF_INET), *route.get_default_routes(family=AF_INET6)]
                interfaces = from_netlink(route.get_links(), route.get_addr(), routes, excluded=self._excluded)
                if interfaces != self._current:
                    self._current = interfaces
                    self._on_change(interfaces)
                poll.poll()

    def _drain(self) -> None:
        while True:
            try:
                self._notifications.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                # ENOBUFS: notifications were lost; the full read that follows makes up for them.
                continue
