"""The lab's wires: LANs as bridges, hosts as network namespaces, cables as veth pairs.

Everything is made inside the outer namespace of `tests.lab.enter`; the machine's own network is never touched.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.lab import namespaces

Result = TypeVar("Result")

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
SIOCGIFHWADDR = 0x8927
IFF_UP = 1
_FLAGS = struct.Struct("16sh14x")
_HARDWARE = struct.Struct("16s2x6s8x")
_SECONDS = 20.0
_serial = itertools.count(1)

_HOST_SYSCTLS = (
    # DAD would hold every IPv6 address back for a second.
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/all/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
)
_ROUTER_SYSCTLS = (
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/default/forwarding", "1"),
)
_BRIDGE_SYSCTLS = (
    # Frames between hosts must not meet the iptables of whoever owns the bridge.
    ("net/bridge/bridge-nf-call-iptables", "0"),
    ("net/bridge/bridge-nf-call-ip6tables", "0"),
    ("net/bridge/bridge-nf-call-arptables", "0"),
)


class NetworkError(RuntimeError):
    """An `ip` command failed: the message carries the command and what it said."""


@dataclass(frozen=True, slots=True)
class Lan:
    """One Ethernet segment; hosts plugged into it hear each other's broadcasts."""

    name: str
    bridge: str


@dataclass(frozen=True, slots=True)
class Link:
    """The cable between a host's interface and its LAN, held at the LAN's end.

    Taking it down is pulling the cable: the host sees the carrier go, its addresses and its routes stay.
    """

    interface: str
    port: str
    bridge: str

    def down(self) -> None:
        """Pull the cable."""
        _set_up(self.port, up=False)

    def up(self) -> None:
        """Plug the cable in again."""
        _set_up(self.port, up=True)

    def isolate(self) -> None:
        """Let the LAN pass nothing to or from the host, which sees its carrier as before."""
        run_ip(f"link set {self.port} nomaster")

    def rejoin(self) -> None:
        """Undo `isolate`."""
        run_ip(f"link set {self.port} master {self.bridge} up")


