"""What the network does to a cluster of sound nodes moves no address, judged by who answers on the LAN alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from speaker.membership.side import SETTLE_SECONDS
from tests.bench.speaker_site import SpeakerSite, speaker_site
from tests.cluster.installation import ingress, remove, service
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.waiting import wait_until

COUNT = 30
NAMES = tuple(f"held-{number}" for number in range(COUNT))
FROM_POOL = {"metallb.io/address-pool": "held"}
PORTS = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
Holders = dict[str, str]
BURNERS_A_CORE = 4
BURNING_SECONDS = 20.0
"""A minute in the bench."""
TAKEN_OVER_SECONDS = 2.0


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[SpeakerSite]:
    """Thirty addresses that any of three nodes may announce, on any interface."""
    with speaker_site(lab) as site:
        site.create(
            IP_ADDRESS_POOLS,
            DEFAULT_NAMESPACE,
            "held",
            addresses=["203.0.113.100-203.0.113.129"],
            autoAssign=False,
            reuseDelaySeconds=0,
        )
        site.create(L2_ADVERTISEMENTS, DEFAULT_NAMESPACE, "held", ipAddressPools=["held"])
        cluster = lab.cluster()
        for name in NAMES:
            cluster.create(SERVICES, service(name, FROM_POOL, selector={"app": "web"}, ports=PORTS), "default")
        yield site
        for name in NAMES:
            remove(cluster, "default", name)


def addresses(site: SpeakerSite) -> list[str]:
    found = [ingress(site.lab.cluster().get(SERVICES, name, "default")) for name in NAMES]
    assert all(found)
    return [address for (address,) in found]


def holders(site: SpeakerSite, *, without: Node | None = None) -> Holders:
    """Wait until one node answers for each address, and return which, by address."""
    wanted = wait_until(lambda: addresses(site), 30, "every Service has an address", retry_on=(AssertionError,))
    names = {node.mac("eth0"): node.name for node in site.lab.nodes.values()}

    def sole() -> Holders:
        found = {}
        for address in wanted:
            (mac,) = site.asker.who_has(address, listen_seconds=0.1)
            found[address] = names[mac]
        assert without is None or without.name not in found.values()
        return found

    return wait_until(sole, 40, "one node answers for each", retry_on=(AssertionError, ValueError))


def settled(site: SpeakerSite) -> Holders:
    """The holders once every side counts everybody."""
    site.steady()
    site.let_it_run(SETTLE_SECONDS + 1.0)
    return holders(site)


def moved(before: Holders, after: Holders) -> list[str]:
    return [
        f"{address}: {before[address]} to {after[address]}" for address in before if before[address] != after[address]
    ]


def test_an_isolated_node_that_returns_takes_nothing(site: SpeakerSite) -> None:
    settled(site)
    node = site.lab.nodes["node-1"]
    site.isolate(node)
    try:
        during = holders(site, without=node)
        site.let_it_run(10.0)
    finally:
        site.rejoin(node)
    site.let_it_run(2.0)
    assert moved(during, holders(site)) == []


def test_a_pause_of_the_whole_lan_moves_nothing(site: SpeakerSite) -> None:
    before = settled(site)
    nodes = list(site.lab.nodes.values())
    for node in nodes:
        site.isolate(node)
    try:
        site.let_it_run(2.0)
    finally:
        for node in nodes:
            site.rejoin(node)
    site.let_it_run(2.0)
    assert moved(before, holders(site)) == []


def test_an_unrelated_bridge_that_loses_its_carrier_moves_nothing(site: SpeakerSite) -> None:
    host = site.lab.nodes["node-2"].host
    host.run("ip", "link", "add", "br-apps", "type", "bridge")
    host.run("ip", "link", "add", "app0", "type", "veth", "peer", "name", "app1")
    try:
        host.run("ip", "link", "set", "app0", "master", "br-apps", "up")
        host.run("ip", "link", "set", "app1", "up")
        host.run("ip", "address", "add", "172.30.0.1/16", "dev", "br-apps")
        host.run("ip", "link", "set", "br-apps", "up")
        before = settled(site)
        host.run("ip", "link", "set", "app1", "down")
        site.let_it_run(3.0)
        assert moved(before, holders(site)) == []
    finally:
        host.run("ip", "link", "delete", "app0")
        host.run("ip", "link", "delete", "br-apps")


@contextmanager
def burning() -> Iterator[None]:
    """Have so many processes a core compute all the time, in a scheduling group of their own (sched_autogroup)."""
    burn = ("sh", "-c", "for _ in $(seq $0); do while :; do :; done & done; wait")
    count = BURNERS_A_CORE * (os.cpu_count() or 1)
    with subprocess.Popen([*burn, str(count)], start_new_session=True) as group:
        try:
            yield
        finally:
            os.killpg(group.pid, signal.SIGKILL)


def test_processes_that_compute_on_every_core_move_nothing_and_hide_no_death(site: SpeakerSite) -> None:
    before = settled(site)
    node = site.lab.nodes[before[addresses(site)[0]]]
    with burning():
        site.let_it_run(BURNING_SECONDS)
        assert moved(before, holders(site)) == []
        waiting = {address for address, name in before.items() if name == node.name}
        killed_at = node.kill()
        try:
            while waiting and time.monotonic() < killed_at + 5 * TAKEN_OVER_SECONDS:
                waiting = {each for each in waiting if not site.asker.who_has(each, listen_seconds=0.02)}
            taken_over_seconds = time.monotonic() - killed_at
        finally:
            node.revive()
    print(f"all addresses of {node.name} taken over after {taken_over_seconds:.2f} s, with every core burning")
    assert not waiting
    assert taken_over_seconds < TAKEN_OVER_SECONDS
    site.steady()


@pytest.mark.timeout(300)
def test_what_has_piled_up_is_spread_again_on_request_without_a_lost_request(site: SpeakerSite) -> None:
    settled(site)
    node = site.lab.nodes["node-1"]
    site.isolate(node)
    try:
        holders(site, without=node)
    finally:
        site.rejoin(node)
    piled_up = settled(site)
    assert node.name not in piled_up.values()
    wait_until(lambda: announced_by(site) == piled_up, 30, "the API says so too")

    with site.lab.client().outage(f"http://{addresses(site)[0]}/", rate_per_second=50.0) as asking:
        shown = rebalance(site)
        assert "node-1     0 ->    10 addresses" in shown.stdout
        assert announced_by(site) == piled_up, "nothing moves unless asked to"
        applied = rebalance(site, "--apply")
        assert applied.returncode == 0, applied.stderr
    spread = holders(site)
    counts = Counter(spread.values())
    # The site's own address is counted, too, and may be on two of the nodes only.
    assert max(counts.values()) - min(counts.values()) <= 2
    assert len(moved(piled_up, spread)) <= COUNT / 3 + 1, "no more than needed"
    assert asking.report.failures == ()

    one = next(address for address, name in spread.items() if name == "node-1")
    assert rebalance(site, "--address", one, "--to", "node-2", "--apply").returncode == 0
    assert holders(site)[one] == "node-2"
    refused = rebalance(site, "--address", one, "--to", "no-such-node")
    assert f"{one} stays: no-such-node is not among the nodes that announce it best" in refused.stderr


def announced_by(site: SpeakerSite) -> Holders:
    claims = site.lab.cluster().list(IP_ALLOCATIONS)["items"]
    found = {claim["spec"]["address"]: claim["status"]["announcedBy"]["node"] for claim in claims}
    return {address: found[address] for address in addresses(site)}


def rebalance(site: SpeakerSite, *options: str) -> subprocess.CompletedProcess[str]:
    kubeconfig = str(site.lab.control_plane.kubeconfig())
    chosen = ["--kubeconfig", kubeconfig, *options]
    if "--address" not in options:
        chosen += [word for address in addresses(site) for word in ("--address", address)]
    command = Path(sys.executable).with_name("admitlb")
    return subprocess.run([command, "rebalance", *chosen], check=False, capture_output=True, text=True, timeout=200)
