"""From a change handed to the driver to routes at BIRD and at FRR, with 10,000 prefixes announced."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from allocator.bgp.desired import Difference
from allocator.bgp.route_class import Attributes, Contribution, Prefix, RouteClass, merged, prefix_of
from allocator.core.addresses import Address, Family
from speaker.bgp.driver import Driver
from speaker.bgp.events import Applied, Event
from tests.bench.figures import Figure
from tests.frr.driver.bed import Bed, bed, bird_peer, router_peer
from tests.lab.frr_programs import SUITES, find_bird, find_frr
from tests.lab.route_monitor import RouteMonitor
from tests.lab.waiting import wait_until

SECTION = "BGP: changes at routers"
_COUNT = 10_000
_SECONDS = 60.0
_DEBOUNCE_MILLISECONDS = 3000.0
_METALLB = "MetalLB's debounce alone; its reload comes on top"
_PLAIN = merged([Contribution(Attributes())])
_MARKED = merged([Contribution(Attributes(communities=frozenset({(64500, 7)})))])
_FIRST = Address.parse("10.128.0.0").value


def measure() -> Iterator[Figure]:
    """Yield the figures of each release of FRR that set-up could fetch."""
    bird = find_bird()
    for number, release in enumerate(SUITES):
        root = find_frr(release)
        if root is None or bird is None:
            continue
        with ExitStack() as running:
            logs = Path(running.enter_context(tempfile.TemporaryDirectory()))
            site = running.enter_context(bed(release, root, bird, logs, number))
            yield from _Measuring(site, release).all()


class _Measuring:
    """One bed with a driver on it."""

    def __init__(self, site: Bed, release: str) -> None:
        self._site = site
        self._release = release
        self._events: list[Event] = []
        self._driver = Driver(site.frr.sockets, report=self._events.append)

    def all(self) -> Iterator[Figure]:
        self._driver.start()
        try:
            peers = (bird_peer(graceful_restart=True), router_peer(graceful_restart=True))
            self._driver.update(Difference({peer.name: peer for peer in peers}, {}, {}))
            self._driver.set_complete()
            self._site.bird.wait_established("node", _SECONDS)
            self._wait_for_routes(0)
            yield self._all_prefixes()
            self._site.wait_for_kernel_routes(_COUNT)
            yield from self._one_more(runs=40)
            yield self._other_attributes()
            yield self._killed()
            yield self._memory()
        finally:
            self._driver.stop()

    def _figure(
        self, what: str, value: float, target: float, samples: list[float] | None = None, remark: str = ""
    ) -> Figure:
        return Figure(
            section=f"{SECTION}, FRR {self._release}",
            what=what,
            value=value,
            unit="ms",
            baseline=_METALLB,
            baseline_value=_DEBOUNCE_MILLISECONDS,
            target=target,
            remark=remark,
            samples=tuple(samples or ()),
        )

    def _all_prefixes(self) -> Figure:
        started = time.monotonic()
        self._driver.update(Difference(prefixes=_many(_PLAIN)))
        self._wait_for_routes(_COUNT)
        taken = 1000 * (time.monotonic() - started)
        return self._figure(f"{_COUNT:,} prefixes at both routers", taken, 1500.0, remark="one run")

    def _one_more(self, runs: int) -> Iterator[Figure]:
        taken: dict[str, list[float]] = {"BIRD": [], "FRR": []}
        chosen = random.Random(1)
        with RouteMonitor(self._site.bird_host) as at_bird, RouteMonitor(self._site.router_host) as at_router:
            monitors = {"BIRD": at_bird, "FRR": at_router}
            for _ in range(runs):
                extra = prefix_of(Address(Family.IPV4, _FIRST + 1 + 2 * chosen.randrange(_COUNT)), 32)
                for route_class in (_PLAIN, None):
                    started = time.monotonic()
                    self._driver.update(Difference(prefixes={extra: route_class}))
                    for router, monitor in monitors.items():
                        changes = monitor.wait_since(started, _SECONDS)
                        assert {change.prefix for change in changes} == {str(extra)}, changes
                        taken[router].append(1000 * (changes[0].at - started))
        for router, samples in taken.items():
            ordered = sorted(samples)
            remark = f"{runs} prefixes added and removed; 95th percentile {ordered[int(0.95 * len(ordered))]:.0f} ms"
            what = f"one prefix more or less than {_COUNT:,}, at {router}, median"
            yield self._figure(what, statistics.median(ordered), 100.0, samples, remark)

    def _other_attributes(self) -> Figure:
        withdrawn = self._site.bird.withdrawals_received("node")
        self._site.wait_for_kernel_routes(_COUNT)
        started = time.monotonic()
        self._driver.update(Difference(prefixes=_many(_MARKED)))

        def all_marked() -> bool:
            answer = self._site.bird.ask("show route table master4 where (64500,7) ~ bgp_community count")
            return f"{_COUNT} of" in answer

        wait_until(all_marked, _SECONDS, "all routes have the community")
        taken = 1000 * (time.monotonic() - started)
        assert self._site.bird.withdrawals_received("node") == withdrawn
        return self._figure(
            f"a community added to {_COUNT:,} prefixes, at BIRD", taken, 1000.0, remark="one run, none withdrawn"
        )

    def _killed(self) -> Figure:
        self._site.wait_for_kernel_routes(_COUNT)
        self._events.clear()
        with RouteMonitor(self._site.bird_host) as monitor:
            started = time.monotonic()
            self._site.frr.kill("bgpd")
            self._site.frr.start("bgpd")
            wait_until(lambda: any(isinstance(each, Applied) for each in self._events), _SECONDS, "all is sent again")
            replayed = 1000 * (time.monotonic() - started)
            self._site.bird.wait_established("node", _SECONDS)
            self._wait_for_routes(_COUNT)
            taken = 1000 * (time.monotonic() - started)
            touched = len(monitor.changes)
        remark = f"one run; sent again after {replayed:.0f} ms; {touched} route events at BIRD"
        return self._figure(f"bgpd killed with {_COUNT:,} prefixes: sessions back", taken, 3000.0, remark=remark)

    def _memory(self) -> Figure:
        kibibytes = 0
        for process in self._site.frr.processes.values():
            status = Path(f"/proc/{process.pid}/status").read_text()
            kibibytes += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return Figure(
            section=f"{SECTION}, FRR {self._release}",
            what=f"memory of the node's daemons with {_COUNT:,} prefixes",
            value=kibibytes / 1024,
            unit="MiB",
            baseline="10.3 with MetalLB's prefix lists",
            baseline_value=200.0,
            target=80.0,
        )

    def _wait_for_routes(self, count: int) -> None:
        def both_have() -> bool:
            answer = self._site.router_show("show bgp ipv4 unicast summary json")
            peer = answer["peers"]["10.0.2.1"]
            at_router = peer["state"] == "Established" and peer["pfxRcd"] == count
            return at_router and self._site.bird.route_count() == count

        wait_until(both_have, _SECONDS, f"both routers have {count} routes")


def _many(route_class: RouteClass) -> dict[Prefix, RouteClass | None]:
    return {prefix_of(Address(Family.IPV4, _FIRST + 2 * number), 32): route_class for number in range(_COUNT)}
