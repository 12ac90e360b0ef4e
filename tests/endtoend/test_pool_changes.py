"""On the wire: an assigned address is answered for while its pool changes, until its Service lets go of it.

All changes are made at once, each to the pool of a Service of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from allocator.kube.client import Conflict, Object
from allocator.kube.resource import SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
"""The first test waits for all changes, on a busy machine for the start of a lab too."""
SECONDS_AFTER = 3.0
"""For as long is asked after a change: until reconciler and speakers have made of it what they will."""
LABEL = "changes"


@dataclass(frozen=True, slots=True)
class Site:
    """One of several Services side by side, and the pool that nothing else may take addresses from."""

    lab: Lab
    name: str
    first: int

    @property
    def vips(self) -> tuple[str, str]:
        return f"203.0.113.{self.first}", f"2001:db8:1::{self.first}"

    @property
    def held(self) -> list[str]:
        return list(self.vips)

    @property
    def free(self) -> list[str]:
        return [f"203.0.113.{self.first + 1}", f"2001:db8:1::{self.first + 1}"]

    @property
    def ranges(self) -> list[str]:
        return [f"{held}-{free}" for held, free in zip(self.held, self.free, strict=True)]

    def create_pool(self, name: str, addresses: list[str], **spec: Any) -> None:
        """Create a pool for this Service alone."""
        alone = {"serviceSelectors": [{"matchLabels": {LABEL: self.name}}]}
        spec = {"addresses": addresses, "serviceAllocation": alone, "reuseDelaySeconds": 0, **spec}
        self.lab.cluster().create(IP_ADDRESS_POOLS, _ours(IP_ADDRESS_POOLS, name, spec), DEFAULT_NAMESPACE)

    def change_pool(self, **spec: Any) -> None:
        self.lab.cluster().patch(IP_ADDRESS_POOLS, self.name, {"spec": spec}, DEFAULT_NAMESPACE)

    def delete_pool(self) -> None:
        self.lab.cluster().delete(IP_ADDRESS_POOLS, self.name, DEFAULT_NAMESPACE)

    def who_has(self, vip: str) -> set[str]:
        return self.lab.client().who_has(vip, listen_seconds=0.2)

    def shown(self) -> list[str]:
        """The addresses in the Service's status."""
        status = self.lab.cluster().get(SERVICES, self.name, "default")["status"]
        return [entry["ip"] for entry in status["loadBalancer"].get("ingress") or ()]


