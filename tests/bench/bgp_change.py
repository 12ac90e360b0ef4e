"""From a change in the API to a route at BIRD and at FRR, beside MetalLB's way on the same daemons."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from allocator.kube.client import Cluster
from allocator.kube.resource import SERVICES
from tests.bench.bgp_beds import beds
from tests.bench.bgp_updates import milliseconds_to_update, updates
from tests.bench.figures import Figure, quantile
from tests.bench.metallb_frr import MetalLbFrr, MetalLbSession, find_reload, frr_conf
from tests.frr.driver.bed import BIRD_ADDRESS, NODE_ASN, ROUTER_ADDRESS, ROUTER_ASN, Bed
from tests.frr.driver.routes import wait_for_routes
from tests.frr.driver.speaker_process import SERVICE, VIP, Speakers, announce, bare_cluster, put_endpoints
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.route_monitor import RouteMonitor

SECTION = "BGP: a change in the API at the routers"
_SECONDS = 60.0
_CHANGES = 60
_RELOADS = 6
_TARGETS = {0.5: 120.0, 0.95: 250.0}
_OTHERS = tuple(f"198.51.100.{number}/32" for number in range(100, 120))
"""What MetalLB's configuration has besides, so that its lists are neither empty nor long."""

Samples = dict[str, list[float]]
"""By router, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Timed:
    """What changes took until the routers' kernels had them, and of that until the UPDATE was at the router."""

    routes: Samples
    updates: Samples


def measure(runs: int) -> Iterator[Figure]:
    """Yield the figures of each release of FRR that set-up could fetch; `runs` of MetalLB's way, at least."""
    for release, site, folder in beds():
        theirs = _metallb(release, site, folder, max(runs, _RELOADS)).routes
        site.frr.restart()
        with (
            ControlPlane(find(), folder / "control-plane") as control_plane,
            _speaking(control_plane, site, folder) as ours,
        ):
            for what, change in _KINDS.items():
                yield from _figures(release, what, _timed(site, _CHANGES, partial(change, ours)), theirs)


@contextmanager
def _speaking(control_plane: ControlPlane, site: Bed, folder: Path) -> Iterator[Cluster]:
    bare_cluster(control_plane)
    cluster = control_plane.cluster()
    announce(cluster)
    speakers = Speakers(control_plane, site, folder)
    speakers.start()
    try:
        wait_for_routes(site, VIP, seconds=_SECONDS)
        site.wait_for_kernel_routes(1)
        yield cluster
    finally:
        for process in speakers.started:
            process.sigkill()


def _policy(cluster: Cluster, announced: bool) -> None:
    """No endpoint is on the node, so that the policy decides whether it announces."""
    body = {"spec": {"externalTrafficPolicy": "Cluster" if announced else "Local"}}
    cluster.patch(SERVICES, SERVICE, body, "default")


_KINDS: Mapping[str, Callable[[Cluster, bool], None]] = {
    "EndpointSlice": lambda cluster, announced: put_endpoints(cluster, ready=announced),
    "Service": _policy,
}


def _metallb(release: str, site: Bed, folder: Path, runs: int) -> Timed:
    root = find_reload(release)
    if root is None:
        return Timed({}, {})
    sessions = [
        MetalLbSession(address=address, own_asn=NODE_ASN, peer_asn=ROUTER_ASN, router_id="10.0.1.1")
        for address in (BIRD_ADDRESS, ROUTER_ADDRESS)
    ]
    metallb = MetalLbFrr(root, site.frr, netns=site.node.name, folder=folder / "metallb")
    metallb.reload(frr_conf(sessions, (*_OTHERS, f"{VIP}/32")))
    wait_for_routes(site, VIP, *(each.partition("/")[0] for each in _OTHERS), seconds=_SECONDS)
    site.wait_for_kernel_routes(1 + len(_OTHERS))

    def change(announced: bool) -> None:
        metallb.change(frr_conf(sessions, (*_OTHERS, f"{VIP}/32") if announced else _OTHERS))

    return _timed(site, runs, change)


def _timed(site: Bed, changes: int, change: Callable[[bool], None]) -> Timed:
    """Withdraw and announce the address in turn, and time the first event of its route at each router."""
    hosts = {"BIRD": site.bird_host, "FRR": site.router_host}
    taken = Timed({router: [] for router in hosts}, {router: [] for router in hosts})
    with ExitStack() as running:
        monitors = {router: running.enter_context(RouteMonitor(host)) for router, host in hosts.items()}
        captures = {router: running.enter_context(updates(host)) for router, host in hosts.items()}
        for announced in itertools.islice(itertools.cycle((False, True)), changes):
            started = time.monotonic()
            change(announced)
            for router, monitor in monitors.items():
                at = monitor.wait_for_route(f"{VIP}/32", started, _SECONDS).at
                taken.routes[router].append(1000 * (at - started))
                taken.updates[router].append(milliseconds_to_update(captures[router], started))
    return taken


def _figures(release: str, what: str, ours: Timed, theirs: Samples) -> Iterator[Figure]:
    for router, samples in ours.routes.items():
        baseline = theirs.get(router, [])
        for share, target in _TARGETS.items():
            value = quantile(samples, share)
            other = statistics.median(baseline) if baseline else 0.0
            which = f"MetalLB's debounce and frr-reload.py, median of {len(baseline)}, {other / value:.0f} times"
            yield Figure(
                section=f"{SECTION}, FRR {release}",
                what=f"{what} changed, at {router}, {share:.0%}",
                value=value,
                unit="ms",
                baseline=which if baseline else "",
                baseline_value=other,
                target=target,
                remark=f"{len(samples)} changes, longest {max(samples):.0f} ms; "
                f"the UPDATE was there after {quantile(ours.updates[router], share):.0f} ms",
                samples=tuple(samples),
            )
