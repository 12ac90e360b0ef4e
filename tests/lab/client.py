"""A client of the lab: a host beside the nodes that asks for things and looks at the wire."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.lab.capture import ETH_P_ALL, Capture
from tests.lab.network import Host, Link, Network
from tests.lab.outage import OutageMeter
from tests.lab.topology import LANS, HostPlan, default_routes
from tests.lab.who_has import who_has, who_have


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer and how long it took."""

    status: int
    text: str
    seconds: float

    @property
    def json(self) -> Any:
        """The body as JSON: from the lab's web application `pod`, `node` and `client`."""
        return json.loads(self.text)


class Client:
    """One client host; each call may come from any thread."""

    def __init__(self, plan: HostPlan, network: Network) -> None:
        self.name = plan.name
        self.plan = plan
        self.host: Host = network.host(plan.name)
        for lan in LANS:
            addresses = lan.addresses(plan.host_part)
            self.host.plug(network.lans[lan.name], lan.name, addresses, mac=lan.mac(plan.host_part))
        self.host.run_ip(*default_routes())

    @property
    def addresses(self) -> tuple[str, ...]:
        """The client's addresses on eth0, IPv4 first."""
        return self.plan.addresses

    def link(self, interface: str = "eth0") -> Link:
        """Return the cable behind an interface, to pull and to plug in."""
        return self.host.links[interface]

    def http_get(self, url: str, *, timeout_seconds: float = 2.0) -> Answer:
        """GET the URL (an address, no name: the lab has no DNS) over a new connection. Raises OSError."""
        return get(self.host, url, timeout_seconds=timeout_seconds)

    def neighbours(self) -> dict[str, str]:
        """Return the client's ARP and NDP table: address to hardware address."""
        return self.host.neighbours()

    def forget_neighbours(self) -> None:
        """Empty the client's ARP and NDP table."""
        self.host.run_ip("neigh flush all")

    def who_has(self, address: str, interface: str = "eth0", *, listen_seconds: float = 0.5) -> set[str]:
        """Return every hardware address that answers for `address` on the LAN within the time."""
        return who_has(self.host, address, interface, listen_seconds=listen_seconds)

    def who_have(
        self, addresses: Collection[str], interface: str = "eth0", *, listen_seconds: float = 0.5
    ) -> dict[str, set[str]]:
        """Return the same for many addresses asked at once, by address."""
        return who_have(self.host, addresses, interface, listen_seconds=listen_seconds)

    def capture(
        self, interface: str = "eth0", *, ethertype: int = ETH_P_ALL, keep: Callable[[bytes], bool] = lambda _: True
    ) -> Capture:
        """Collect the frames on an interface while the block runs."""
        return Capture(self.host, interface, ethertype=ethertype, keep=keep)

    def outage(
        self, url: str, *, rate_per_second: float = 100.0, connect_seconds: float = 1.0, read_seconds: float = 1.0
    ) -> OutageMeter:
        """Ask the URL at that rate while the block runs; its `report` then tells every failure and gap."""
        return OutageMeter(
            self.host,
            url,
            rate_per_second=rate_per_second,
            connect_seconds=connect_seconds,
            read_seconds=read_seconds,
        )


def get(host: Host, url: str, *, timeout_seconds: float) -> Answer:
    """GET the URL from any host, over a new connection. Raises OSError."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    started = time.monotonic()
    with host.inside():
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_seconds)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
    return Answer(response.status, text, time.monotonic() - started)
