"""Requests lost, at 200 a second, while a node leaves as planned for every reason, and while speakers restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from allocator.objects.names import DEFAULT_NAMESPACE
from tests.bench.bgp_site import ROUTERS, BgpSite, bgp_site
from tests.bench.figures import Figure
from tests.lab.planned_leaves import BY_SIGN, CORDONED, OF_FRR, PlannedLeave, leave_on_cordon
from tests.lab.route_monitor import RouteMonitor
from tests.lab.routers import Routers, lost
from tests.lab.workloads import DAEMON_SETS

SECTION = "BGP: requests lost at 200 a second, externalTrafficPolicy Cluster"
_ROLLOUT_SECONDS = 180.0
_UNDISTURBED_SECONDS = 2.0


def measure(runs: int) -> Iterator[Figure]:
    """Yield one figure for each way to leave and for each way in which speakers go."""
    with bgp_site() as lab, Routers(lab) as routers:
        site = BgpSite(lab, routers)
        site.wait_routes(without_leaver=False)
        for name, leave in {**BY_SIGN, **OF_FRR}.items():
            yield _leaves(site, name, leave, runs)
        yield _quiet(site, "all speakers killed", lambda: _kill_speakers(site), runs)
        yield _quiet(site, "rollout of all speakers", lambda: _roll_out_speakers(site), runs)
        leave_on_cordon(lab)
        for name, leave in CORDONED.items():
            yield _leaves(site, name, leave, runs)


def _leaves(site: BgpSite, name: str, leave: PlannedLeave, runs: int) -> Figure:
    failed, moved, requests, seconds = [], 0, 0, []
    for _ in range(runs):
        with ExitStack() as watching:
            monitors = [watching.enter_context(RouteMonitor(site.routers.hosts[each])) for each in ROUTERS.values()]
            with site.outage() as meter:
                leave.begin(site.lab, site.leaver)
                if name != "admitlb bgp roll":
                    site.wait_routes(without_leaver=True)
                leave.end(site.lab, site.leaver)
                site.wait_routes(without_leaver=False)
        failed.append(float(len(lost(meter.report, monitors))))
        moved += len(meter.report.failures) - int(failed[-1])
        requests += meter.report.requests
        seconds.append(meter.report.ended - meter.report.begun)
    remark = f"of {requests:,} in {runs} runs, out and back in {max(seconds):.0f} s at most"
    if moved:
        remark += f"; {moved} more were reset as a router hashed anew"
    return _figure(f"node leaves by {name}", failed, remark)


def _quiet(site: BgpSite, name: str, work: Callable[[], None], runs: int) -> Figure:
    failed, requests, events = [], 0, 0
    for _ in range(runs):
        with ExitStack() as watching:
            monitors = [watching.enter_context(RouteMonitor(site.routers.hosts[each])) for each in ROUTERS.values()]
            with site.outage() as meter:
                work()
                time.sleep(_UNDISTURBED_SECONDS)
            events += sum(len(monitor.changes) for monitor in monitors)
        failed.append(float(len(meter.report.failures)))
        requests += meter.report.requests
    return _figure(name, failed, f"of {requests:,} in {runs} runs, {events} route events")


def _kill_speakers(site: BgpSite) -> None:
    for pod in site.lab.pods(DEFAULT_NAMESPACE, "app=metallb,component=speaker"):
        site.lab.kill_component(pod["metadata"]["name"], "speaker")
    # Until the nodes have said that they are gone.
    time.sleep(_UNDISTURBED_SECONDS)
    site.lab.wait_rolled_out(DAEMON_SETS, "speaker", timeout_seconds=_ROLLOUT_SECONDS)


def _roll_out_speakers(site: BgpSite) -> None:
    site.lab.kubectl("rollout", "restart", "daemonset/speaker", "-n", DEFAULT_NAMESPACE)
    site.lab.wait_rolled_out(DAEMON_SETS, "speaker", timeout_seconds=_ROLLOUT_SECONDS)


def _figure(what: str, failed: list[float], remark: str) -> Figure:
    return Figure(
        section=SECTION,
        what=what,
        value=sum(failed),
        unit="requests",
        baseline="",
        baseline_value=0.0,
        target=0.0,
        remark=remark,
        samples=tuple(failed),
    )
