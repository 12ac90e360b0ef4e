"""Pools are renamed, split and closed under Services: the address goes with its pool, and moves when it shall."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from allocator.kube.client import ApiError, Object
from allocator.kube.resource import SERVICES
from allocator.objects.names import (
    DEFAULT_NAMESPACE,
    FROM_POOL_ANNOTATION,
    IP_ADDRESS_POOLS,
    IP_ALLOCATIONS,
    ORIGINAL_POOL_ANNOTATION,
)
from allocator.rules.service_report import stored_condition
from tests.cluster.installation import Installation, ingress, pool, service
from tests.lab.waiting import wait_until

VIP = "192.0.2.10"
RANGE = "192.0.2.10-192.0.2.11"


@pytest.fixture
def admitlb(installed: Installation) -> Iterator[Installation]:
    """The same, with Service default/web on 192.0.2.10 of pool `main`, which drains."""
    installed.add_pool(pool("main", RANGE, shrinkPolicy="Drain"))
    installed.cluster.create(SERVICES, service("web"), "default")
    installed.wait_assigned("default", "web")
    yield installed
    installed.clean()


def change(admitlb: Installation, name: str, **spec: object) -> None:
    admitlb.cluster.patch(IP_ADDRESS_POOLS, name, {"spec": spec}, DEFAULT_NAMESPACE)


def rename(admitlb: Installation) -> None:
    admitlb.cluster.delete(IP_ADDRESS_POOLS, "main", DEFAULT_NAMESPACE)
    admitlb.add_pool(pool("renamed", RANGE))


def split(admitlb: Installation) -> None:
    change(admitlb, "main", addresses=["192.0.2.11"])
    admitlb.add_pool(pool("renamed", VIP))


def wait_owned_by(admitlb: Installation, name: str) -> None:
    """Wait until claim, annotation and the pool's counters all name the pool."""

    def said() -> list[object]:
        annotations = admitlb.service("default", "web")["metadata"]["annotations"]
        counted = admitlb.cluster.get(IP_ADDRESS_POOLS, name, DEFAULT_NAMESPACE).get("status") or {}
        return [claim(admitlb)["pool"], annotations[FROM_POOL_ANNOTATION], counted.get("assignedIPv4")]

    wait_until(lambda: said() == [name, name, 1], 10, f"the address is of pool {name} everywhere")


def claim(admitlb: Installation) -> Object:
    spec: Object = admitlb.cluster.get(IP_ALLOCATIONS, VIP)["spec"]
    return spec


@pytest.mark.parametrize("how", [rename, split])
def test_an_address_goes_with_its_pool_that_is_renamed_or_split(admitlb: Installation, how: object) -> None:
    assert callable(how)
    how(admitlb)
    wait_owned_by(admitlb, "renamed")
    assert ingress(admitlb.service("default", "web")) == [VIP]
    assert claim(admitlb)["originalPool"] == "main"
    assert admitlb.service("default", "web")["metadata"]["annotations"][ORIGINAL_POOL_ANNOTATION] == "main"


@pytest.mark.parametrize("how", [rename, split])
def test_the_new_pool_protects_what_it_came_to_contain(admitlb: Installation, how: object) -> None:
    assert callable(how)
    how(admitlb)
    refusals: list[dict[str, object]] = [
        {"addresses": ["192.0.2.99"]},
        {"excludeAddresses": [VIP]},
        {"serviceAllocation": {"namespaces": ["elsewhere"]}},
        {"serviceAllocation": {"serviceSelectors": [{"matchLabels": {"app": "other"}}]}},
    ]
    for spec in refusals:
        with pytest.raises(ApiError, match=rf"takes away {VIP} \(default/web\)"):
            change(admitlb, "renamed", **spec)
    with pytest.raises(ApiError, match=rf"its deletion takes away {VIP} \(default/web\)"):
        admitlb.cluster.delete(IP_ADDRESS_POOLS, "renamed", DEFAULT_NAMESPACE)


def test_reassign_moves_the_services_that_a_narrowed_allocation_shuts_out(admitlb: Installation) -> None:
    admitlb.add_pool(pool("spare", "192.0.2.20"))
    change(admitlb, "main", shrinkPolicy="Reassign", serviceAllocation={"namespaces": ["elsewhere"]})
    wait_until(lambda: ingress(admitlb.service("default", "web")) == ["192.0.2.20"], 10, "web moves")
    admitlb.wait_released(VIP)


@pytest.mark.parametrize("pool_goes", [True, False], ids=["pool deleted", "serviceAllocation narrowed"])
def test_reassign_is_remembered_over_a_restart_until_something_is_free(
    admitlb: Installation, pool_goes: bool
) -> None:
    change(admitlb, "main", shrinkPolicy="Reassign")
    if pool_goes:
        admitlb.cluster.delete(IP_ADDRESS_POOLS, "main", DEFAULT_NAMESPACE)
    else:
        change(admitlb, "main", serviceAllocation={"namespaces": ["elsewhere"]})

    def kept() -> bool:
        shown = admitlb.service("default", "web")
        condition = stored_condition(shown) or {}
        return ingress(shown) == [VIP] and f"keeps {VIP} meanwhile" in str(condition.get("message"))

    wait_until(kept, 10, "web keeps its address, and says what it waits for")
    for number, process in enumerate(admitlb.reconcilers):
        process.sigkill()
        admitlb.restart_reconciler(number)
    admitlb.wait_led()
    assert kept()
    admitlb.add_pool(pool("spare", "192.0.2.20"))
    wait_until(lambda: ingress(admitlb.service("default", "web")) == ["192.0.2.20"], 15, "web moves")


def test_drain_is_not_taken_for_reassign_after_a_restart(admitlb: Installation) -> None:
    admitlb.cluster.delete(IP_ADDRESS_POOLS, "main", DEFAULT_NAMESPACE)
    for number, process in enumerate(admitlb.reconcilers):
        process.sigkill()
        admitlb.restart_reconciler(number)
    admitlb.wait_led()
    admitlb.add_pool(pool("spare", "192.0.2.20"))
    admitlb.cluster.create(SERVICES, service("other"), "default")
    admitlb.wait_assigned("default", "other")
    assert ingress(admitlb.service("default", "web")) == [VIP]


def test_the_labels_of_many_services_are_asked_for_at_once(admitlb: Installation) -> None:
    admitlb.add_pool(pool("many", "198.51.100.0/28"))
    names = [f"many-{number}" for number in range(12)]
    for name in names:
        document = service(name, {"metallb.io/address-pool": "many"})
        document["metadata"]["labels"] = {"tier": "gold" if name != "many-3" else "silver"}
        admitlb.cluster.create(SERVICES, document, "default")
    for name in names:
        admitlb.wait_assigned("default", name)
    gold = {"serviceSelectors": [{"matchLabels": {"tier": "gold"}}]}
    with pytest.raises(ApiError, match=r"takes away 198\.51\.100\.\d+ \(default/many-3\);"):
        change(admitlb, "many", serviceAllocation=gold)
    admitlb.cluster.patch(SERVICES, "many-3", {"metadata": {"labels": {"tier": "gold"}}}, "default")
    change(admitlb, "many", serviceAllocation=gold)
