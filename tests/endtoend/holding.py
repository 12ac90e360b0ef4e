"""Thirty addresses that any of three nodes may announce, and who holds them, judged by who answers on the LAN."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
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


@contextmanager
def holding_site(lab: Lab) -> Iterator[SpeakerSite]:
    """A site with the addresses for the block."""
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
        for address, macs in site.asker.who_have(wanted, listen_seconds=0.5).items():
            (mac,) = macs
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
