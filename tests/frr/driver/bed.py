"""A node with FRR as it will run, and two routers of two vendors, each on a LAN of its own with the node."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from allocator.bgp.command import Daemon, Reset
from allocator.bgp.inputs import Peer
from allocator.bgp.rendering import Rendering
from allocator.core.addresses import Address, Family
from speaker.bgp.applying import Applying
from speaker.bgp.events import Event
from speaker.bgp.vty import Vty
from tests.lab.bird import SESSION, Bird
from tests.lab.debian_root import DebianRoot
from tests.lab.frr_daemons import NODE, ROUTER, FrrDaemons
from tests.lab.network import Host, Network
from tests.lab.waiting import NeverHappened, wait_until

NODE_ASN, ROUTER_ASN = 64500, 64501
SECONDS = 30.0


@dataclass
class NodeFrr:
    """The driver's inner part, driven step by step, and what the node's FRR says of its sessions."""

    daemons: FrrDaemons
    may_reset: Callable[[Reset], bool] = lambda _: True
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rendering = Rendering()
        self.applying = Applying(
            self.rendering,
            self.daemons.sockets,
            report=self.events.append,
            may_reset=lambda each: self.may_reset(each),  # noqa: PLW0108
        )

    def show(self, command: str) -> Any:
        """Return bgpd's answer to a `show ... json`."""
        return json.loads(self.applying.show(Daemon.BGPD, command).text)

    def neighbors(self) -> Mapping[str, Mapping[str, Any]]:
        """Return bgpd's neighbours of the default VRF."""
        answer = self.show("show bgp neighbors json")
        return {name: each for name, each in answer.items() if isinstance(each, dict) and "bgpState" in each}

    def drops(self) -> dict[str, int]:
        """Return how often each session has ended."""
        return {name: int(each["connectionsDropped"]) for name, each in self.neighbors().items()}

    def wait_established(self, neighbors: Sequence[str], seconds: float = SECONDS) -> None:
        """Wait until these sessions are up."""

        def all_are() -> bool:
            now = self.neighbors()
            return all(each in now and now[each]["bgpState"] == "Established" for each in neighbors)

        try:
            wait_until(all_are, seconds, "all sessions are established")
        except NeverHappened as error:
            states = {name: (each["bgpState"], each.get("lastResetDueTo")) for name, each in self.neighbors().items()}
            missing = {name: states.get(name) for name in neighbors if states.get(name, ("",))[0] != "Established"}
            raise NeverHappened(f"{error}: {missing}") from error


@dataclass
class Bed:
    """All of it. BIRD is at 10.0.1.2, FRR at 10.0.2.2 and, for many sessions, from 10.0.2.101 on."""

    node: Host
    bird_host: Host
    router_host: Host
    frr: FrrDaemons
    bird: Bird
    router: FrrDaemons
    applying: NodeFrr

    def router_show(self, command: str) -> Any:
        """Return the FRR router's answer to a `show ... json`."""
        return json.loads(self.router_text(command))

    def router_text(self, command: str) -> str:
        """Return the FRR router's answer to a `show`."""
        return vtysh(self.router, command)

    def wait_for_kernel_routes(self, count: int, family: Family = Family.IPV4) -> None:
        """Wait until both routers' kernels have so many routes of a family from BGP."""
        for host, origin in ((self.bird_host, "bird"), (self.router_host, "bgp")):
            wait_until(
                lambda host=host, origin=origin: _kernel_routes(host, origin, family) == count,  # type: ignore[misc]
                SECONDS,
                f"{count} routes are in the kernel of {host.name}",
            )

    def restart_applying(self) -> NodeFrr:
        """A new speaker on the same FRR."""
        self.applying.applying.close()
        self.applying = NodeFrr(self.frr)
        return self.applying


def vtysh(daemons: FrrDaemons, *commands: str) -> str:
    """Run commands at bgpd; return the last answer."""
    vty = Vty(daemons.sockets / "bgpd.vty")
    try:
        replies = [vty.run(command) for command in commands]
    finally:
        vty.close()
    return replies[-1].text


