"""On the wire: an assigned address is answered for while its pool changes, until its Service lets go of it.

All changes are made at once, each to the pool of a Service of its own.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import pytest

from allocator.kube.client import Conflict, Object
from allocator.kube.resource import SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from tests.bench.speaker_asking import Answer, Asking
from tests.lab.lab import Lab
from tests.lab.waiting import NeverHappened, wait_until

pytestmark = pytest.mark.timeout(300)
"""The first test waits for all changes, on a busy machine for the start of a lab too."""
SECONDS_AFTER = 3.0
"""For as long is asked after a change: until reconciler and speakers have made of it what they will."""
EVERY_SECONDS = 0.1
LATEST_SECONDS = 10.0
"""A node that has not answered by then never will."""
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


class Heard:
    """What a LAN is asked and answers about some addresses, several times a second while the block runs.

    A busy node answers late, but it answers every question about what it announces: one without an answer fell into a
    gap, however short. `questions` is the asking thread's and `answers` the hearing thread's, until the block ends.
    """

    def __init__(self, lab: Lab, vips: Collection[str]) -> None:
        self.questions = Counter(dict.fromkeys(vips, 0))
        self.answers: dict[str, list[str]] = {vip: [] for vip in vips}
        self._asking = Asking(
            lab.client(),
            vips,
            every_seconds=EVERY_SECONDS,
            on_question=lambda vip, _: self.questions.update([vip]),
            on_answer=self._on_answer,
        )

    def _on_answer(self, answer: Answer) -> None:
        if answer.address in self.answers:
            self.answers[answer.address].append(answer.mac)

    def __enter__(self) -> Self:
        self._asking.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._asking.about(())
        with suppress(NeverHappened):
            wait_until(lambda: not any(map(self.unanswered, self.answers)), LATEST_SECONDS, "all is answered")
        self._asking.__exit__(*error)

    def unanswered(self, vip: str) -> int:
        """How many questions nobody has answered, so far."""
        return self.questions[vip] - len(self.answers[vip])

    def wait_more(self, count: int) -> None:
        """Wait until each address was asked for so many times more."""
        asked = {vip: questions + count for vip, questions in self.questions.items()}
        wait_until(lambda: all(self.questions[vip] >= asked[vip] for vip in asked), 30, "the LAN is asked")


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
def heard(lab: Lab, sites: dict[str, Site]) -> Heard:
    """What the LAN answered for each address before, during and after the change of its pool."""
    vips = [vip for site in sites.values() for vip in site.vips]
    wait_until(lambda: _each_has_one(lab, vips), 60, "every address is announced", retry_on=(AssertionError,))
    with Heard(lab, vips) as heard:
        heard.wait_more(5)
        for change, site in sites.items():
            CHANGES[change](site)
        threading.Event().wait(SECONDS_AFTER)
        heard.wait_more(5)
    return heard


@pytest.mark.parametrize("change", CHANGES)
def test_an_address_is_answered_for_while_its_pool_changes(sites: dict[str, Site], heard: Heard, change: str) -> None:
    for vip in sites[change].vips:
        assert heard.unanswered(vip) == 0, f"{vip}: of {heard.questions[vip]} questions so many had no answer"
        assert len(set(heard.answers[vip])) == 1, f"{vip} moved: {heard.answers[vip]}"
    assert sites[change].shown() == sites[change].held


@pytest.mark.usefixtures("heard")
def test_with_the_release_it_ends(sites: dict[str, Site]) -> None:
    site = sites["pool-deleted"]
    for vip in site.vips:
        assert len(site.who_has(vip)) == 1
    site.lab.cluster().patch(SERVICES, site.name, {"spec": {"type": "ClusterIP"}}, "default")
    for vip in site.vips:
        wait_until(lambda vip=vip: site.who_has(vip) == set(), 20, f"nobody answers for {vip}")  # type: ignore[misc]


def _each_has_one(lab: Lab, vips: Collection[str]) -> bool:
    heard = lab.client().who_have(vips, listen_seconds=0.5)
    assert all(len(macs) == 1 for macs in heard.values()), heard
    return True


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
