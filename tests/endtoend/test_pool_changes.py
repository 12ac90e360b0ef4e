"""On the wire: an assigned address is answered for while its pool changes, until its Service lets go of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from allocator.kube.client import Conflict, Object
from allocator.kube.resource import SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until

VIPS = ("203.0.113.50", "2001:db8:1::50")
RANGES = ["203.0.113.50-203.0.113.51", "2001:db8:1::50-2001:db8:1::51"]
LAST = ["203.0.113.51", "2001:db8:1::51"]
FIRST = list(VIPS)
SECONDS_AFTER = 3.0
"""For as long is asked after a change: until reconciler and speakers have made of it what they will."""


class Questions:
    """Asks for both addresses, one question after the other, from a thread of its own while the block runs."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="questions")
        self.answers: dict[str, list[set[str]]] = {vip: [] for vip in VIPS}

    def __enter__(self) -> Questions:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def wait_more(self, count: int) -> None:
        """Wait until each address was asked for so many times more."""
        asked = {vip: len(self.answers[vip]) + count for vip in VIPS}
        wait_until(lambda: all(len(self.answers[vip]) >= asked[vip] for vip in VIPS), 30, "the LAN is asked")

    def _run(self) -> None:
        while not self._stopping.is_set():
            for vip in VIPS:
                self.answers[vip].append(self._lab.client().who_has(vip, listen_seconds=0.2))


@pytest.fixture(scope="module")
def installed(lab: Lab) -> Iterator[Lab]:
    """The lab with AdmitLB and an application."""
    lab.install()
    lab.deploy_http("pools", node="node-3")
    yield lab
    lab.kubectl("delete", "deployment", "pools")


@pytest.fixture
def announced(installed: Lab) -> Iterator[Lab]:
    """A dual-stack Service, announced by the one advertisement there is, which names its pool."""
    cluster = installed.cluster()
    pool = _ours(IP_ADDRESS_POOLS, "lan", {"addresses": RANGES, "shrinkPolicy": "Drain", "reuseDelaySeconds": 0})
    cluster.create(IP_ADDRESS_POOLS, pool, DEFAULT_NAMESPACE)
    spec = {"ipAddressPools": ["lan"], "interfaces": ["eth0"]}
    cluster.create(L2_ADVERTISEMENTS, _ours(L2_ADVERTISEMENTS, "lan", spec), DEFAULT_NAMESPACE)
    cluster.create(SERVICES, _service("pools"), "default")
    for vip in VIPS:
        wait_until(lambda vip=vip: len(installed.client().who_has(vip)) == 1, 30, f"{vip} is announced")  # type: ignore[misc]
    yield installed
    cluster.delete(SERVICES, "pools", "default")
    wait_until(lambda: not cluster.list(IP_ALLOCATIONS)["items"], 30, "the addresses are free")
    cluster.delete(L2_ADVERTISEMENTS, "lan", DEFAULT_NAMESPACE)
    wait_until(lambda: _pools_deleted(installed), 20, "the pools are free to go", retry_on=(Conflict,))


def changed(**spec: Any) -> Callable[[Lab], None]:
    return lambda lab: _change(lab, spec)


def deleted(lab: Lab) -> None:
    lab.cluster().delete(IP_ADDRESS_POOLS, "lan", DEFAULT_NAMESPACE)


def renamed(lab: Lab) -> None:
    deleted(lab)
    _create(lab, {"addresses": RANGES})


def split(lab: Lab) -> None:
    _change(lab, {"addresses": LAST})
    _create(lab, {"addresses": FIRST})


def renamed_by_the_recipe(lab: Lab) -> None:
    """As the refusal says: the new pool takes the addresses over, and then the old one may go."""
    _change(lab, {"shrinkPolicy": "Reject"})
    with pytest.raises(Conflict, match=r"create the new one with spec\.addressesFrom: \[lan\] first"):
        deleted(lab)
    _create(lab, {"addresses": RANGES, "addressesFrom": ["lan"]})
    deleted(lab)


def split_by_the_recipe(lab: Lab) -> None:
    _change(lab, {"shrinkPolicy": "Reject"})
    _create(lab, {"addresses": FIRST, "addressesFrom": ["lan"]})
    _change(lab, {"addresses": LAST})


CHANGES: dict[str, Callable[[Lab], None]] = {
    "range narrowed": changed(addresses=LAST),
    "address excluded": changed(excludeAddresses=FIRST),
    "pool deleted": deleted,
    "pool split": split,
    "pool renamed": renamed,
    "pool renamed, the new one first": renamed_by_the_recipe,
    "pool split, the new one first": split_by_the_recipe,
    "autoAssign off": changed(autoAssign=False),
    "serviceAllocation narrowed": changed(serviceAllocation={"namespaces": ["elsewhere"]}),
    "Reassign with nothing else free": changed(
        shrinkPolicy="Reassign", serviceAllocation={"namespaces": ["elsewhere"]}
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_address_is_answered_for_while_its_pool_changes(announced: Lab, change: str) -> None:
    with Questions(announced) as questions:
        questions.wait_more(3)
        CHANGES[change](announced)
        questions.wait_more(1)
        threading.Event().wait(SECONDS_AFTER)
        questions.wait_more(3)
    for vip, answers in questions.answers.items():
        assert all(len(macs) == 1 for macs in answers), f"{vip}: {answers}"
        assert len(set.union(*answers)) == 1, f"{vip} moved: {answers}"
    assert _shown(announced) == list(VIPS)


def test_with_the_release_it_ends(announced: Lab) -> None:
    deleted(announced)
    for vip in VIPS:
        assert len(announced.client().who_has(vip)) == 1
    announced.cluster().patch(SERVICES, "pools", {"spec": {"type": "ClusterIP"}}, "default")
    for vip in VIPS:
        wait_until(lambda vip=vip: announced.client().who_has(vip) == set(), 20, f"nobody answers for {vip}")  # type: ignore[misc]


def _create(lab: Lab, spec: Object) -> None:
    pool = _ours(IP_ADDRESS_POOLS, "new", spec | {"reuseDelaySeconds": 0})
    lab.cluster().create(IP_ADDRESS_POOLS, pool, DEFAULT_NAMESPACE)


def _change(lab: Lab, spec: Object) -> None:
    lab.cluster().patch(IP_ADDRESS_POOLS, "lan", {"spec": spec}, DEFAULT_NAMESPACE)


def _shown(lab: Lab) -> list[str]:
    status = lab.cluster().get(SERVICES, "pools", "default")["status"]
    return [entry["ip"] for entry in status["loadBalancer"].get("ingress") or ()]


def _pools_deleted(lab: Lab) -> bool:
    for pool in lab.cluster().list(IP_ADDRESS_POOLS, DEFAULT_NAMESPACE)["items"]:
        lab.cluster().delete(IP_ADDRESS_POOLS, pool["metadata"]["name"], DEFAULT_NAMESPACE)
    return True


def _ours(resource: Resource, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": DEFAULT_NAMESPACE}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}


def _service(name: str) -> Object:
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {"type": "LoadBalancer", "selector": {"app": name}, "ports": ports, "ipFamilyPolicy": "RequireDualStack"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
