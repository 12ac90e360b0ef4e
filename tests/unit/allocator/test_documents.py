"""Pools and advertisements as written: what is taken, what is refused, and how that is said."""

from typing import Any

import pytest

from allocator.objects.document import InvalidDocument
from allocator.objects.l2_advertisement import check_l2_advertisement
from allocator.objects.pool import pool_from, pool_overlaps
from tests.unit.core.builders import pool


def document(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "labels": {"tier": "a"}}, "spec": {"addresses": ["10.0.0.0/28"], **spec}}


def test_a_pool_with_every_field() -> None:
    read = pool_from(
        document(
            addresses=["192.168.1.100-192.168.1.150", "2001:db8:1::1-2001:db8:1::100"],
            excludeAddresses=["192.168.1.101"],
            autoAssign=False,
            avoidBuggyIPs=True,
            reuseDelaySeconds=5,
            allowCrossNamespaceSharing=False,
            serviceAllocation={
                "priority": 50,
                "namespaces": ["production"],
                "namespaceSelectors": [{"matchLabels": {"pool": "premium"}}],
                "serviceSelectors": [{"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}],
            },
        )
    )
    assert [str(owned) for owned in read.ranges] == ["192.168.1.100-192.168.1.150", "2001:db8:1::1-2001:db8:1::100"]
    assert (read.auto_assign, read.avoid_buggy_ips, read.reuse_delay_seconds) == (False, True, 5)
    assert read.allocation is not None
    assert read.allocation.priority == 50
    assert [str(selector) for selector in read.allocation.namespace_selectors] == ["pool=premium"]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"addresses": []}, "spec.addresses: the pool has no addresses"),
        ({"addresses": ["10.0.0.0/28", "x"]}, "spec.addresses[1]: 'x' is not an IP address"),
        ({"addresses": ["224.0.0.0/28"]}, "spec.addresses[0]: '224.0.0.0/28' holds multicast addresses"),
        ({"addresses": ["x", "224.0.0.0/28"]}, "spec.addresses[1]: '224.0.0.0/28' holds multicast addresses"),
        ({"excludeAddresses": ["10.0.0.1-"]}, "spec.excludeAddresses[0]: '10.0.0.1-' is a range with one end"),
        ({"serviceAllocation": {"priority": -1}}, "spec.serviceAllocation.priority: -1 is negative"),
        (
            {"serviceAllocation": {"namespaces": ["a", "a"]}},
            "spec.serviceAllocation.namespaces[1]: a is listed twice",
        ),
        (
            {"serviceAllocation": {"serviceSelectors": [{"matchLabels": {"a": "b"}}, {"matchLabels": {"a": "b"}}]}},
            "spec.serviceAllocation.serviceSelectors[1]: a=b is listed twice",
        ),
        (
            {"serviceAllocation": {"namespaceSelectors": [{"matchExpressions": [{"key": "a", "operator": "Is"}]}]}},
            "spec.serviceAllocation.namespaceSelectors[0].matchExpressions[0].operator: 'Is' is unknown",
        ),
    ],
)
def test_a_malformed_pool_names_the_field(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        pool_from(document(**spec))
    assert says in str(refused.value)


def test_one_answer_names_every_problem() -> None:
    with pytest.raises(InvalidDocument) as refused:
        pool_from(document(addresses=["x", "10.0.0.9-10.0.0.1"], serviceAllocation={"priority": -1}))
    assert [problem.path for problem in refused.value.problems] == [
        "spec.addresses[0]",
        "spec.addresses[1]",
        "spec.serviceAllocation.priority",
    ]


def test_overlaps_say_with_what() -> None:
    mine = pool("mine", "10.0.0.0/28")
    (problem,) = pool_overlaps(mine, [mine, pool("other", "10.0.0.8-10.0.0.20")])
    assert str(problem) == (
        "spec.addresses[0]: 10.0.0.0/28 overlaps 10.0.0.8-10.0.0.20 of pool other; "
        "every address belongs to one range of one pool"
    )


def test_an_advertisement_with_the_same_pool_twice_is_refused() -> None:
    check_l2_advertisement({"metadata": {"name": "a"}})
    with pytest.raises(InvalidDocument, match=r"spec.ipAddressPools\[1\]: a is listed twice"):
        check_l2_advertisement({"spec": {"ipAddressPools": ["a", "a"]}})
