"""Who is where in the lab: LANs, and the addresses of everything on them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

POD_CIDRS = ("10.244.0.0/16", "fd00:10:244::/48")
SERVICE_CIDRS = ("10.96.0.0/16", "fd00:10:96::/112")
API_ADDRESS = "203.0.113.254"
API_PORT = 6443

_NODE_BASE = 200
_CLIENT_BASE = 240
_OUTER_V4 = 254
_OUTER_V6 = 0xFE


@dataclass(frozen=True, slots=True)
class LanPlan:
    """The subnets of one LAN; `gateway` says whether the outer namespace has an address on it."""

    name: str
    subnets: tuple[str, ...]
    gateway: bool

    def addresses(self, host_part: int) -> tuple[str, ...]:
        """Return a host's addresses with their prefix lengths, IPv4 first."""
        networks = [ipaddress.ip_network(subnet) for subnet in self.subnets]
        return tuple(f"{network[host_part]}/{network.prefixlen}" for network in networks)

    def gateway_addresses(self) -> tuple[str, ...]:
        """Return the outer namespace's addresses on this LAN."""
        networks = [ipaddress.ip_network(subnet) for subnet in self.subnets] if self.gateway else []
        return tuple(
            f"{network[_OUTER_V4 if network.version == 4 else _OUTER_V6]}/{network.prefixlen}" for network in networks
        )

    def mac(self, host_part: int) -> str:
        """Return a host's hardware address here: the same in every life of the host."""
        return f"02:00:00:00:{int(self.name[-1]):02x}:{host_part:02x}"


LANS = (
    LanPlan("eth0", ("203.0.113.0/24", "2001:db8:1::/64"), gateway=True),
    LanPlan("eth1", ("10.10.10.0/24", "10.20.20.0/24", "2001:db8:2::/64"), gateway=False),
)


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host on all LANs; nodes also have Pod CIDRs."""

    name: str
    host_part: int
    pod_cidrs: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The host's own addresses on eth0, without prefix lengths, IPv4 first."""
        return tuple(address.split("/")[0] for address in LANS[0].addresses(self.host_part))


def node_plan(number: int) -> HostPlan:
    """Return the plan of node-`number` (counted from 1)."""
    return HostPlan(f"node-{number}", _NODE_BASE + number, (f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"))


def client_plan(number: int) -> HostPlan:
    """Return the plan of client-`number` (counted from 1)."""
    return HostPlan(f"client-{number}", _CLIENT_BASE + number)


def routes_to_pods(nodes: list[HostPlan], *, besides: str | None = None) -> list[str]:
    """Return the `ip route` commands that lead to every node's Pods (but not to those of `besides`)."""
    return [
        f"route replace {cidr} via {address} dev {{eth0}}"
        for node in nodes
        if node.name != besides
        for cidr, address in zip(node.pod_cidrs, node.addresses, strict=True)
    ]


def default_routes() -> list[str]:
    """Return the `ip route` commands that lead everywhere else through the outer namespace."""
    return [f"route replace default via {address.split('/')[0]} dev eth0" for address in LANS[0].gateway_addresses()]
