"""What the network does to a cluster of sound nodes moves no address, judged by who answers on the LAN alone."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from allocator.objects.names import IP_ALLOCATIONS
from tests.bench.speaker_site import SpeakerSite
from tests.endtoend.holding import COUNT, Holders, addresses, holders, holding_site, moved, settled
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[SpeakerSite]:
    with holding_site(lab) as site:
        yield site


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
