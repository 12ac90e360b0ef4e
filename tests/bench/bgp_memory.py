"""What BGP adds to a speaker's memory: 10,000 Services known to it, and then all of them announced by a real FRR.

`python -m tests.bench.bgp_memory SOCKETS` is the process that is measured; its last line is what it found, as JSON.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from subprocess import PIPE, run

from allocator.kube.reflector import Change
from allocator.kube.resource import ENDPOINT_SLICES_V1, NODES, SERVICES, Resource
from allocator.objects.names import BGP_ADVERTISEMENTS, BGP_PEERS, IP_ADDRESS_POOLS
from speaker.bgp.announcer import BgpAnnouncer
from speaker.bgp.service_follower import ServiceFollower
from speaker.bgp.settings import LISTED, BgpSettings
from speaker.cluster.state import View
from tests.bench.figures import Figure
from tests.bench.memory import resident_megabytes
from tests.frr.driver.bed import bed
from tests.frr.driver.speaking import NODE_NAME, ROUTERS, advertisement, peer
from tests.lab.frr_programs import SUITES, find_bird, find_frr
from tests.lab.waiting import wait_until
from tests.unit.speaker.objects import endpoint, endpoint_slice, node, pool, service

SECTION = "BGP: memory"
_SERVICES = 10_000
_SECONDS = 120.0
_TARGET_MEGABYTES = 20.0
_POOL = "10.128.0.0/16"


def measure(runs: int) -> Iterator[Figure]:
    """Yield the figure, with the newest FRR that set-up could fetch."""
    bird = find_bird()
    release = [*SUITES][-1]
    root = find_frr(release)
    if bird is None or root is None:
        return
    added, before = [], 0.0
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="admitlb-bench-")))
        site = running.enter_context(bed(release, root, bird, folder, 0))
        for _ in range(runs):
            site.frr.restart()
            command = [sys.executable, "-m", "tests.bench.bgp_memory", str(site.frr.sockets)]
            inside = ["nsenter", f"--net=/run/netns/{site.node.name}", *command]
            done = run(inside, stdout=PIPE, check=True, timeout=4 * _SECONDS)
            found = json.loads(done.stdout.splitlines()[-1])
            before = found["before"]
            added.append(found["announcing"] - before)
            assert site.bird.route_count() == _SERVICES
    yield Figure(
        section=SECTION,
        what=f"what a speaker with {_SERVICES:,} Services has more, all announced to two peers",
        value=max(added),
        unit="MB",
        baseline="the Services, endpoints and the code alone",
        baseline_value=before,
        target=_TARGET_MEGABYTES,
        remark=f"most of {runs} runs",
        samples=tuple(added),
    )


class _Speaker:
    """What a speaker knows of its cluster, without its threads and sockets."""

    def __init__(self) -> None:
        self._view = View()
        self._followed: set[tuple[str, str]] = set()
        for number in range(_SERVICES):
            address = str(ip_address("10.128.0.0") + number)
            name = f"service-{number}"
            self._see(SERVICES, json.dumps(service(address, name=name)))
            self._see(ENDPOINT_SLICES_V1, json.dumps(endpoint_slice(endpoint(NODE_NAME), of=name, name=f"{name}-1")))
        self._see(NODES, json.dumps(node(NODE_NAME, address="10.0.1.1")))
        self._see(IP_ADDRESS_POOLS, json.dumps(pool("public", addresses=[_POOL])))

    def follow(self, follower: ServiceFollower) -> None:
        """Have BGP know all of it."""
        follower.follow(self._view, self._followed)
        follower.on_known()

    def _see(self, resource: Resource, text: str) -> None:
        seen = self._view.read(_change(resource, text))
        if seen is not None:
            self._view.apply(seen)
            self._followed |= self._view.refresh().seen


def _change(resource: Resource, text: str) -> Change:
    one = json.loads(text)
    key = (one["metadata"].get("namespace") or "", one["metadata"]["name"])
    return Change(resource, key, None, one, "1")


def _main(sockets: Path) -> None:
    speaker = _Speaker()
    gc.collect()
    before = resident_megabytes(os.getpid())
    part = BgpAnnouncer(BgpSettings(node=NODE_NAME, sockets=sockets, kube_proxy_url="", marked_seconds=1.0))
    part.start()
    part.on_change(_change(NODES, json.dumps(node(NODE_NAME, address="10.0.1.1"))))
    part.on_change(_change(IP_ADDRESS_POOLS, json.dumps(pool("public", addresses=[_POOL]))))
    part.on_change(_change(BGP_ADVERTISEMENTS, json.dumps(advertisement("public"))))
    for name in ROUTERS:
        part.on_change(_change(BGP_PEERS, json.dumps(peer(name))))
    speaker.follow(ServiceFollower(part.follow, on_known=part.on_known))
    for resource in LISTED:
        part.on_listed(resource)

    def all_sent() -> bool:
        states = part.snapshot().states
        return set(states) == set(ROUTERS) and all(state.sent_prefixes == _SERVICES for state in states.values())

    wait_until(all_sent, _SECONDS, "both peers have all", interval_seconds=0.5)
    gc.collect()
    print(json.dumps({"before": before, "announcing": resident_megabytes(os.getpid())}))
    part.stop()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
