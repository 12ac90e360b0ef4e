"""What both routers have, looked at again and again, and every change of their kernels' routes."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.lab.network import Host
from tests.lab.route_monitor import RouteChange, RouteMonitor
from tests.lab.routers import BIRD, FRR
from tests.soak.bgp.expectation import Hop
from tests.soak.bgp.place import Place

_LOOK_SECONDS = 0.25
_ADDRESSES = ("198.51.101.", "2001:db8:101::")
BIRD_SESSION = re.compile(
    r"^\s?(?:1002-)?\s*node(\d+)\s+BGP\s+\S+\s+up\s+(\d+):(\d+):([\d.]+)\s+Established", re.MULTILINE
)
_SAME_LIFE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Spell:
    """A hop was there and might not be, or was not and had to be, from when it was seen to when it was seen last."""

    hop: Hop
    missing: bool
    begun: float
    ended: float


class Witness:
    """One thread for all; `findings`, `spells` and `looks` are read once it has ended."""

    def __init__(self, place: Place, *, on_finding: Callable[[str], None] = lambda _: None) -> None:
        """`on_finding` is called on the witness's thread as each finding is made: a soak may not live to its end."""
        self._place = place
        self._on_finding = on_finding
        self._expectation = place.expectation
        self._names: dict[str, str] = {}
        self.findings: list[str] = []
        self.spells: list[Spell] = []
        self.looks = 0
        self.events: Counter[str] = Counter()
        self._open: dict[Hop, Spell] = {}
        self._sessions: dict[tuple[str, str], float | None] = {}
        self._running = ExitStack()
        self._monitors: dict[str, RouteMonitor] = {}
        self._read: Counter[str] = Counter()
        self._sent_to: dict[tuple[str, str], frozenset[str]] = {}
        """Where each router sends what is for an address, by what its kernel has reported."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bgp-witness", daemon=True)

    def __enter__(self) -> Self:
        for router, host in self._place.routers.hosts.items():
            self._monitors[router] = self._running.enter_context(RouteMonitor(host))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._running.close()
        self.spells += self._open.values()

    def hops(self, router: str) -> set[Hop]:
        """Return what a router's kernel has of the soak's addresses."""
        host = self._place.routers.hosts[router]
        found = set()
        for family in ("-4", "-6"):
            for route in host.ip_json(family, "route", "show"):
                address = str(route["dst"]).partition("/")[0]
                if not address.startswith(_ADDRESSES):
                    continue
                for hop in route.get("nexthops") or [route]:
                    gateway = str(hop.get("gateway") or hop.get("via", {}).get("host", ""))
                    found.add(Hop(router, self._node(gateway), address))
        return found

    def _run(self) -> None:
        try:
            while not self._stopping.wait(_LOOK_SECONDS):
                for router in self._place.routers.hosts:
                    self._look(router)
                    self._read_events(router)
                self.look_at_sessions()
                self.looks += 1
        except Exception as error:
            self.findings.append(f"the witness failed: {error!r}")

    def _look(self, router: str) -> None:
        at = time.monotonic()
        seen = self.hops(router)
        # What became due while the tables were read is looked at the next time.
        wrong = self._expectation.wrong(router, seen, at)
        for hop in wrong:
            spell = self._open.get(hop)
            begun = spell.begun if spell else at
            self._open[hop] = Spell(hop, hop not in seen, begun, at)
        for hop in [hop for hop in self._open if hop.router == router and hop not in wrong]:
            self.spells.append(self._open.pop(hop))

    def _read_events(self, router: str) -> None:
        changes = self._monitors[router].changes[self._read[router] :]
        self._read[router] += len(changes)
        self.look_at_changes(router, changes)

    def look_at_changes(self, router: str, changes: Iterable[RouteChange]) -> None:
        """Find changes of where a router sends what is for an address, though nothing has happened that may do so.

        A route that is entered again as it is, is none: routers do so where only its communities become others, and
        Linux says so of IPv6.
        """
        for change in changes:
            address = change.prefix.partition("/")[0]
            if not address.startswith(_ADDRESSES):
                continue
            self.events[router] += 1
            before = self._sent_to.get((router, address))
            after = change.hops if change.added else (before or frozenset()) - change.hops
            self._sent_to[router, address] = after
            if before != after and not self._expectation.may_move(router, address, change.at):
                what = "came or changed" if change.added else "went"
                story = self._expectation.story(router, address, change.at)
                hops = f"from {_names(before)} to {_names(after)}"
                self._find(change.at, f"the route to {address} {what} at {router} without a reason, {hops} ({story})")

    def look_at_sessions(self) -> None:
        """Find sessions that have ended since the last look, though nothing has happened to them."""
        at = time.monotonic()
        for key, life in self._lives().items():
            before = self._sessions.get(key)
            self._sessions[key] = life
            if self._expectation.may_reset(*key, at):
                continue
            router, node = key
            if life is None and before is not None:
                self._find(at, f"the session of {router} with {node} ended without a reason")
            elif life is not None and before is not None and abs(life - before) > _SAME_LIFE_SECONDS:
                self._find(at, f"the session of {router} with {node} was reset without a reason")

    def _lives(self) -> dict[tuple[str, str], float | None]:
        """What tells each session's present life from another, None where it is down.

        Of a router that does not answer, being restarted or short of CPU, nothing is known: it is asked again.
        """
        found: dict[tuple[str, str], float | None] = {}
        for router, ask in ((BIRD, self._lives_at_bird), (FRR, self._lives_at_frr)):
            try:
                up = ask()
            except (OSError, ValueError, KeyError):
                continue
            found |= {(router, node): up.get(node) for node in self._place.nodes}
        return found

    def _lives_at_bird(self) -> dict[str, float]:
        """Since when; BIRD works it out anew each time, and is a millisecond off."""
        answer = self._place.routers.bird.ask("show protocols")
        return {
            self._place.nodes[int(number) - 1]: 3600 * int(hours) + 60 * int(minutes) + float(seconds)
            for number, hours, minutes, seconds in BIRD_SESSION.findall(answer)
        }

    def _lives_at_frr(self) -> dict[str, float]:
        """How often each has been established."""
        peers = json.loads(self._place.routers.ask_frr("show bgp ipv4 unicast summary json"))["peers"]
        found = {}
        for node in self._place.nodes:
            peer = peers[self._place.lab.node(node).addresses[0]]
            if peer["state"] == "Established":
                found[node] = float(peer["connectionsEstablished"])
        return found

    def _find(self, at: float, what: str) -> None:
        self.findings.append(f"{clock(at)} {what}")
        self._on_finding(self.findings[-1])

    def _node(self, gateway: str) -> str:
        if gateway not in self._names:
            for name, node in self._place.lab.nodes.items():
                for address in (*node.addresses, *_link_local(node.host)):
                    self._names[address] = name
        return self._names.get(gateway, gateway)


def _names(hops: frozenset[str] | None) -> str:
    return "what was not seen" if hops is None else " and ".join(sorted(hops)) or "nowhere"


def clock(instant: float) -> str:
    """Return the time of day, which the logs carry, at an instant of CLOCK_MONOTONIC."""
    seconds = instant + time.time() - time.monotonic()
    return time.strftime("%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}"


def _link_local(host: Host) -> list[str]:
    interfaces = host.ip_json("-6", "address", "show", "scope", "link")
    found = [each.get("local") for interface in interfaces for each in interface.get("addr_info", ())]
    # Interfaces without one are listed as empty.
    return [str(address) for address in found if address]
