"""The node's network interfaces as the kernel reports them, and which of them may announce addresses."""

from __future__ import annotations

import os
import re
import select
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from allocator.process.late_package import initialise_late
from allocator.process.logs import EventLog
from speaker.frames.ethernet import mac_bytes

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
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR = 0x1, 0x10
_RECEIVE_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One link: `mac` is six bytes, `carrier` means its medium is there, `master` the bridge or bond it serves."""

    index: int
    name: str
    mac: bytes
    hardware: int = _ARPHRD_ETHER
    flags: int = _IFF_UP | _IFF_BROADCAST | _IFF_LOWER_UP
    master: int | None = None
    addresses: frozenset[str] = frozenset()

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


def announcing(interfaces: Iterable[Interface], *, excluded: Iterable[str] = EXCLUDED_NAMES) -> tuple[Interface, ...]:
    """Choose the interfaces that can announce now (MetalLB internal/layer2/announcer.go updateInterfaces)."""
    patterns = [re.compile(pattern) for pattern in excluded]
    return tuple(
        interface
        for interface in interfaces
        if interface.up
        and interface.carrier
        and interface.speaks_arp
        and not any(pattern.search(interface.name) for pattern in patterns)
    )


def from_netlink(links: Iterable[Mapping[str, Any]], addresses: Iterable[Mapping[str, Any]]) -> tuple[Interface, ...]:
    """Build the interfaces from RTM_NEWLINK and RTM_NEWADDR messages, ordered by index."""
    held: dict[int, set[str]] = {}
    for message in addresses:
        address = _attribute(message, "IFA_LOCAL") or _attribute(message, "IFA_ADDRESS")
        if address is not None:
            held.setdefault(message["index"], set()).add(address)
    found = []
    for message in links:
        mac = _attribute(message, "IFLA_ADDRESS")
        # Tunnels have addresses of other lengths, or none.
        if mac is None or len(mac) != len("00:00:00:00:00:00"):
            continue
        found.append(
            Interface(
                index=message["index"],
                name=_attribute(message, "IFLA_IFNAME"),
                mac=mac_bytes(mac),
                hardware=message["ifi_type"],
                flags=message["flags"],
                master=_attribute(message, "IFLA_MASTER"),
                addresses=frozenset(held.get(message["index"], ())),
            )
        )
    return tuple(sorted(found, key=lambda interface: interface.index))


def _attribute(message: Mapping[str, Any], name: str) -> Any:
    return next((value for key, value, *_ in message["attrs"] if key == name), None)


class InterfaceWatch:
    """Tells `on_change` the node's interfaces whenever they change, from a thread of its own.

    Notifications only say that something changed; each is answered by reading everything anew, so that a
    notification lost by a full queue (ENOBUFS) costs nothing. `_current` is written by the thread alone.
    """

    def __init__(self, on_change: Callable[[tuple[Interface, ...]], None]) -> None:
        self._on_change = on_change
        self._current: tuple[Interface, ...] = ()
        self._notifications = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._notifications.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR))
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
                interfaces = from_netlink(route.get_links(), route.get_addr())
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
