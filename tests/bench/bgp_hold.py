"""A node cut off without BFD, its peers with a hold time of 9 s, both routers with their vendors' defaults.

What is measured is our rendering against MetalLB's: FRR says unasked that it knows graceful restart, and a router
that believes it keeps a dead node's routes for the restart time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from allocator.bgp.desired import Difference
from allocator.bgp.route_class import Attributes, Contribution, merged, prefix_of
from allocator.core.addresses import Address
from speaker.bgp.driver import Driver
from tests.bench.bgp_beds import beds
from tests.bench.figures import Figure
from tests.bench.metallb_frr import MetalLbFrr, MetalLbSession, find_reload, frr_conf
from tests.frr.driver.bed import BIRD_ADDRESS, NODE_ASN, ROUTER_ADDRESS, ROUTER_ASN, Bed, bird_peer, router_peer
from tests.frr.driver.routes import wait_for_routes
from tests.lab.frr_programs import BIRD, BIRD_SUITES, SUITES
from tests.lab.route_monitor import RouteMonitor

SECTION = "BGP: a node cut off without BFD, hold time 9 s, routers with their defaults"
_VIP = "198.51.100.1"
_HOLD_SECONDS = 9
_TARGET_MILLISECONDS = 10_000.0
_SECONDS = 200.0

Samples = dict[str, list[float]]


def measure(runs: int) -> Iterator[Figure]:
    """Yield the figures of each release of FRR and BIRD that set-up could fetch; MetalLB's way once, with the newest.

    BIRD before 2.14 may act up to 3 s after its hold timer: what a timer begins waits for whatever wakes BIRD next
    (sysdep/unix/io.c io_loop; its commit 6a242b3ec), and here it has one session alone.
    """
    newest = [*SUITES][-1]
    for bird_release in BIRD_SUITES:
        for release, site, folder in beds(bird_release):
            if bird_release != BIRD and release != newest:
                continue
            ours = _ours(site, runs)
            site.frr.restart()
            compared = bird_release == BIRD and release == newest
            theirs = _metallb(release, site, folder) if compared else {}
            yield from _figures(release, bird_release, ours, theirs)


def _figures(release: str, bird_release: str, ours: Samples, theirs: Samples) -> Iterator[Figure]:
    for router, samples in ours.items():
        other = theirs.get(router, [0.0])[0]
        name = f"BIRD {bird_release}" if router == "BIRD" else router
        yield Figure(
            section=f"{SECTION}, FRR {release}",
            what=f"until {name} has no route there",
            value=max(samples),
            unit="ms",
            baseline=f"MetalLB's form of the configuration, one run, {other / max(samples):.0f} times"
            if other
            else "",
            baseline_value=other,
            target=_TARGET_MILLISECONDS,
            remark=f"longest of {len(samples)}; median {statistics.median(samples):.0f} ms",
            samples=tuple(samples),
        )


def _ours(site: Bed, runs: int) -> Samples:
    taken: Samples = {"BIRD": [], "FRR": []}
    driver = Driver(site.frr.sockets, report=lambda _: None)
    driver.start()
    try:
        timers = {"hold_seconds": _HOLD_SECONDS, "keepalive_seconds": _HOLD_SECONDS // 3}
        peers = (bird_peer(**timers), router_peer(**timers))
        prefixes = {prefix_of(Address.parse(_VIP), 32): merged([Contribution(Attributes())])}
        driver.update(Difference({peer.name: peer for peer in peers}, {}, prefixes))
        driver.set_complete()
        for _ in range(runs):
            _cut(site, taken)
    finally:
        driver.stop()
    return taken


def _metallb(release: str, site: Bed, folder: Path) -> Samples:
    root = find_reload(release)
    if root is None:
        return {}
    sessions = [
        MetalLbSession(
            address=address,
            own_asn=NODE_ASN,
            peer_asn=ROUTER_ASN,
            router_id="10.0.1.1",
            hold_seconds=_HOLD_SECONDS,
        )
        for address in (BIRD_ADDRESS, ROUTER_ADDRESS)
    ]
    MetalLbFrr(root, site.frr, netns=site.node.name, folder=folder / "metallb").reload(
        frr_conf(sessions, [f"{_VIP}/32"])
    )
    taken: Samples = {"BIRD": [], "FRR": []}
    _cut(site, taken)
    return taken


def _cut(site: Bed, taken: Samples) -> None:
    wait_for_routes(site, _VIP, seconds=_SECONDS)
    site.wait_for_kernel_routes(1)
    links = [*site.node.links.values()]
    with RouteMonitor(site.bird_host) as at_bird, RouteMonitor(site.router_host) as at_router:
        cut = time.monotonic()
        for link in links:
            link.down()
        try:
            for router, monitor in (("BIRD", at_bird), ("FRR", at_router)):
                taken[router].append(1000 * (monitor.wait_for_route(f"{_VIP}/32", cut, _SECONDS).at - cut))
        finally:
            for link in links:
                link.up()
