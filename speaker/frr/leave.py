"""Taking a node out of its routers' tables before FRR ends, so that no packet is on its way to nobody.

RFC 8326 in three steps: mark every route for removal, withdraw it once the routers have moved, end the sessions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from speaker.bgp.vty import Vty

_ROUTER = re.compile(r"router bgp .+")
_NEIGHBOR = re.compile(r"neighbor (\S+) ")
_CEASE = "planned leave of the node"
"""RFC 8203: what the routers' logs show beside the end of the session; 128 bytes at most."""


@dataclass(slots=True)
class Router:
    """One `router bgp` of the running configuration: what is to be taken back."""

    line: str
    neighbors: list[str] = field(default_factory=list)
    networks: dict[str, list[str]] = field(default_factory=dict)
    """Prefixes by the line of their address family."""


def routers(running_config: str) -> list[Router]:
    """Read the routers, their neighbours and networks from `show running-config`."""
    found: list[Router] = []
    family = ""
    for raw in running_config.splitlines():
        line = raw.strip()
        if not raw.startswith(" "):
            if _ROUTER.fullmatch(line):
                found.append(Router(line))
            elif line not in ("!", "exit") and found:
                # Something else of the top level; what follows does not belong to the last router.
                family = ""
            continue
        if not found:
            continue
        router = found[-1]
        if line.startswith("address-family "):
            family = line
        elif line.startswith("exit-address-family"):
            family = ""
        elif family and line.startswith("network "):
            router.networks.setdefault(family, []).append(line.split()[1])
        elif (match := _NEIGHBOR.match(line)) and match[1] not in router.neighbors:
            router.neighbors.append(match[1])
    return found


class Leave:
    """The steps of one leave, over a connection to bgpd. Every method may raise VtyError."""

    def __init__(self, vty: Vty, *, sleep: Callable[[float], None]) -> None:
        self._vty = vty
        self._sleep = sleep
        self._routers = routers(vty.run("show running-config", timeout_seconds=30.0).text)

    @property
    def announces(self) -> bool:
        """Whether there is anything to take back."""
        return any(router.networks for router in self._routers)

    def withdraw(self, *, mark_seconds: float, settle_seconds: float) -> None:
        """Mark all routes, wait, withdraw them, wait. Sessions stay."""
        if not self.announces:
            return
        self.mark()
        self._sleep(mark_seconds)
        self.take_back()
        self._sleep(settle_seconds)

    def mark(self) -> None:
        """Have the routers prefer other nodes."""
        self._configure([(router, ["bgp graceful-shutdown"]) for router in self._routers])

    def take_back(self) -> None:
        """Withdraw all routes."""
        self._configure(
            [
                (router, [family, *(f"no network {prefix}" for prefix in prefixes), "exit-address-family"])
                for router in self._routers
                for family, prefixes in router.networks.items()
            ]
        )

    def unmark(self) -> None:
        """Undo the mark, for a configuration that is to live on."""
        self._configure([(router, ["no bgp graceful-shutdown"]) for router in self._routers])

    def end_sessions(self, *, settle_seconds: float) -> None:
        """Notify every router that the session ends on purpose, and why."""
        if not any(router.neighbors for router in self._routers):
            return
        self._configure(
            [
                (router, [f"neighbor {neighbor} shutdown message {_CEASE}" for neighbor in router.neighbors])
                for router in self._routers
            ]
        )
        self._sleep(settle_seconds)

    def _configure(self, blocks: list[tuple[Router, list[str]]]) -> None:
        self._vty.run("configure terminal")
        for router, lines in blocks:
            for line in (router.line, *lines):
                self._vty.run(line)
        self._vty.run("end")
