"""Routers of two vendors between the nodes and a network beyond, which nodes dial: BIRD and FRR.

Each learns addresses from every node it has a session with, and spreads connections over them in its kernel. A client
in the network beyond sends half of its connections through each router.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from speaker.bgp.vty import Vty
from tests.lab.bird import SESSION, Bird
from tests.lab.client import Answer, get
from tests.lab.frr_daemons import ROUTER, FrrDaemons
from tests.lab.frr_programs import find_bird, find_frr
from tests.lab.lab import Lab
from tests.lab.network import Host
from tests.lab.outage import Failure, OutageMeter, Report
from tests.lab.route_monitor import RouteMonitor

NODE_ASN, ROUTER_ASN = 64512, 64513
BIRD, FRR = "203.0.113.221", "203.0.113.222"
"""The routers' addresses on the nodes' LAN."""

BEYOND = ("192.0.2.0/24", "2001:db8:be::/64")
"""The network behind the routers; the client is at .10 there."""

_ADDRESSES = {BIRD: ("2001:db8:1::dd", "192.0.2.1/24", "2001:db8:be::1/64")}
_ADDRESSES[FRR] = ("2001:db8:1::de", "192.0.2.2/24", "2001:db8:be::2/64")
_CLIENT = ("192.0.2.10/24", "2001:db8:be::10/64")
_RELEASE = "10.3"
_REHASH_SECONDS = 0.1
_BFD = 'protocol bfd {\n  interface "*" { min rx interval 50 ms; min tx interval 50 ms; multiplier 3; };\n}\n'
_PROFILE = "quick"
_PROFILE_LINES = ("receive-interval 50", "transmit-interval 50", "detect-multiplier 3")
_BIRD_IPV6 = re.compile(r"Channel ipv6\s+State:\s+UP")
_HASH_POLICY = tuple(Path("/proc/sys/net", family, "fib_multipath_hash_policy") for family in ("ipv4", "ipv6"))


class NoRouters(Exception):
    """FRR or BIRD is not here; the message says what fetches them."""


class Routers:
    """Both routers and the client beyond, for a lab that runs; `with` ends them. Raises NoRouters."""

    def __init__(self, lab: Lab, *, bfd: bool = False) -> None:
        bird_root, frr_root = find_bird(), find_frr(_RELEASE)
        if bird_root is None or frr_root is None:
            raise NoRouters("FRR or BIRD is not here; `python -m tests.lab.frr_programs` fetches them from Debian")
        self._lab = lab
        self._bfd = bfd
        self._running = ExitStack()
        try:
            self.hosts = self._make_hosts()
            self.client = self._make_client()
            self.route_back(*(node.host for node in lab.nodes.values()))
            nodes = [node.addresses[0] for node in lab.nodes.values()]
            sessions = "".join(
                SESSION.format(
                    name=f"node{number}",
                    local_asn=ROUTER_ASN,
                    neighbor=address,
                    asn=NODE_ASN,
                    more="  bfd graceful;" if bfd else "",
                )
                for number, address in enumerate(nodes, start=1)
            )
            self.bird = self._running.enter_context(
                Bird(
                    bird_root,
                    netns=self.hosts[BIRD].name,
                    logs=lab.directory / "router-bird",
                    router_id=BIRD,
                    sessions=(_BFD if bfd else "") + sessions,
                )
            )
            self.frr = self._running.enter_context(
                FrrDaemons(frr_root, netns=self.hosts[FRR].name, logs=lab.directory / "router-frr", daemons=ROUTER)
            )
            self._configure_frr()
        except BaseException:
            self._running.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def start_frr(self) -> None:
        """Start the daemons of the FRR router that were killed, configured as before."""
        self.frr.start_missing()
        self._configure_frr()

    def route_back(self, *nodes: Host) -> None:
        """Give nodes the way back to the network beyond, through both routers; new ones have none."""
        for node in nodes:
            hops = " ".join(f"nexthop via {router}" for router in (BIRD, FRR))
            hops6 = " ".join(f"nexthop via {_ADDRESSES[router][0]}" for router in (BIRD, FRR))
            node.run_ip(f"route replace {BEYOND[0]} {hops}", f"route replace {BEYOND[1]} {hops6}")

    def next_hops(self, router: str, prefix: str) -> set[str]:
        """Return the nodes' addresses to which a router's kernel sends what is for the prefix."""
        family = "-6" if ":" in prefix else "-4"
        found: set[str] = set()
        for route in self.hosts[router].ip_json(family, "route", "show", prefix):
            hops = route.get("nexthops") or [route]
            found |= {str(hop["gateway"]) for hop in hops if "gateway" in hop}
        return found

    def established(self) -> dict[str, set[str]]:
        """Return by router the nodes it has a session with."""
        lines = self.ask_frr("show bgp summary established").splitlines()
        return {
            BIRD: {
                node.addresses[0]
                for number, node in enumerate(self._lab.nodes.values(), start=1)
                if self.bird.established(f"node{number}")
            },
            FRR: {
                node.addresses[0] for node in self._lab.nodes.values() for line in lines if node.addresses[0] in line
            },
        }

    def with_ipv6(self) -> dict[str, set[str]]:
        """Return by router the nodes whose session carries IPv6."""
        neighbors = json.loads(self.ask_frr("show bgp neighbors json"))
        nodes = [node.addresses[0] for node in self._lab.nodes.values()]
        return {
            BIRD: {
                node
                for number, node in enumerate(nodes, start=1)
                if _BIRD_IPV6.search(self.bird.ask(f"show protocols all node{number}"))
            },
            FRR: {node for node in nodes if _carries_ipv6(neighbors.get(node, {}))},
        }

    def ask_frr(self, *commands: str) -> str:
        """Run commands at the FRR router's bgpd; return the last answer."""
        vty = Vty(self.frr.sockets / "bgpd.vty")
        try:
            return [vty.run(command) for command in commands][-1].text
        finally:
            vty.close()

    def http_get(self, url: str, *, timeout_seconds: float = 2.0) -> Answer:
        """GET the URL from the client beyond, over a new connection. Raises OSError."""
        return get(self.client, url, timeout_seconds=timeout_seconds)

    def outage(self, url: str, *, rate_per_second: float) -> OutageMeter:
        """Ask the URL from the client beyond, at that rate, while the block runs."""
        return OutageMeter(self.client, url, rate_per_second=rate_per_second, connect_seconds=1.0, read_seconds=1.0)

    def _make_hosts(self) -> dict[str, Host]:
        network = self._lab.network
        beyond = network.lan("beyond")
        self._running.callback(network.remove_lan, beyond)
        hosts = {}
        for address, name in ((BIRD, "router-bird"), (FRR, "router-frr")):
            host = hosts[address] = network.host(name, router=True)
            self._running.callback(network.remove, host)
            address6, *behind = _ADDRESSES[address]
            host.plug(network.lans["eth0"], "eth0", [f"{address}/24", f"{address6}/64"])
            host.plug(beyond, "eth1", behind)
            _hash_by_connection(host)
        return hosts

    def _make_client(self) -> Host:
        network = self._lab.network
        client = network.host("client-beyond")
        self._running.callback(network.remove, client)
        client.plug(network.lans["beyond"], "eth0", _CLIENT)
        _hash_by_connection(client)
        gateways = [tuple(each.split("/")[0] for each in _ADDRESSES[router][1:]) for router in (BIRD, FRR)]
        client.run_ip(
            "route replace default " + " ".join(f"nexthop via {gateway}" for gateway, _ in gateways),
            "route replace ::/0 " + " ".join(f"nexthop via {gateway}" for _, gateway in gateways),
        )
        return client

    def _configure_frr(self) -> None:
        nodes = [node.addresses[0] for node in self._lab.nodes.values()]
        lines = ["configure terminal", f"router bgp {ROUTER_ASN}", f"bgp router-id {FRR}"]
        lines += ["no bgp ebgp-requires-policy"]
        if self._bfd:
            # As often as BIRD: what the nodes ask for decides.
            with closing(Vty(self.frr.sockets / "bfdd.vty")) as bfdd:
                for line in ("configure terminal", "bfd", f"profile {_PROFILE}", *_PROFILE_LINES, "end"):
                    bfdd.run(line)
        for node in nodes:
            lines += [f"neighbor {node} remote-as {NODE_ASN}", f"neighbor {node} passive"]
            lines += [f"neighbor {node} bfd", f"neighbor {node} bfd profile {_PROFILE}"] if self._bfd else []
        lines += ["address-family ipv4 unicast", "maximum-paths 16", "exit-address-family"]
        lines += ["address-family ipv6 unicast", "maximum-paths 16"]
        lines += [f"neighbor {node} activate" for node in nodes]
        self.ask_frr(*lines, "end")


def lost(report: Report, monitors: Iterable[RouteMonitor]) -> list[Failure]:
    """Return the requests that failed for another reason than that a router changed its next hops meanwhile.

    A router that hashes anew sends some connections to another node, which resets those that are under way; no node
    can help that.
    """
    changes = [change.at for monitor in monitors for change in monitor.changes]
    return [
        failure
        for failure in report.failures
        if "reset" not in failure.reason
        or not any(failure.started - _REHASH_SECONDS <= at <= failure.ended + _REHASH_SECONDS for at in changes)
    ]


def _hash_by_connection(host: Host) -> None:
    """Have addresses and ports choose the way of a connection, and not addresses alone."""
    with host.inside():
        for path in _HASH_POLICY:
            path.write_text("1")


def _carries_ipv6(neighbor: dict[str, Any]) -> bool:
    families = neighbor.get("neighborCapabilities", {}).get("multiprotocolExtensions", {})
    return neighbor.get("bgpState") == "Established" and "advertisedAndReceived" in families.get("ipv6Unicast", {})
