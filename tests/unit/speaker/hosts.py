"""What the hosts of a simulated LAN were last answered for each address, and what was last announced to them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
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
        self._holders: dict[Address, set[str]] = {address: set() for address in addresses}
        self._seen: dict[str, tuple[Member, int]] = {}
        self._due: list[tuple[float, Address, str]] = []

    def look(self) -> None:
        """Take note of who answers now, and of what is announced by now. Called after every event."""
        cluster, now = self._cluster, self._cluster.now
        for name, member in cluster.members.items():
            process, known = self._seen.get(name, (member, 0))
            for at, address in member.announced_again[known if process is member else 0 :]:
                self._announce(at, address, name)
            self._seen[name] = (member, len(member.announced_again))
        for address, before in self._holders.items():
            holders = cluster.holders(address)
            for name in holders - before:
                self._announce(now, address, name)
            self._holders[address] = holders
        while self._due and self._due[0][0] <= now:
            _, address, name = heapq.heappop(self._due)
            if name in self._holders[address]:
                for place in self._places(name):
                    self._hosts[address, place].announced[name] = now
        for address, holders in self._holders.items():
            for name in holders:
                leads_to = cluster.members[name].leads_to(address)
                for place in self._places(name):
                    self._hosts[address, place].answered[leads_to] = now

    def astray(self, address: Address, holder: str) -> Iterator[tuple[str, str, float]]:
        """Yield where a host may know the address at another node than its holder, at which node, and since when."""
        for place in self._cluster.names:
            host = self._hosts[address, place]
            for name, at in host.answered.items():
                if name != holder and host.announced.get(holder, 0.0) < at:
                    yield place, name, at

    def _announce(self, at: float, address: Address, name: str) -> None:
        for offset in BURST_SECONDS:
            heapq.heappush(self._due, (at + offset, address, name))

    def _places(self, name: str) -> Iterator[str]:
        cluster = self._cluster
        for place in cluster.names:
            passes = cluster.reaches(name, place) and cluster.reaches(place, name)
            if place == name or (passes and not cluster.lan_out & {name, place}):
                yield place
