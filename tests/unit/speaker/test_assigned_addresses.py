"""An assigned address is announced until it is released, whatever becomes of its pool; nobody else's is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from allocator.kube.client import Object
from allocator.kube.resource import SERVICES
from allocator.objects.names import (
    ASSIGNED_IPS_ANNOTATION,
    FROM_POOL_ANNOTATION,
    IP_ADDRESS_POOLS,
    L2_ADVERTISEMENTS,
    ORIGINAL_POOL_ANNOTATION,
)
from tests.unit.speaker.objects import advertisement, pool, service
from tests.unit.speaker.test_view import FIRST, Cluster

V6 = "2001:db8::a"
RANGES = ["10.0.0.0/24", "2001:db8::/64"]
ELSEWHERE = ["10.0.0.128/25", "2001:db8:1::/64"]
LABELS = {"tier": "public"}


def assigned(*addresses: str, pools: str = "pool", listed: str | None = None) -> Object:
    """A Service as the reconciler writes it."""
    written = service(*addresses)
    annotations = {FROM_POOL_ANNOTATION: pools, ASSIGNED_IPS_ANNOTATION: listed or ",".join(addresses)}
    written["metadata"]["annotations"] = annotations
    return written


def changed(**spec: Any) -> Callable[[Cluster], None]:
    def change(cluster: Cluster) -> None:
        after = pool(addresses=spec.pop("addresses", RANGES), **LABELS)
        after["spec"] |= spec
        cluster.put(IP_ADDRESS_POOLS, after)

    return change


def split(cluster: Cluster) -> None:
    changed(addresses=ELSEWHERE)(cluster)
    cluster.put(IP_ADDRESS_POOLS, pool("other", addresses=["10.0.0.0/25", "2001:db8::/64"]))


def renamed(cluster: Cluster) -> None:
    cluster.remove(IP_ADDRESS_POOLS, pool())
    cluster.put(IP_ADDRESS_POOLS, pool("other", addresses=RANGES))


CHANGES: dict[str, Callable[[Cluster], None]] = {
    "range narrowed": changed(addresses=ELSEWHERE),
    "address excluded": changed(excludeAddresses=[FIRST, V6]),
    "pool deleted": lambda cluster: cluster.remove(IP_ADDRESS_POOLS, pool()),
    "pool split": split,
    "pool renamed": renamed,
    "autoAssign off": changed(autoAssign=False),
    "serviceAllocation narrowed": changed(serviceAllocation={"namespaces": ["elsewhere"]}),
}

SELECTIONS: dict[str, Object] = {
    "all pools": {},
    "by name": {"ipAddressPools": ["pool"]},
    "by label": {"ipAddressPoolSelectors": [{"matchLabels": LABELS}]},
}


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_its_pool_leaves_an_assigned_address_announced(change: str, selection: str) -> None:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, pool(addresses=RANGES, **LABELS))
    cluster.put(L2_ADVERTISEMENTS, advertisement(**SELECTIONS[selection]))
    cluster.put(SERVICES, assigned(FIRST, V6))
    before = cluster.holders()
    assert before.keys() == {FIRST, V6}
    CHANGES[change](cluster)
    # Once the pool is gone nobody knows its labels any more.
    lost = selection == "by label" and change in ("pool deleted", "pool renamed")
    assert cluster.holders() == ({} if lost else before)


def test_the_advertisement_of_the_pool_that_contains_it_now_announces_it_too() -> None:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, pool(addresses=RANGES))
    cluster.put(L2_ADVERTISEMENTS, advertisement(ipAddressPoolSelectors=[{"matchLabels": {"tier": "internal"}}]))
    cluster.put(SERVICES, assigned(FIRST))
    assert cluster.holders() == {}
    cluster.remove(IP_ADDRESS_POOLS, pool())
    cluster.put(IP_ADDRESS_POOLS, pool("other", addresses=RANGES, tier="internal"))
    assert cluster.holders().keys() == {FIRST}


def test_it_ends_with_the_release() -> None:
    cluster = Cluster()
    cluster.put(SERVICES, assigned(FIRST))
    cluster.remove(IP_ADDRESS_POOLS, pool())
    assert cluster.holders().keys() == {FIRST}
    cluster.put(SERVICES, service())
    assert cluster.holders() == {}


@pytest.mark.parametrize(
    "foreign",
    [
        service("198.51.100.1"),
        assigned("198.51.100.1", listed="10.0.0.9"),
        assigned("198.51.100.1", pools=""),
    ],
    ids=["no annotation", "status rewritten by another", "an empty annotation"],
)
def test_an_address_of_no_pool_that_we_did_not_assign_is_not_announced(foreign: Object) -> None:
    cluster = Cluster()
    cluster.put(SERVICES, foreign)
    assert cluster.holders() == {}


def test_what_metallb_assigned_is_announced_too() -> None:
    cluster = Cluster()
    left_by_metallb = service(FIRST)
    left_by_metallb["metadata"]["annotations"] = {FROM_POOL_ANNOTATION: "pool"}
    cluster.put(SERVICES, left_by_metallb)
    cluster.remove(IP_ADDRESS_POOLS, pool())
    assert cluster.holders().keys() == {FIRST}


def test_each_family_is_announced_for_its_own_pool() -> None:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, pool("four", addresses=["192.0.2.0/28"]))
    cluster.put(IP_ADDRESS_POOLS, pool("six", addresses=["2001:db8:2::/64"]))
    cluster.put(L2_ADVERTISEMENTS, advertisement(ipAddressPools=["six"]))
    cluster.put(SERVICES, assigned(FIRST, V6, pools="four,six"))
    assert cluster.holders().keys() == {V6}


@pytest.mark.parametrize("named", ["pool", "other"])
def test_once_another_pool_owns_it_both_pools_advertisements_announce_it(named: str) -> None:
    cluster = Cluster()
    cluster.put(L2_ADVERTISEMENTS, advertisement(ipAddressPools=[named]))
    owned = assigned(FIRST, pools="other")
    owned["metadata"]["annotations"][ORIGINAL_POOL_ANNOTATION] = "pool"
    cluster.put(SERVICES, owned)
    renamed(cluster)
    assert cluster.holders().keys() == {FIRST}
