"""The switch port of one node to the LAN of the addresses is dead, its carrier up, all else whole: real kernels."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
from speaker.membership.durations import DEFAULT_DEAD_AFTER_SECONDS
from speaker.membership.side import SETTLE_SECONDS
from tests.bench.speaker_site import SpeakerSite, speaker_site
from tests.cluster.installation import ingress, remove, service
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until

COUNT = 9
NAMES = tuple(f"second-{number}" for number in range(COUNT))
FROM_POOL = {"metallb.io/address-pool": "second"}
BOUND_SECONDS = DEFAULT_DEAD_AFTER_SECONDS + 1.0
ASKING_SECONDS = 0.1
LAN = "eth1"


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[SpeakerSite]:
    """Addresses of the second LAN, that any of three nodes may announce; heartbeats go over the first."""
    with speaker_site(lab) as site:
        pool = {"addresses": ["10.10.10.100-10.10.10.119"], "autoAssign": False, "reuseDelaySeconds": 0}
        site.create(IP_ADDRESS_POOLS, DEFAULT_NAMESPACE, "second", **pool)
        site.create(L2_ADVERTISEMENTS, DEFAULT_NAMESPACE, "second", ipAddressPools=["second"])
        for name in NAMES:
            lab.cluster().create(SERVICES, service(name, FROM_POOL, selector={"app": "web"}), "default")
        yield site
        for name in NAMES:
            remove(lab.cluster(), "default", name)


def holders(site: SpeakerSite) -> dict[str, str]:
    """Wait until one node answers for each address on its LAN, and return which, by address."""
    names = {node.mac(LAN): node.name for node in site.lab.nodes.values()}

    def sole() -> dict[str, str]:
        found = {}
        addresses = [ingress(site.lab.cluster().get(SERVICES, name, "default"))[0] for name in NAMES]
        for address, macs in site.asker.who_have(addresses, LAN, listen_seconds=0.5).items():
            (mac,) = macs
            found[address] = names[mac]
        return found

    return wait_until(sole, 40, "one node answers for each", retry_on=(IndexError, ValueError))


def test_its_addresses_are_answered_elsewhere_within_the_bound_and_stay_there(site: SpeakerSite) -> None:
    site.steady()
    site.let_it_run(SETTLE_SECONDS + 1.0)
    before = holders(site)
    lost = site.lab.nodes[before[next(iter(before))]]
    own = {address for address, name in before.items() if name == lost.name}
    died_at = time.monotonic()
    lost.link(LAN).isolate()
    try:
        waiting = set(own)
        while waiting and time.monotonic() - died_at < 3 * BOUND_SECONDS:
            answers = site.asker.who_have(waiting, LAN, listen_seconds=ASKING_SECONDS)
            waiting = {address for address in waiting if not answers[address]}
        taken_seconds = time.monotonic() - died_at
        assert not waiting, "nobody answers for them"
        assert taken_seconds < BOUND_SECONDS + 2 * ASKING_SECONDS
        site.let_it_run(5.0)
        during = holders(site)
        assert {address for address in before if during[address] != before[address]} == own
    finally:
        lost.link(LAN).rejoin()
    site.let_it_run(5.0)
    assert holders(site) == during
