"""From a change handed to the driver to routes at BIRD and at FRR, with 10,000 prefixes announced, of each family.

Beside it, for IPv4, MetalLB's way on the same daemons: `bgp_reload.py`.
"""

from __future__ import annotations

import random
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from allocator.bgp.desired import Difference
from allocator.bgp.inputs import Peer
from allocator.bgp.route_class import Attributes, Contribution, Prefix, RouteClass, merged, prefix_of
from allocator.core.addresses import Address, Family
from speaker.bgp.driver import Driver
from speaker.bgp.events import Applied, Event
from tests.bench import bgp_reload
from tests.bench.bgp_beds import beds
from tests.bench.bgp_reload import MANY, Reloads
from tests.bench.bgp_updates import milliseconds_to_all_routes, milliseconds_to_update, sessions, updates
from tests.bench.figures import Figure, quantile
from tests.frr.driver.bed import Bed, bird_peer, router_peer
from tests.lab.route_monitor import RouteMonitor
from tests.lab.waiting import wait_until

SECTION = "BGP: changes at routers"
_SECONDS = 60.0
_REST_SECONDS = 2.0
_LEAST_RUNS = 40
_PLAIN = merged([Contribution(Attributes())])
_MARKED = merged([Contribution(Attributes(communities=frozenset({(64500, 7)})))])
_DISPLAYED = re.compile(r"Displayed\s+(\d+) routes")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is announced over which sessions: a family's prefixes over sessions of that family."""

    family: Family
    first: str
    bird: Peer
    router: Peer
    node_at_router: str
    bird_session: str
    bird_table: str

    def prefix(self, number: int) -> Prefix:
        """Every second address, so that others sort between them."""
        bits = 32 if self.family is Family.IPV4 else 128
        return prefix_of(Address(self.family, Address.parse(self.first).value + number), bits)

    def many(self, route_class: RouteClass) -> dict[Prefix, RouteClass | None]:
        return {self.prefix(2 * number): route_class for number in range(MANY)}

    @property
    def word(self) -> str:
        return "ipv4" if self.family is Family.IPV4 else "ipv6"


def _kinds() -> tuple[_Kind, _Kind]:
    return (
        _Kind(
            Family.IPV4,
            "10.128.0.0",
            bird_peer(graceful_restart=True),
            router_peer(graceful_restart=True),
            "10.0.2.1",
            "node",
            "master4",
        ),
        _Kind(
            Family.IPV6,
            "2001:db8:f::",
            replace(bird_peer(graceful_restart=True), address=Address.parse("2001:db8:a::2")),
            replace(router_peer(graceful_restart=True), address=Address.parse("2001:db8:b::2")),
            "2001:db8:b::1",
            "node6",
            "master6",
        ),
    )


def measure(runs: int) -> Iterator[Figure]:
    """Yield the figures of each release of FRR that set-up could fetch."""
    for release, site, folder in beds():
        theirs = bgp_reload.measure(release, site, folder / "metallb")
        for kind in _kinds():
            site.frr.restart()
            yield from _Measuring(site, release, kind, theirs).all(runs)