def _kernel_routes(host: Host, origin: str, family: Family) -> int:
    which = "-4" if family is Family.IPV4 else "-6"
    return len(host.run("ip", which, "route", "show", "proto", origin).stdout.splitlines())


BIRD_ADDRESS, ROUTER_ADDRESS = "10.0.1.2", "10.0.2.2"
MANY = 40
"""How many more sessions to the FRR router there can be: 10.0.2.101 from 10.0.2.201, and so on."""


@contextmanager
def bed(release: str, root: DebianRoot, bird: DebianRoot, logs: Path, number: int) -> Iterator[Bed]:
    """Build it; `root` is of the node's and the router's FRR."""
    with ExitStack() as running:
        network = running.enter_context(Network())
        to_bird, to_router = network.lan(f"bgp{number}a"), network.lan(f"bgp{number}b")
        node, bird_host, router_host = (
            network.host(f"bgp{number}-{name}", router=router)
            for name, router in (("node", False), ("bird", True), ("router", True))
        )
        sources = [f"10.0.2.{201 + index}/24" for index in range(MANY)]
        targets = [f"10.0.2.{101 + index}/24" for index in range(MANY)]
        node.plug(to_bird, "eth0", ["10.0.1.1/24", "2001:db8:a::1/64"])
        node.plug(to_router, "eth1", ["10.0.2.1/24", "2001:db8:b::1/64", *sources])
        bird_host.plug(to_bird, "eth0", ["10.0.1.2/24", "2001:db8:a::2/64"])
        router_host.plug(to_router, "eth0", ["10.0.2.2/24", "2001:db8:b::2/64", *targets])
        sessions = SESSION.format(
            name="node", local_asn=ROUTER_ASN, neighbor="10.0.1.1", asn=NODE_ASN, more=""
        ) + SESSION.format(name="node6", local_asn=ROUTER_ASN, neighbor="2001:db8:a::1", asn=NODE_ASN, more="")
        routing = running.enter_context(
            Bird(bird, netns=bird_host.name, logs=logs, router_id="10.0.1.2", sessions=sessions)
        )
        router = running.enter_context(FrrDaemons(root, netns=router_host.name, logs=logs / "router", daemons=ROUTER))
        _configure(router)
        frr = running.enter_context(FrrDaemons(root, netns=node.name, logs=logs / "node", daemons=NODE))
        yield Bed(node, bird_host, router_host, frr, routing, router, NodeFrr(frr))


def bird_peer(**more: Any) -> Peer:
    """The BGPPeer of BIRD."""
    return _peer(name="bird", address=Address.parse(BIRD_ADDRESS), **more)


def router_peer(**more: Any) -> Peer:
    """The BGPPeer of the FRR router."""
    return _peer(name="router", address=Address.parse(ROUTER_ADDRESS), **more)


def numbered_peer(index: int, **more: Any) -> Peer:
    """One of many BGPPeers of the FRR router, each from an address of its own."""
    fields: dict[str, Any] = {"source_address": Address.parse(f"10.0.2.{201 + index}"), **more}
    return _peer(name=f"peer-{index:02}", address=Address.parse(f"10.0.2.{101 + index}"), **fields)


def _peer(**more: Any) -> Peer:
    fields: dict[str, Any] = {
        "my_asn": NODE_ASN,
        "peer_asn": ROUTER_ASN,
        "connect_seconds": 1,
        "router_id": "10.0.1.1",
        **more,
    }
    return Peer(**fields)


def _configure(router: FrrDaemons) -> None:
    neighbors = ["10.0.2.1", "2001:db8:b::1", *(f"10.0.2.{201 + index}" for index in range(MANY))]
    lines = ["end", "configure terminal", f"router bgp {ROUTER_ASN}", "no bgp ebgp-requires-policy"]
    lines += ["bgp router-id 10.0.2.2"]
    for neighbor in neighbors:
        lines += [
            f"neighbor {neighbor} remote-as {NODE_ASN}",
            f"neighbor {neighbor} passive",
            f"neighbor {neighbor} timers connect 1",
        ]
    lines += ["address-family ipv6 unicast", *(f"neighbor {each} activate" for each in neighbors), "end"]
    vtysh(router, *lines)