class Questions:
    """Asks for both addresses, one question after the other, from a thread of its own while the block runs."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"questions-{site.name}")
        self.answers: dict[str, list[set[str]]] = {vip: [] for vip in site.vips}

    def __enter__(self) -> Questions:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def wait_more(self, count: int) -> None:
        """Wait until each address was asked for so many times more."""
        asked = {vip: len(answers) + count for vip, answers in self.answers.items()}
        wait_until(lambda: all(len(self.answers[vip]) >= asked[vip] for vip in asked), 30, "the LAN is asked")

    def _run(self) -> None:
        while not self._stopping.is_set():
            for vip in self.answers:
                self.answers[vip].append(self._site.who_has(vip))


def renamed(site: Site) -> None:
    site.delete_pool()
    site.create_pool(f"{site.name}-new", site.ranges)


def split(site: Site) -> None:
    site.change_pool(addresses=site.free)
    site.create_pool(f"{site.name}-new", site.held)


def renamed_by_the_recipe(site: Site) -> None:
    """As the refusal says: the new pool takes the addresses over, and then the old one may go."""
    site.change_pool(shrinkPolicy="Reject")
    with pytest.raises(Conflict, match=rf"create the new one with spec\.addressesFrom: \[{site.name}\] first"):
        site.delete_pool()
    site.create_pool(f"{site.name}-new", site.ranges, addressesFrom=[site.name])
    site.delete_pool()


def split_by_the_recipe(site: Site) -> None:
    site.change_pool(shrinkPolicy="Reject")
    site.create_pool(f"{site.name}-new", site.held, addressesFrom=[site.name])
    site.change_pool(addresses=site.free)


ELSEWHERE = {"namespaces": ["elsewhere"], "serviceSelectors": None}
CHANGES: dict[str, Callable[[Site], None]] = {
    "range-narrowed": lambda site: site.change_pool(addresses=site.free),
    "address-excluded": lambda site: site.change_pool(excludeAddresses=site.held),
    "pool-deleted": Site.delete_pool,
    "pool-split": split,
    "pool-renamed": renamed,
    "pool-renamed-new-one-first": renamed_by_the_recipe,
    "pool-split-new-one-first": split_by_the_recipe,
    "auto-assign-off": lambda site: site.change_pool(autoAssign=False),
    "allocation-narrowed": lambda site: site.change_pool(serviceAllocation=ELSEWHERE),
    "reassign-with-nothing-else-free": lambda site: site.change_pool(
        shrinkPolicy="Reassign", serviceAllocation=ELSEWHERE
    ),
}


@pytest.fixture(scope="module")
def sites(lab: Lab) -> Iterator[dict[str, Site]]:
    """The lab with AdmitLB, an application, and a dual-stack Service for each change, all of them announced.

    Each has the one advertisement that names its pool.
    """
    lab.install()
    lab.deploy_http("pools", node="node-3")
    sites = {change: Site(lab, change, 50 + 2 * number) for number, change in enumerate(CHANGES)}
    cluster = lab.cluster()
    for site in sites.values():
        site.create_pool(site.name, site.ranges, shrinkPolicy="Drain")
        spec = {"ipAddressPools": [site.name], "interfaces": ["eth0"]}
        cluster.create(L2_ADVERTISEMENTS, _ours(L2_ADVERTISEMENTS, site.name, spec), DEFAULT_NAMESPACE)
        cluster.create(SERVICES, _service(site), "default")
    yield sites
    for site in sites.values():
        cluster.delete(SERVICES, site.name, "default")
        cluster.delete(L2_ADVERTISEMENTS, site.name, DEFAULT_NAMESPACE)
    wait_until(lambda: not cluster.list(IP_ALLOCATIONS)["items"], 30, "the addresses are free")
    wait_until(lambda: _pools_deleted(lab), 20, "the pools are free to go", retry_on=(Conflict,))
    lab.kubectl("delete", "deployment", "pools")


@pytest.fixture(scope="module")
def answers(sites: dict[str, Site]) -> dict[str, dict[str, list[set[str]]]]:
    """What the LAN answered for each address before, during and after the change of its pool, by change."""
    for site in sites.values():
        for vip in site.vips:
            wait_until(lambda site=site, vip=vip: len(site.who_has(vip)) == 1, 30, f"{vip} is announced")  # type: ignore[misc]
    with ExitStack() as running:
        asked = {change: running.enter_context(Questions(site)) for change, site in sites.items()}
        for questions in asked.values():
            questions.wait_more(3)
        for change, site in sites.items():
            CHANGES[change](site)
        for questions in asked.values():
            questions.wait_more(1)
        threading.Event().wait(SECONDS_AFTER)
        for questions in asked.values():
            questions.wait_more(3)
    return {change: questions.answers for change, questions in asked.items()}


@pytest.mark.parametrize("change", CHANGES)
def test_an_address_is_answered_for_while_its_pool_changes(
    sites: dict[str, Site], answers: dict[str, dict[str, list[set[str]]]], change: str
) -> None:
    for vip, heard in answers[change].items():
        assert all(len(macs) == 1 for macs in heard), f"{vip}: {heard}"
        assert len(set.union(*heard)) == 1, f"{vip} moved: {heard}"
    assert sites[change].shown() == sites[change].held


@pytest.mark.usefixtures("answers")
def test_with_the_release_it_ends(sites: dict[str, Site]) -> None:
    site = sites["pool-deleted"]
    for vip in site.vips:
        assert len(site.who_has(vip)) == 1
    site.lab.cluster().patch(SERVICES, site.name, {"spec": {"type": "ClusterIP"}}, "default")
    for vip in site.vips:
        wait_until(lambda vip=vip: site.who_has(vip) == set(), 20, f"nobody answers for {vip}")  # type: ignore[misc]


def _pools_deleted(lab: Lab) -> bool:
    for pool in lab.cluster().list(IP_ADDRESS_POOLS, DEFAULT_NAMESPACE)["items"]:
        lab.cluster().delete(IP_ADDRESS_POOLS, pool["metadata"]["name"], DEFAULT_NAMESPACE)
    return True


def _ours(resource: Resource, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": DEFAULT_NAMESPACE}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}


def _service(site: Site) -> Object:
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {
        "type": "LoadBalancer",
        "selector": {"app": "pools"},
        "ports": ports,
        "ipFamilyPolicy": "RequireDualStack",
    }
    metadata = {"name": site.name, "labels": {LABEL: site.name}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
