"""A node that is cut off: until its routers send nothing there any more, and until a client's last request fails."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from tests.bench.bgp_site import ADDRESSES, ROUTERS, BgpSite, bgp_site
from tests.bench.figures import Figure
from tests.lab.outage import Report
from tests.lab.route_monitor import RouteMonitor
from tests.lab.routers import BIRD, FRR, Routers

SECTION = "BGP: a node cut off, 200 requests a second behind two routers"
_BFD = {300: 1000.0, 50: 300.0}
"""Milliseconds between packets, three of which have to be missing, and how long it may take."""

_LEAST_RUNS = 5
_FAILING_SECONDS = 2.0
_SECONDS = 60.0


def measure(runs: int) -> Iterator[Figure]:
    """Yield figures with BFD; `bgp_hold.py` has those without."""
    with bgp_site() as lab, Routers(lab, bfd=True) as routers:
        site = BgpSite(lab, routers)
        for milliseconds, target in _BFD.items():
            site.set_bfd(milliseconds)
            yield from _cuts(site, f"BFD {milliseconds} ms x 3", target, max(runs, _LEAST_RUNS))


def _cuts(site: BgpSite, how: str, target: float, runs: int) -> Iterator[Figure]:
    noticed: dict[str, list[float]] = {name: [] for name in ROUTERS}
    failing, gaps, failed, requests = [], [], 0, 0
    prefix = f"{ADDRESSES[0]}/32"
    hosts = site.routers.hosts
    for _ in range(runs):
        with RouteMonitor(hosts[BIRD]) as at_bird, RouteMonitor(hosts[FRR]) as at_frr, site.outage() as meter:
            time.sleep(1.0)
            cut = site.leaver.cut()
            for name, monitor in (("BIRD", at_bird), ("FRR", at_frr)):
                noticed[name].append(1000 * (monitor.wait_for_route(prefix, cut, _SECONDS).at - cut))
            time.sleep(_FAILING_SECONDS)
        site.leaver.heal()
        site.wait_routes(without_leaver=False)
        failing.append(_failing_milliseconds(meter.report, cut))
        gaps.append(meter.report.longest_gap_ms)
        failed += len(meter.report.failures)
        requests += meter.report.requests
    for name, samples in noticed.items():
        yield _figure(f"{how}, {name} sends nothing there any more", samples, target, f"{runs} runs")
    remark = f"{runs} runs, {failed} of {requests:,} requests failed"
    yield _figure(f"{how}, last request that fails began", failing, target, remark)
    yield _figure(f"{how}, client's longest gap without an answer", gaps, target, "over all nodes")


def _failing_milliseconds(report: Report, cut: float) -> float:
    return 1000 * max((failure.started - cut for failure in report.failures), default=0.0)


def _figure(what: str, samples: list[float], target: float, remark: str) -> Figure:
    return Figure(
        section=SECTION,
        what=what,
        value=max(samples),
        unit="ms",
        baseline="",
        baseline_value=0.0,
        target=target,
        remark=f"longest; median {statistics.median(samples):.0f} ms; {remark}",
        samples=tuple(samples),
    )
