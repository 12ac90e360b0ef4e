"""What the definitions of our kinds accept, fill in, refuse and print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from allocator.core.addresses import Address
from allocator.core.claims import Claim, ClaimState, Holder, Port
from allocator.kube.client import ApiError, Cluster, Object
from allocator.kube.resource import Resource
from allocator.kube.timestamps import write_time
from allocator.objects.ip_allocation import claim_from, document_of
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from allocator.rules.l2_advertisement_status import columns
from tests.cluster.reconciling import Reconciling
from tests.lab.control_plane import ControlPlane

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
KINDS = (IP_ADDRESS_POOLS, L2_ADVERTISEMENTS, IP_ALLOCATIONS)
RESOURCES = {resource.kind: resource for resource in (IP_ADDRESS_POOLS, L2_ADVERTISEMENTS)}


def guide() -> list[tuple[str, Object]]:
    """Return every object of our kinds in the guide's configurations, with the file it is in."""
    files = sorted((ROOT / "tests" / "guide").glob("*.yaml"))
    objects = [(path.stem, obj) for path in files for obj in yaml.safe_load_all(path.read_text())]
    return [(stem, obj) for stem, obj in objects if obj["kind"] in RESOURCES]


@pytest.fixture(scope="module")
def control_plane_with_kinds(reconciling: Reconciling) -> ControlPlane:
    """A control plane with our kinds and no webhook: what is refused here, the schema refused."""
    return reconciling.control_plane


@pytest.fixture
def cluster(control_plane_with_kinds: ControlPlane) -> Iterator[Cluster]:
    cluster = control_plane_with_kinds.cluster()
    yield cluster
    for resource in KINDS:
        for obj in cluster.list(resource)["items"]:
            cluster.delete(resource, obj["metadata"]["name"], obj["metadata"].get("namespace"))


def create(cluster: Cluster, resource: Resource, name: str, **spec: Any) -> Object:
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "spec": spec}
    return cluster.create(resource, obj, DEFAULT_NAMESPACE if resource.namespaced else None)


def claim(**changes: Any) -> dict[str, Any]:
    holder = {"namespace": "production", "name": "web", "uid": "u", "ports": [{"protocol": "TCP", "port": 80}]}
    return {
        "address": "192.168.1.100",
        "pool": "default-pool",
        "state": "Bound",
        "since": "2026-01-02T03:04:05Z",
        "holders": [holder],
        **changes,
    }


