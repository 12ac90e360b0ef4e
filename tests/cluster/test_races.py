"""Many clients, two webhooks and a pool too small for all; what is created while a component is away.

Components are killed under load by `tests/chaos`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.kube.client import NotFound
from allocator.kube.resource import SERVICES
from allocator.objects.names import ASSIGNED_IPS_ANNOTATION, DEFAULT_NAMESPACE, IP_ALLOCATIONS
from allocator.objects.service import request_from
from tests.cluster.churn import Churn
from tests.cluster.installation import Installation, ingress, pool, service
from tests.cluster.reserving import reserve
from tests.lab.waiting import wait_until

CLIENTS = 30
SECONDS = float(os.environ.get("ADMITLB_CHURN_SECONDS", "15"))
SIZE = 40


@pytest.fixture(scope="module")
def admitlb(installed: Installation) -> Installation:
    """AdmitLB with nothing held and one pool of 40 addresses."""
    installed.add_pool(pool("small", f"192.0.2.1-192.0.2.{SIZE}", reuseDelaySeconds=1))
    return installed


@pytest.fixture
def churn(admitlb: Installation) -> Iterator[Churn]:
    """Clients at work, stopped and cleaned up after in any case."""
    churn = Churn(admitlb.control_plane, clients=CLIENTS)
    churn.start()
    yield churn
    churn.stop()
    churn.finish()
    admitlb.release_all()


def assert_settled(admitlb: Installation) -> None:
    """Services, status and claims agree, and nobody waits beside a free address."""

    def disagreement() -> str:
        claims = {a: spec for a, spec in admitlb.claims().items() if spec["state"] != "Cooling"}
        services = [
            s for s in admitlb.cluster.list(SERVICES, "default")["items"] if s["spec"]["type"] == "LoadBalancer"
        ]
        shown: dict[str, str] = {}
        for one in services:
            for address in ingress(one):
                if address in shown:
                    return f"{address} is shown by {shown[address]} and {one['metadata']['name']}"
                shown[address] = one["metadata"]["name"]
        if set(shown) != set(claims):
            return f"only claimed: {set(claims) - set(shown)}; only shown: {set(shown) - set(claims)}"
        for address, spec in claims.items():
            if [holder["name"] for holder in spec["holders"]] != [shown[address]]:
                return f"{address} is shown by {shown[address]} and claimed by {spec['holders']}"
        waiting = [one["metadata"]["name"] for one in services if not ingress(one)]
        if waiting and len(claims) < SIZE:
            return f"{waiting} wait beside {SIZE - len(claims)} free addresses"
        return ""

    last = [""]

    def settled() -> bool:
        last[0] = disagreement()
        return not last[0]

    try:
        wait_until(settled, 30, "Services and claims agree")
    except AssertionError as error:
        raise AssertionError(last[0]) from error


@pytest.mark.timeout(SECONDS * 2 + 120)
def test_thirty_clients_on_a_pool_too_small_never_share_and_leak_nothing(admitlb: Installation, churn: Churn) -> None:
    threading.Event().wait(SECONDS)
    churn.stop()
    assert_settled(admitlb)
    churn.finish()
    print(f"{SECONDS:.0f} s: {dict(churn.counts)}, {churn.witness.assigned} assigned, {len(churn.errors)} errors")
    assert churn.errors == []
    assert churn.witness.duplicates == []
    assert churn.witness.moves == []
    assert churn.counts["created with an address"] > SIZE
    assert churn.counts["created, waiting"] > 0, "the pool was never exhausted, so nothing was tested"


def test_with_no_webhook_services_are_created_and_the_reconciler_assigns_them(admitlb: Installation) -> None:
    for number in range(2):
        admitlb.webhooks[number].process.sigkill()
    try:
        created = admitlb.cluster.create(SERVICES, service("orphan"), "default")
        assert ASSIGNED_IPS_ANNOTATION not in created["metadata"].get("annotations", {})
        shown = admitlb.wait_assigned("default", "orphan")
        assert admitlb.holders(shown[0]) == ["default/orphan"]
    finally:
        for number in range(2):
            admitlb.restart_webhook(number)
        admitlb.cluster.delete(SERVICES, "orphan", "default")


def test_the_api_server_killed_and_restarted_keeps_every_address(admitlb: Installation) -> None:
    names = [f"stay-{number}" for number in range(5)]
    for name in names:
        admitlb.cluster.create(SERVICES, service(name), "default")
    before = {name: admitlb.wait_assigned("default", name) for name in names}
    admitlb.control_plane.kill("kube-apiserver")
    admitlb.control_plane.start_api()
    admitlb.cluster.create(SERVICES, service("after"), "default")
    admitlb.wait_assigned("default", "after", timeout_seconds=40)
    assert {name: ingress(admitlb.service("default", name)) for name in names} == before
    for name in [*names, "after"]:
        admitlb.cluster.delete(SERVICES, name, "default")


def test_a_service_created_again_before_its_release_is_seen_keeps_others_off_its_new_ports(
    admitlb: Installation,
) -> None:
    # A sharing Service goes to the lowest address that is free or may be shared: none that cools may come free below.
    admitlb.release_all()
    key = {"metallb.io/allow-shared-ip": "again"}

    def create(name: str, port: int) -> str:
        created = admitlb.cluster.create(SERVICES, service(name, key, ports=[{"port": port}]), "default")
        return str(created["metadata"].get("annotations", {}).get(ASSIGNED_IPS_ANNOTATION))

    create("again", 80)
    [address] = admitlb.wait_assigned("default", "again")
    wait_until(lambda: admitlb.claims()[address]["state"] == "Bound", 10, "the claim is bound")
    for process in admitlb.reconcilers:
        process.sigkill()
    try:
        admitlb.cluster.delete(SERVICES, "again", "default")
        assert create("again", 81) == address
        assert create("joining-on-another", 82) == address
        assert create("in-the-way-of-the-new", 81) != address
        assert create("in-the-way-of-the-old", 80) != address
    finally:
        for number in range(2):
            admitlb.restart_reconciler(number)
    assert admitlb.wait_assigned("default", "again", timeout_seconds=40) == [address]
    assert admitlb.wait_assigned("default", "joining-on-another") == [address]
    for name in ("again", "joining-on-another", "in-the-way-of-the-new", "in-the-way-of-the-old"):
        admitlb.cluster.delete(SERVICES, name, "default")


def test_a_reservation_known_from_an_old_view_is_looked_at_before_it_is_promised(admitlb: Installation) -> None:
    cache = ClaimCache(admitlb.cluster, namespace=DEFAULT_NAMESPACE)
    cache.start()
    try:
        assert cache.wait_synced(10)
        claims = Allocator(admitlb.cluster, cache)
        asked = request_from({**service("promised"), "metadata": {"name": "promised", "namespace": "default"}})
        [first] = reserve(claims, asked).placements
        assert reserve(claims, asked).placements[0].claim == cache.claim_at(first.address), (
            "one request, one reservation"
        )
    finally:
        cache.stop()
    with suppress(NotFound):  # collected already, on a slow machine
        admitlb.cluster.delete(IP_ALLOCATIONS, first.address.claim_name)

    [second] = reserve(claims, asked).placements

    assert admitlb.holders(str(second.address)) == ["default/promised"]
    with suppress(NotFound):
        admitlb.cluster.delete(IP_ALLOCATIONS, second.address.claim_name)
