"""What the hosts of a simulated LAN were last answered for each address, and what was last announced to them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from speaker.layer2.gratuitous import BURST_SECONDS
from tests.unit.speaker.simulated import Cluster, Member


@dataclass(slots=True)
class _Host:
    """When each node may have answered one host last for one address, and when it last announced it there."""

    answered: dict[str, float] = field(default_factory=dict)
    announced: dict[str, float] = field(default_factory=dict)


class Hosts:
    """One host at the port of each node: frames pass to it as they do to the node, and from the node at all times."""

    def __init__(self, cluster: Cluster, addresses: Iterable[Address]) -> None:
        self._cluster = cluster
        self._hosts = {(address, name): _Host() for address in addresses for name in cluster.names}
        self._answering: dict[Address, dict[str, str]] = {address: {} for address in addresses}
        """Who answers for each address since some event, and with whose hardware address."""
        self._places: dict[str, tuple[str, ...]] = {}
        """Where what each node sends arrives, of those asked for since the network changed."""
        self._looked_at: float | None = None
        """When that was last seen on the network as it is."""
        self._seen: dict[str, tuple[Member, int]] = {}
        self._due: list[tuple[float, Address, str]] = []

    def look(self, holders: Mapping[Address, frozenset[str]]) -> None:
        """Take note of who answers now, and of what is announced by now. Called after every event."""
        cluster, now = self._cluster, self._cluster.now
        for name, member in cluster.members.items():
            process, known = self._seen.get(name, (member, 0))
            if process is not member or known != len(member.announced_again):
                for at, address in member.announced_again[known if process is member else 0 :]:
                    self._announce(at, address, name)
            self._seen[name] = (member, len(member.announced_again))
        for address, before in self._answering.items():
            answering = {name: cluster.members[name].leads_to(address) for name in holders[address]}
            if answering != before:
                self._write_down(address)
                for name in answering.keys() - before.keys():
                    self._announce(now, address, name)
                self._answering[address] = answering
        self._looked_at = now
        while self._due and self._due[0][0] <= now:
            _, address, name = heapq.heappop(self._due)
            if name in self._answering[address]:
                for place in self._arrives_at(name):
                    self._hosts[address, place].announced[name] = now

    def rewire(self) -> None:
        """The network is about to change: write down what was answered by the old one."""
        for address in self._answering:
            self._write_down(address)
        self._places.clear()
        self._looked_at = None

    def astray(self, address: Address, holder: str) -> Iterator[tuple[str, str, float]]:
        """Yield where a host may know the address at another node than its holder, at which node, and since when."""
        self._write_down(address)
        for place in self._cluster.names:
            host = self._hosts[address, place]
            for name, at in host.answered.items():
                if name != holder and host.announced.get(holder, 0.0) < at:
                    yield place, name, at

    def _announce(self, at: float, address: Address, name: str) -> None:
        for offset in BURST_SECONDS:
            heapq.heappush(self._due, (at + offset, address, name))

    def _write_down(self, address: Address) -> None:
        """Whoever answers since an earlier event has done so until the last."""
        if self._looked_at is None:
            return
        for name, leads_to in self._answering[address].items():
            for place in self._arrives_at(name):
                self._hosts[address, place].answered[leads_to] = self._looked_at

    def _arrives_at(self, name: str) -> tuple[str, ...]:
        if name not in self._places:
            cluster = self._cluster
            self._places[name] = tuple(
                place
                for place in cluster.names
                if place == name
                or (
                    cluster.reaches(name, place)
                    and cluster.reaches(place, name)
                    and not cluster.lan_out & {name, place}
                )
            )
        return self._places[name]
