"""Which change of a Service is judged: one that changes nothing a refusal is about is never refused for it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision
from allocator.objects.pool import pool_from
from allocator.rules.service import review_service
from allocator.rules.verdict import Rules, Verdict
from tests.unit.commands.manifests import Object, namespace, pool, service
from tests.unit.core.builders import claim

POOLS = (
    pool("main", "192.0.2.10-192.0.2.13"),
    pool("closed", "198.51.100.0/28", serviceAllocation={"namespaces": ["finance"]}),
)
HELD = claim("192.0.2.10", "main")

BAD: dict[str, Object] = {
    "not an address": service("web", annotations={"loadBalancerIPs": "nonsense"}),
    "annotation and field": service(
        "web", annotations={"loadBalancerIPs": "192.0.2.11"}, loadBalancerIP="192.0.2.11"
    ),
    "two of a family": service("web", annotations={"loadBalancerIPs": "192.0.2.11,192.0.2.12"}),
    "pool closed": service("web", annotations={"address-pool": "closed"}),
    "quota reached": service("web"),
    "held": service("web", annotations={"loadBalancerIPs": "192.0.2.10"}),
    "no such pool": service("web", annotations={"address-pool": "fuor"}),
    "bad consent": service("web", annotations={"admitlb.io/allow-shared-ip-namespaces": "Not A Namespace"}),
}
HEALS = {"held", "no such pool"}

UNRELATED: dict[str, Callable[[Object], Any]] = {
    "a label": lambda one: one["metadata"]["labels"].update(team="a"),
    "another's annotation": lambda one: one["metadata"]["annotations"].update({"example.com/x": "y"}),
    "a finalizer": lambda one: one["metadata"].update(finalizers=["example.com/x"]),
    "a port": lambda one: one["spec"]["ports"].append({"port": 443, "protocol": "TCP"}),
    "the selector": lambda one: one["spec"].update(selector={"app": "b"}),
    "nothing": lambda one: one.update(),
}


def review(new: Object, old: Object | None, *, strict: bool, quota: str | None) -> Verdict:
    ledger = Ledger()
    ledger.put(HELD)
    pools = [pool_from(document) for document in POOLS]

    def decided(request: ServiceRequest) -> Decision:
        return decide(request, pools=pools, ledger=ledger)

    return review_service(
        new, old, namespace=namespace("prod", quota=quota), rules=Rules(strict=strict), decide=decided
    )


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("change", UNRELATED)
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("shows", [(), ("192.0.2.13",)])
def test_an_unrelated_change_of_a_bad_service_is_admitted_with_the_reason(
    bad: str, change: str, strict: bool, shows: tuple[str, ...]
) -> None:
    old = deepcopy(BAD[bad])
    if shows:
        old["status"] = {"loadBalancer": {"ingress": [{"ip": ip} for ip in shows]}}
    quota = "0" if bad == "quota reached" else None
    created = review(BAD[bad], None, strict=strict, quota=quota)
    assert created.allowed is (bad in HEALS and not strict)
    new = deepcopy(old)
    UNRELATED[change](new)
    verdict = review(new, old, strict=strict, quota=quota)
    assert verdict.allowed, verdict.message
    if not (shows and bad == "quota reached"):
        assert any("prod/web" in warning for warning in verdict.warnings)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("bad", [name for name in BAD if name != "quota reached"])
def test_a_change_into_a_bad_request_is_judged(bad: str, strict: bool) -> None:
    verdict = review(BAD[bad], service("web"), strict=strict, quota=None)
    assert verdict.allowed is (bad in HEALS and not strict)


def test_a_change_from_one_bad_request_to_another_is_judged() -> None:
    first, second = (service("web", annotations={"loadBalancerIPs": ip}) for ip in ("nonsense", "rubbish"))
    assert not review(second, first, strict=False, quota=None).allowed
    held = service("web", annotations={"loadBalancerIPs": "192.0.2.10"})
    nowhere = service("web", annotations={"loadBalancerIPs": "203.0.113.1"})
    assert not review(nowhere, held, strict=True, quota=None).allowed


@pytest.mark.parametrize("strict", [False, True])
def test_a_change_that_mends_one_of_two_faults_is_admitted_with_the_other(strict: bool) -> None:
    both = service(
        "web", annotations={"loadBalancerIPs": "nonsense", "admitlb.io/allow-shared-ip-namespaces": "Not A Namespace"}
    )
    verdict = review(BAD["bad consent"], both, strict=strict, quota=None)
    assert verdict.allowed, verdict.message
    assert any("Not A Namespace" in warning for warning in verdict.warnings)
    assert not review(both, BAD["bad consent"], strict=strict, quota=None).allowed


def test_a_service_that_becomes_a_load_balancer_is_judged() -> None:
    plain = service("web", annotations={"loadBalancerIPs": "nonsense"}, type="ClusterIP")
    assert not review(BAD["not an address"], plain, strict=False, quota=None).allowed