class Host:
    """A network namespace with a name and interfaces: a node, a client or a pod.

    `links` is filled while the network is built and only read afterwards.
    """

    def __init__(self, name: str, *, router: bool) -> None:
        self.name = name
        self.links: dict[str, Link] = {}
        sysctls = _HOST_SYSCTLS + (_ROUTER_SYSCTLS if router else ())
        self.path = namespaces.create(name, lambda: _prepare(sysctls))

    def plug(self, lan: Lan, interface: str, addresses: Sequence[str] = (), *, mac: str | None = None) -> Link:
        """Connect `interface` to the LAN, with `addresses` such as "192.0.2.1/24" or "2001:db8::1/64"."""
        port = new_port_name()
        run_ip(
            f"link add {port} type veth peer name {interface} netns {self.name}{f' address {mac}' if mac else ''}",
            f"link set {port} master {lan.bridge} up",
        )
        self.run_ip(*_addressing(interface, addresses))
        link = self.links[interface] = Link(interface, port, lan.bridge)
        return link

    def run_ip(self, *commands: str) -> None:
        """Run `ip` commands inside, in one go."""
        run_ip(*commands, namespace=self.name)

    def ip_json(self, *words: str) -> list[dict[str, Any]]:
        """Return what `ip -json WORDS` shows inside."""
        return list(json.loads(self.run("ip", "-json", *words).stdout or "[]"))

    @contextmanager
    def inside(self) -> Iterator[Self]:
        """Put the calling thread into the host for the block; sockets made there stay there."""
        with namespaces.entered(self.path):
            yield self

    def call(self, work: Callable[[], Result]) -> Result:
        """Run `work` inside and return its result; the calling thread waits and stays where it is."""
        with self.inside():
            return work()

    def argv(self, *command: str) -> list[str]:
        """Return the command line that runs `command` inside (in a mount namespace with the host's /sys)."""
        return ["ip", "netns", "exec", self.name, *command]

    def run(
        self, *command: str, check: bool = True, timeout_seconds: float = _SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end and return its output."""
        return subprocess.run(
            self.argv(*command), check=check, capture_output=True, text=True, timeout=timeout_seconds
        )

    def mac(self, interface: str) -> str:
        """Return the interface's hardware address, lower case with colons."""
        # One ioctl instead of a program: whoever asks a LAN every moment asks for this as often.
        with self.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            answer = fcntl.ioctl(control, SIOCGIFHWADDR, _HARDWARE.pack(interface.encode(), bytes(6)))
        mac: bytes = _HARDWARE.unpack(answer)[1]
        return mac.hex(":")

    def neighbours(self) -> dict[str, str]:
        """Return the kernel's ARP and NDP table: address to hardware address, for entries that have one."""
        entries = self.ip_json("-4", "neigh", "show") + self.ip_json("-6", "neigh", "show")
        return {entry["dst"]: entry["lladdr"] for entry in entries if "lladdr" in entry}

    def close(self) -> None:
        """Remove the host's name and pull its cables; running programs keep the namespace alive."""
        for link in self.links.values():
            subprocess.run(["ip", "link", "delete", link.port], check=False, capture_output=True, timeout=_SECONDS)
        namespaces.remove(self.path)


class Network:
    """LANs and hosts made together and removed together, by the thread that made them."""

    def __init__(self) -> None:
        namespaces.require_inside()
        self.lans: dict[str, Lan] = {}
        self.hosts: dict[str, Host] = {}

    def lan(self, name: str, addresses: Sequence[str] = ()) -> Lan:
        """Make a LAN; `addresses` are the outer namespace's own on it (none: it only listens in by bridging)."""
        bridge = f"br-{name}"
        # Left to itself a bridge takes the lowest address of its ports, and a new one whenever a host comes or
        # goes: the others would talk to the old one until their neighbour entries expire.
        mac = f"02:00:00:ff:00:{next(_serial) & 0xFF:02x}"
        # mcast_snooping off: without a querier on the LAN the bridge would forget who joined which group.
        run_ip(f"link add {bridge} address {mac} type bridge forward_delay 0 stp_state 0 mcast_snooping 0")
        _write_sysctls((*_BRIDGE_SYSCTLS, (f"net/ipv6/conf/{bridge}/accept_dad", "0")))
        run_ip(*_addressing(bridge, addresses))
        lan = self.lans[name] = Lan(name, bridge)
        return lan

    def host(self, name: str, *, router: bool = False) -> Host:
        """Make a host without interfaces; `router` lets it forward between them."""
        host = self.hosts[name] = Host(name, router=router)
        return host

    def remove(self, host: Host) -> None:
        """Remove one host, so that another of its name can be made."""
        del self.hosts[host.name]
        host.close()

    def remove_lan(self, lan: Lan) -> None:
        """Remove one LAN, on which no host is left."""
        del self.lans[lan.name]
        run_ip(f"link delete {lan.bridge}")

    def close(self) -> None:
        """Remove every host and LAN."""
        for host in self.hosts.values():
            host.close()
        for lan in self.lans.values():
            run_ip(f"link delete {lan.bridge}")
        self.hosts.clear()
        self.lans.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def new_port_name(prefix: str = "port") -> str:
    """Return an interface name that nothing else in the lab has."""
    return f"{prefix}{next(_serial)}"


def run_ip(*commands: str, namespace: str | None = None) -> None:
    """Run `ip` commands as one batch in the outer namespace, or in `namespace`. Raises NetworkError."""
    where = ["-netns", namespace] if namespace else []
    argv = ["ip", *where, "-batch", "-"]
    text = "\n".join(commands) + "\n"
    done = subprocess.run(argv, check=False, input=text, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode != 0:
        raise NetworkError(f"{' '.join(argv)}: {done.stderr.strip()}\n{text}")


def forward_between_lans() -> None:
    """Make the outer namespace a router with the lab's sysctls."""
    _prepare(_HOST_SYSCTLS + _ROUTER_SYSCTLS)


def _addressing(interface: str, addresses: Sequence[str]) -> list[str]:
    commands = [f"link set {interface} up"]
    for address in addresses:
        commands.append(f"address add {address} dev {interface}{' nodad' if ':' in address else ''}")
    return commands


def _prepare(sysctls: Sequence[tuple[str, str]]) -> None:
    _write_sysctls(sysctls)
    _set_up("lo", up=True)


def _write_sysctls(sysctls: Sequence[tuple[str, str]]) -> None:
    for name, value in sysctls:
        path = Path("/proc/sys", name)
        if path.exists():
            path.write_text(value)


def _set_up(interface: str, *, up: bool) -> None:
    # One ioctl instead of a program: killing a node must happen at one instant.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = _FLAGS.pack(interface.encode(), 0)
        _, flags = _FLAGS.unpack(fcntl.ioctl(control, SIOCGIFFLAGS, request))
        flags = flags | IFF_UP if up else flags & ~IFF_UP
        fcntl.ioctl(control, SIOCSIFFLAGS, _FLAGS.pack(interface.encode(), flags))