class _Measuring:
    """One bed with a driver on it, whose FRR knows nothing yet."""

    def __init__(self, site: Bed, release: str, kind: _Kind, theirs: Reloads) -> None:
        self._site = site
        self._release = release
        self._kind = kind
        self._theirs = theirs
        self._events: list[Event] = []
        self._driver = Driver(site.frr.sockets, report=self._events.append)

    def all(self, runs: int) -> Iterator[Figure]:
        self._driver.start()
        try:
            peers = (self._kind.bird, self._kind.router)
            self._driver.update(Difference({peer.name: peer for peer in peers}, {}, {}))
            self._driver.set_complete()
            self._site.bird.wait_established(self._kind.bird_session, _SECONDS)
            self._wait_for_routes(0)
            yield self._all_prefixes(runs)
            yield from self._one_more(max(runs, _LEAST_RUNS))
            yield from self._other_attributes(runs)
            yield self._killed(runs)
            yield self._memory()
        finally:
            self._driver.stop()

    def _figure(
        self,
        what: str,
        samples: list[float],
        target: float | None,
        *,
        baseline: tuple[str, float] = ("", 0.0),
        remark: str = "",
    ) -> Figure:
        value = statistics.median(samples)
        which, other = baseline
        ratio = f", {other / value:.1f} times" if which else ""
        told = f"median of {len(samples)}, longest {max(samples):.0f} ms"
        return Figure(
            section=f"{SECTION}, FRR {self._release}, {self._kind.word}",
            what=what,
            value=value,
            unit="ms",
            baseline=f"{which}{ratio}",
            baseline_value=other,
            target=target,
            remark=f"{told}; {remark}" if remark else told,
            samples=tuple(samples),
        )

    def _all_prefixes(self, runs: int) -> Figure:
        taken = []
        for number in range(runs):
            if number:
                self._driver.update(Difference(prefixes=dict.fromkeys(self._kind.many(_PLAIN))))
                self._wait_for_routes(0)
            self._site.wait_for_kernel_routes(0, self._kind.family)
            started = time.monotonic()
            self._driver.update(Difference(prefixes=self._kind.many(_PLAIN)))
            self._wait_for_routes(MANY)
            taken.append(1000 * (time.monotonic() - started))
        self._site.wait_for_kernel_routes(MANY, self._kind.family)
        return self._figure(f"{MANY:,} prefixes, both routers have all", taken, 1500.0, baseline=self._theirs.fill)

    def _one_more(self, runs: int) -> Iterator[Figure]:
        taken: dict[str, list[float]] = {"BIRD": [], "FRR": []}
        chosen = random.Random(1)
        received = self._updates_at_rest()
        sent: dict[str, list[float]] = {"BIRD": [], "FRR": []}
        with ExitStack() as running:
            hosts = {"BIRD": self._site.bird_host, "FRR": self._site.router_host}
            monitors = {router: running.enter_context(RouteMonitor(host)) for router, host in hosts.items()}
            captures = {router: running.enter_context(updates(host)) for router, host in hosts.items()}
            for _ in range(runs):
                extra = self._kind.prefix(1 + 2 * chosen.randrange(MANY))
                for route_class in (_PLAIN, None):
                    started = time.monotonic()
                    self._driver.update(Difference(prefixes={extra: route_class}))
                    for router, monitor in monitors.items():
                        changes = monitor.wait_since(started, _SECONDS)
                        assert {change.prefix for change in changes} == {str(extra)}, changes
                        taken[router].append(1000 * (changes[0].at - started))
                        sent[router].append(milliseconds_to_update(captures[router], started))
        sent_in_all = self._site.bird.updates_received(self._kind.bird_session) - received
        assert sent_in_all == runs, f"{sent_in_all} routes were sent for {runs} that were new"
        for router, samples in taken.items():
            yield self._figure(
                f"one prefix more or less than {MANY:,}, at {router}",
                samples,
                100.0,
                baseline=self._theirs.one_more,
                remark=f"any sort position; 95 %: {quantile(samples, 0.95):.0f} ms; the UPDATE was there after "
                f"{statistics.median(sent[router]):.0f} ms; no other route touched or sent",
            )

    def _updates_at_rest(self) -> int:
        """Count the routes sent to BIRD once no more come: bgpd sends those of a new route-map twice, alike."""
        count, since = -1, time.monotonic()
        while time.monotonic() - since < _REST_SECONDS:
            if (now := self._site.bird.updates_received(self._kind.bird_session)) != count:
                count, since = now, time.monotonic()
            time.sleep(0.1)
        return count

    def _other_attributes(self, runs: int) -> Iterator[Figure]:
        taken: dict[str, list[float]] = {"BIRD": [], "FRR": []}
        withdrawn = self._site.bird.withdrawals_received(self._kind.bird_session)
        with RouteMonitor(self._site.bird_host) as at_bird, RouteMonitor(self._site.router_host) as at_router:
            for _ in range(runs):
                for route_class, count in ((_MARKED, MANY), (_PLAIN, 0)):
                    started = time.monotonic()
                    self._driver.update(Difference(prefixes=self._kind.many(route_class)))
                    for router, asked in (("BIRD", self._marked_at_bird), ("FRR", self._marked_at_router)):
                        wait_until(lambda a=asked, c=count: a() == c, _SECONDS, f"all at {router}")  # type: ignore[misc]
                        taken[router].append(1000 * (time.monotonic() - started))
            gone = [change for monitor in (at_bird, at_router) for change in monitor.changes if not change.added]
        assert self._site.bird.withdrawals_received(self._kind.bird_session) == withdrawn
        assert gone == []
        for router, samples in taken.items():
            yield self._figure(
                f"a community added to or taken from {MANY:,} prefixes, at {router}",
                samples,
                1000.0,
                baseline=self._theirs.attributes,
                remark="no route withdrawn" + ("; asked after BIRD had all" if router == "FRR" else ""),
            )

    def _killed(self, runs: int) -> Figure:
        """Both routers have their routes all the time, so that only End-of-RIB says when they were sent again."""
        taken, replayed, touched = [], [], 0
        hosts = (self._site.bird_host, self._site.router_host)
        for _ in range(runs):
            self._events.clear()
            with ExitStack() as running:
                monitors = [running.enter_context(RouteMonitor(host)) for host in hosts]
                captures = [running.enter_context(sessions(host)) for host in hosts]
                started = time.monotonic()
                self._site.frr.kill("bgpd")
                self._site.frr.start("bgpd")
                wait_until(
                    lambda: any(isinstance(each, Applied) for each in self._events), _SECONDS, "all is sent again"
                )
                replayed.append(1000 * (time.monotonic() - started))
                taken.append(max(milliseconds_to_all_routes(each, started) for each in captures))
                self._wait_for_routes(MANY)
                # What was not sent again goes with End-of-RIB.
                time.sleep(1.0)
                touched += sum(len(monitor.changes) for monitor in monitors)
        remark = f"graceful restart; sent again after {statistics.median(replayed):.0f} ms; {touched} route events"
        return self._figure(
            f"bgpd killed with {MANY:,} prefixes: sessions and all back", taken, 3000.0, remark=remark
        )

    def _memory(self) -> Figure:
        each = {name: _resident_mebibytes(process.pid) for name, process in self._site.frr.processes.items()}
        return Figure(
            section=f"{SECTION}, FRR {self._release}, {self._kind.word}",
            what=f"memory of the node's daemons with {MANY:,} prefixes",
            value=sum(each.values()),
            unit="MiB",
            baseline=f"with MetalLB's prefix lists, {self._theirs.prefixes:,} prefixes"
            if self._theirs.memory
            else "",
            baseline_value=self._theirs.memory,
            target=80.0,
            remark=", ".join(f"{name} {size:.0f}" for name, size in each.items()),
        )

    def _marked_at_bird(self) -> int:
        answer = self._site.bird.ask(
            f"show route table {self._kind.bird_table} where (64500,7) ~ bgp_community count"
        )
        return int(answer.split(" of ")[0].split()[-1].rpartition("-")[2])

    def _marked_at_router(self) -> int:
        answer = self._site.router_text(f"show bgp {self._kind.word} unicast community 64500:7")
        found = _DISPLAYED.search(answer)
        return int(found.group(1)) if found else 0

    def _wait_for_routes(self, count: int) -> None:
        def both_have() -> bool:
            answer = self._site.router_show(f"show bgp {self._kind.word} unicast summary json")
            peer = answer["peers"][self._kind.node_at_router]
            at_router = peer["state"] == "Established" and peer["pfxRcd"] == count
            return at_router and self._site.bird.route_count(self._kind.bird_table) == count

        wait_until(both_have, _SECONDS, f"both routers have {count} routes")


def _resident_mebibytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