@pytest.mark.parametrize(("section", "obj"), guide(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_configuration_of_the_guide_is_stored_as_written(cluster: Cluster, section: str, obj: Object) -> None:
    stored = cluster.create(RESOURCES[obj["kind"]], obj, DEFAULT_NAMESPACE)

    written = obj.get("spec", {})
    assert {key: stored.get("spec", {}).get(key) for key in written} == written


def test_a_pool_that_says_nothing_gets_the_defaults(cluster: Cluster) -> None:
    stored = create(cluster, IP_ADDRESS_POOLS, "plain", addresses=["192.168.1.0/24"])

    assert stored["spec"] == {
        "addresses": ["192.168.1.0/24"],
        "autoAssign": True,
        "avoidBuggyIPs": False,
        "shrinkPolicy": "Reject",
        "reuseDelaySeconds": 60,
    }


@pytest.mark.parametrize(
    "address", ["192.168.1.7", "192.168.1.0/30", "10.0.0.1 - 10.0.0.9", "2001:db8::1-2001:db8::f"]
)
def test_every_way_to_write_addresses_passes_the_schema(cluster: Cluster, address: str) -> None:
    stored = create(cluster, IP_ADDRESS_POOLS, "pool", addresses=[address], excludeAddresses=[address])

    assert stored["spec"]["addresses"] == stored["spec"]["excludeAddresses"] == [address]


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("spec.addresses", {}),
        ("spec.addresses", {"addresses": []}),
        ("spec.addresses", {"addresses": "192.168.1.0/24"}),
        ("spec.addresses", {"addresses": [""]}),
        ("spec.autoAssign", {"addresses": ["192.168.1.0/24"], "autoAssign": "no"}),
        ("spec.shrinkPolicy", {"addresses": ["192.168.1.0/24"], "shrinkPolicy": "Ignore"}),
        ("spec.reuseDelaySeconds", {"addresses": ["192.168.1.0/24"], "reuseDelaySeconds": -1}),
        ("spec.serviceAllocation.priority", {"addresses": ["192.168.1.0/24"], "serviceAllocation": {"priority": -1}}),
        (
            "spec.serviceAllocation.serviceSelectors.matchExpressions.operator",
            {
                "addresses": ["192.168.1.0/24"],
                "serviceAllocation": {"serviceSelectors": [{"matchExpressions": [{"key": "a", "operator": "Is"}]}]},
            },
        ),
    ],
)
def test_a_malformed_pool_is_refused_naming_the_field(cluster: Cluster, field: str, spec: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refused:
        create(cluster, IP_ADDRESS_POOLS, "bad", **spec)

    assert refused.value.status == 422
    # Only newer versions write the index of an array element into the path.
    assert field in re.sub(r"\[\d+\]", "", refused.value.message)


def test_an_advertisement_needs_no_spec(cluster: Cluster) -> None:
    obj = {
        "apiVersion": L2_ADVERTISEMENTS.api_version,
        "kind": L2_ADVERTISEMENTS.kind,
        "metadata": {"name": "all-pools"},
    }

    assert cluster.create(L2_ADVERTISEMENTS, obj, DEFAULT_NAMESPACE)["metadata"]["name"] == "all-pools"


@pytest.mark.parametrize("weight", [0, 101])
def test_a_preference_has_a_weight_from_1_to_100(cluster: Cluster, weight: int) -> None:
    preferred = [{"weight": weight, "preference": {"matchLabels": {"zone": "a"}}}]

    with pytest.raises(ApiError, match="weight"):
        create(cluster, L2_ADVERTISEMENTS, "bad", preferredNodeSelectors=preferred)


def test_a_pool_counts_more_addresses_than_32_bits_hold(cluster: Cluster) -> None:
    create(cluster, IP_ADDRESS_POOLS, "huge", addresses=["fd00::/64"])
    largest = 2**63 - 1

    patched = cluster.patch(
        IP_ADDRESS_POOLS, "huge", {"status": {"availableIPv6": largest}}, DEFAULT_NAMESPACE, subresource="status"
    )

    assert patched["status"]["availableIPv6"] == largest


@pytest.mark.parametrize("state", list(ClaimState))
def test_a_claim_is_stored_with_everything_the_code_writes(cluster: Cluster, state: ClaimState) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    holder = Holder(
        namespace="production",
        name="web",
        uid="4f0c",
        generate_name="we",
        ports=frozenset({Port("TCP", 80), Port("UDP", 53)}),
        sharing_key="web",
        local_traffic=True,
        backend_key="app=web",
        sharing_namespaces=frozenset({"*", "staging"}),
        since=write_time(now),
    )
    young = replace(holder, name="api", sharing_key="other")
    address = Address.parse("2001:db8::1")
    written = document_of(Claim(address=address, pool="default-pool", state=state, holders=(holder, young)), now=now)

    stored = cluster.create(IP_ALLOCATIONS, written)

    assert stored["spec"] == written["spec"]
    assert claim_from(stored).holders == (holder, young)


def test_a_claim_may_be_made_before_the_service_has_a_name(cluster: Cluster) -> None:
    holders = [{"namespace": "production", "generateName": "web-"}]

    stored = create(cluster, IP_ALLOCATIONS, "192.168.1.100", **claim(state="Tentative", holders=holders))

    assert stored["spec"]["holders"] == holders


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "Lost"},
        {"address": ""},
        {"holders": [{"name": "web"}]},
        {"holders": [{"namespace": "production"}]},
        {"holders": [{"namespace": "production", "name": "web", "ports": [{"protocol": "TCP", "port": 0}]}]},
        {"since": "yesterday"},
    ],
    ids=str,
)
def test_a_malformed_claim_is_refused(cluster: Cluster, changes: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refused:
        create(cluster, IP_ALLOCATIONS, "192.168.1.100", **claim(**changes))

    assert refused.value.status == 422


def test_listing_claims_tells_who_holds_which_address(
    cluster: Cluster, control_plane_with_kinds: ControlPlane
) -> None:
    create(cluster, IP_ALLOCATIONS, "192.168.1.100", **claim())
    announced = {"status": {"announcedBy": {"node": "node-2", "interfaces": ["eth0"]}}}
    cluster.patch(IP_ALLOCATIONS, "192.168.1.100", announced, subresource="status")

    header, row = control_plane_with_kinds.kubectl("get", "ipalloc").stdout.splitlines()

    assert re.split(r"\s\s+", header.strip()) == [
        "NAME",
        "ADDRESS",
        "POOL",
        "STATE",
        "NAMESPACE",
        "SERVICE",
        "SHARED WITH",
        "NODE",
        "AGE",
    ]
    assert row.split()[1:7] == ["192.168.1.100", "default-pool", "Bound", "production", "web", "node-2"]


def test_listing_claims_shows_all_that_share_an_address(
    cluster: Cluster, control_plane_with_kinds: ControlPlane
) -> None:
    holders = tuple(
        Holder(namespace=namespace, name=name, sharing_key="k", since="2026-01-02T03:04:05Z")
        for namespace, name in (("shop", "web"), ("shop", "api"), ("lab", "dns"))
    )
    shared = Claim(address=Address.parse("192.0.2.1"), pool="p", state=ClaimState.BOUND, holders=holders)
    cluster.create(IP_ALLOCATIONS, document_of(shared, now=datetime.now(UTC)))

    _, row = control_plane_with_kinds.kubectl("get", "ipalloc").stdout.splitlines()

    assert re.split(r"\s\s+", row)[4:7] == ["shop", "web", "shop/api, lab/dns"]


def test_listing_an_ipv6_pool_shows_its_ipv6_counts(cluster: Cluster, control_plane_with_kinds: ControlPlane) -> None:
    create(cluster, IP_ADDRESS_POOLS, "six", addresses=["2001:db8::/125"])
    counts = {"assignedIPv4": 0, "availableIPv4": 0, "assignedIPv6": 3, "availableIPv6": 4}
    cluster.patch(IP_ADDRESS_POOLS, "six", {"status": counts}, DEFAULT_NAMESPACE, subresource="status")

    header, row = control_plane_with_kinds.kubectl(
        "get", "ipaddresspools", "-n", DEFAULT_NAMESPACE
    ).stdout.splitlines()

    shown = dict(zip(re.split(r"\s\s+", header.strip()), re.split(r"\s\s+", row.strip()), strict=False))
    assert (shown["ASSIGNED IPV6"], shown["AVAILABLE IPV6"]) == ("3", "4")


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ({}, ["all", "all", "all"]),
        (
            {
                "ipAddressPools": ["a", "b"],
                "interfaces": ["eth0"],
                "nodeSelectors": [{"matchLabels": {"edge": "yes"}}, {"matchLabels": {"zone": "b"}}],
            },
            ["a, b", "eth0", "edge=yes or zone=b"],
        ),
    ],
    ids=["nothing", "everything"],
)
def test_listing_advertisements_says_all_where_nothing_is_restricted(
    cluster: Cluster, control_plane_with_kinds: ControlPlane, spec: dict[str, Any], shown: list[str]
) -> None:
    document = create(cluster, L2_ADVERTISEMENTS, "ad", **spec)
    status = {"status": columns(document)}
    cluster.patch(L2_ADVERTISEMENTS, "ad", status, DEFAULT_NAMESPACE, subresource="status")

    _, row = control_plane_with_kinds.kubectl(
        "get", "l2advertisements", "-n", DEFAULT_NAMESPACE, "-o", "wide"
    ).stdout.splitlines()

    assert [text for text in re.split(r"\s\s+", row) if text in shown] == shown


def test_listing_pools_starts_with_the_columns_of_metallb(
    cluster: Cluster, control_plane_with_kinds: ControlPlane
) -> None:
    create(cluster, IP_ADDRESS_POOLS, "plain", addresses=["192.168.1.0/24"])

    header, row = control_plane_with_kinds.kubectl(
        "get", "ipaddresspools", "-n", DEFAULT_NAMESPACE
    ).stdout.splitlines()

    assert header.startswith("NAME    AUTO ASSIGN   AVOID BUGGY IPS   ADDRESSES")
    assert row.split()[:4] == ["plain", "true", "false", '["192.168.1.0/24"]']
