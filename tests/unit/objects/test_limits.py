"""Whatever a tenant writes: it is refused in a short message, or the claim that comes of it fits its schema."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.core import limits
from allocator.core.addresses import Address
from allocator.core.claims import Claim, ClaimState
from allocator.core.sharing import obstacle
from allocator.objects.document import InvalidDocument
from allocator.objects.ip_allocation import claim_from, document_of
from allocator.objects.service import identity_from, request_from
from allocator.offline.schemas import Schemas
from tests.unit.commands.manifests import Object, lint, pool, service
from tests.unit.manifests.documents import ROOT

MAIN = pool("main", "192.0.2.0/28")
SHARED = "metallb.io/allow-shared-ip"
KINDS = Schemas.shipped()
NAMESPACES = [f"n{number:03}".ljust(63, "x") for number in range(100)]


def problems_of(request: Any) -> list[str]:
    """What the API server would say of the claim that a request leads to."""
    claim = Claim(
        address=Address.parse("192.0.2.1"),
        pool="main",
        state=ClaimState.BOUND,
        holders=(request.as_holder(),),
    )
    document = document_of(claim, now=datetime.now(UTC))
    (kind,) = KINDS.versions(document)
    return [str(problem) for problem in kind.check(document).problems]


def ports(count: int) -> list[Object]:
    return [{"port": 1 + number, "protocol": "TCP"} for number in range(count)]


TOO_LONG: dict[str, Object] = {
    f"metadata.annotations[{SHARED}]: '{'k' * 74}…{'k' * 25}' has 254 characters; use 253 at most": service(
        "web", annotations={"allow-shared-ip": "k" * 254}
    ),
    f"metadata.name: '{'n' * 64}' has 64 characters; use 63 at most": service("n" * 64),
    "lists 101 namespaces; write at most 100, or * for all": service(
        "web", annotations={"admitlb.io/allow-shared-ip-namespaces": ",".join((*NAMESPACES, "x"))}
    ),
    "metadata.annotations[metallb.io/loadBalancerIPs]: lists 100001 addresses; name at most one IPv4": service(
        "web", annotations={"loadBalancerIPs": "x," * 100_000}
    ),
    "spec.ports: lists 4097 ports; use 4096 at most, or several Services": service("web", ports=ports(4097)),
}


@pytest.mark.parametrize("message", TOO_LONG)
def test_what_a_claim_cannot_hold_is_refused_at_admission_with_the_bound(message: str) -> None:
    ran = lint(MAIN, TOO_LONG[message])
    assert ran.codes == [200, 422]
    assert message in ran.messages[1]


@pytest.mark.parametrize(
    "document",
    [
        service("n" * 63, annotations={"allow-shared-ip": "k" * 253}),
        service("web", ports=ports(4096)),
        service("web", annotations={"admitlb.io/allow-shared-ip-namespaces": ",".join(NAMESPACES)}),
        service("web", externalTrafficPolicy="Local", selector={f"{'k' * 60}{n}": "v" * 63 for n in range(100)}),
    ],
)
def test_what_is_just_not_too_long_fits_a_claim(document: Object) -> None:
    assert problems_of(request_from(document)) == []


def test_the_schema_has_the_same_bounds() -> None:
    definition = yaml.safe_load((ROOT / "manifests" / "crds" / "admitlb.io_ipallocations.yaml").read_text())
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    holder = spec["holders"]["items"]["properties"]
    assert spec["sharingKey"]["maxLength"] == limits.SHARING_KEY_CHARACTERS
    assert spec["pool"]["maxLength"] == limits.POOL_CHARACTERS
    assert {name: holder[name]["maxLength"] for name in ("namespace", "name", "generateName")} == dict.fromkeys(
        ("namespace", "name", "generateName"), limits.NAME_CHARACTERS
    )
    assert holder["uid"]["maxLength"] == limits.UID_CHARACTERS
    assert holder["backendKey"]["maxLength"] == limits.BACKEND_KEY_CHARACTERS
    assert holder["sharingKey"]["maxLength"] == limits.SHARING_KEY_CHARACTERS
    assert holder["allowSharedIPNamespaces"]["maxItems"] == limits.SHARING_NAMESPACES
    assert holder["ports"]["maxItems"] == limits.PORTS
    assert spec["holders"]["maxItems"] == limits.HOLDERS


_texts = st.one_of(st.text("ab", max_size=4), st.integers(60, 5000).map("x".__mul__))
_services = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"namespace": st.just("prod")},
            optional={
                "name": _texts,
                "generateName": _texts,
                "uid": _texts,
                "annotations": st.dictionaries(st.just(SHARED), _texts),
            },
        ),
        "spec": st.fixed_dictionaries(
            {"type": st.just("LoadBalancer"), "externalTrafficPolicy": st.sampled_from(["Local", "Cluster"])},
            optional={
                "selector": st.dictionaries(_texts, _texts, max_size=3),
                "ports": st.lists(
                    st.fixed_dictionaries(
                        {"port": st.one_of(st.integers(), st.just(10**5000), st.just(80))},
                        optional={"protocol": st.sampled_from(["TCP", "UDP", "SCTP", "HTTP", ""])},
                    ),
                    max_size=3,
                ),
            },
        ),
    }
)


@given(_services)
@settings(max_examples=60, deadline=None)
def test_any_service_is_refused_shortly_or_its_claim_fits(document: Object) -> None:
    document["metadata"].setdefault("name", "web")
    try:
        request = request_from(document)
    except InvalidDocument as error:
        assert len(str(error)) < 4200
    else:
        assert problems_of(request) == []


def test_what_a_service_has_is_claimed_though_what_it_says_is_too_long() -> None:
    """As MetalLB may have left it: the claim that secures its address fits all the same, sharers stay sharers."""
    key = "k" * 5000
    one = service("one", annotations={"allow-shared-ip": key}, ports=ports(5000), shows=("192.0.2.1",))
    two = service("two", annotations={"allow-shared-ip": key}, shows=("192.0.2.1",))
    first, second = identity_from(one), identity_from(two)
    assert problems_of(first) == problems_of(second) == []
    assert first.sharing_key == second.sharing_key
    assert first.sharing_key != identity_from(service("x", annotations={"allow-shared-ip": key + "k"})).sharing_key


def sharer(number: int, ports: int, first: int) -> Any:
    protocols = ("TCP", "UDP", "SCTP")
    listed = [{"port": 1 + (first + n) % 65535, "protocol": protocols[(first + n) // 65535]} for n in range(ports)]
    return request_from(service(f"{'n' * 58}{number:05}", annotations={"allow-shared-ip": "k" * 253}, ports=listed))


def joined(count: int, ports: int) -> tuple[Claim, int]:
    """A claim that as many as may have joined, out of `count`."""
    holders: list[Any] = []
    for number in range(count):
        holder = sharer(number, ports, number * ports).as_holder()
        if obstacle(holders, holder, pool_allows=None) is None:
            holders.append(holder)
    claim = Claim(address=Address.parse("192.0.2.1"), pool="p" * 253, state=ClaimState.BOUND, holders=tuple(holders))
    return claim, len(holders)


@pytest.mark.parametrize(
    ("count", "ports", "may"), [(520, 1, limits.HOLDERS), (6, 4096, 4), (520, 40, limits.PORTS_ON_ADDRESS // 40)]
)
def test_as_many_share_an_address_as_its_object_can_list(count: int, ports: int, may: int) -> None:
    claim, holders = joined(count, ports)
    assert holders == may
    document = document_of(claim, now=datetime.now(UTC))
    assert len(json.dumps(document)) < 1_400_000
    (kind,) = KINDS.versions(document)
    assert kind.check({**document, "metadata": {"name": "192.0.2.1"}}).problems == ()


def test_who_cannot_join_for_that_reason_is_told() -> None:
    holders = [sharer(number, 4096, number * 4096).as_holder() for number in range(4)]
    found = obstacle(holders, sharer(9, 1, 65000).as_holder(), pool_allows=None)
    assert found is not None
    assert "at most 512 Services with 16384 ports share one" in found.held_text(Address.parse("192.0.2.1"))


def test_a_claim_of_before_there_were_limits_is_read_so_that_it_can_be_written() -> None:
    key = "k" * 300
    holder = {"namespace": "prod", "name": "web", "since": "2026-01-02T03:04:05Z", "backendKey": "b" * 2000}
    stored = {
        "metadata": {"name": "192.0.2.1", "resourceVersion": "7"},
        "spec": {
            "address": "192.0.2.1",
            "pool": "main",
            "state": "Bound",
            "sharingKey": key,
            "holders": [{**holder, "ports": ports(5000)}],
        },
    }
    claim = claim_from(stored)
    written = document_of(claim, now=datetime.now(UTC))
    (kind,) = KINDS.versions(written)
    assert kind.check(written).problems == ()
    assert claim.sharing_key == identity_from(service("web", annotations={"allow-shared-ip": key})).sharing_key
