"""Exactly as many reservations as Services, and nobody's to abuse: repeats, failures, forgeries, floods."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from allocator.core.reservation_cap import MAX_UNBOUND_RESERVATIONS
from allocator.kube.client import AlreadyExists, ApiError, NotFound, Object
from allocator.kube.resource import NAMESPACES, SERVICES, Resource
from allocator.kube.timestamps import read_time
from allocator.objects.names import ASSIGNED_IPS_ANNOTATION, IP_ALLOCATIONS, QUOTA_ANNOTATION
from tests.cluster.installation import Installation, ingress, pool, service
from tests.cluster.second_webhook import LABEL, SecondWebhook
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until

QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
TENANTS = ("tenant", "team")
FIRST = "192.0.2.1"
SIZE = 80
LATE = 3
"""How many admissions a webhook may be behind the other one's reservations."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """AdmitLB on a control plane of this module's own; reservations age as they do in production."""
    with ControlPlane(find(), tmp_path_factory.mktemp("reservations")) as control_plane:
        installation = Installation(
            control_plane, tmp_path_factory.mktemp("logs"), first_port=20343, tentative_age_seconds=90
        )
        installation.add_pool(pool("main", f"{FIRST}-192.0.2.{SIZE}"))
        for name in TENANTS:
            installation.cluster.create(NAMESPACES, {"metadata": {"name": name, "labels": {LABEL: name}}})
        yield installation
        installation.stop()


@pytest.fixture
def admitlb(installed: Installation) -> Iterator[Installation]:
    """The same with nothing held, and namespaces `tenant` and `team` without Services and quotas."""
    yield installed
    cluster = installed.cluster
    for namespace in ("default", *TENANTS):
        for document in cluster.list(SERVICES, namespace)["items"]:
            if document["spec"]["type"] == "LoadBalancer":
                cluster.delete(SERVICES, document["metadata"]["name"], namespace)
    for namespace in TENANTS:
        cluster.patch(NAMESPACES, namespace, {"metadata": {"annotations": {QUOTA_ANNOTATION: None}}})
        for document in cluster.list(QUOTAS, namespace)["items"]:
            cluster.delete(QUOTAS, document["metadata"]["name"], namespace)
    # A Bound claim that somebody deletes goes on counting: that one is its Service's.
    wait_until(lambda: "Bound" not in {spec["state"] for spec in installed.claims().values()}, 30, "nothing is bound")
    for address in installed.claims():
        with suppress(NotFound):
            installed.cluster.delete(IP_ALLOCATIONS, address)
    wait_until(lambda: not installed.claims(), 30, "nothing is held")


def generated(prefix: str = "web-") -> Object:
    """A Service document without a name of its own."""
    document = service("web")
    document["metadata"] = {"generateName": prefix}
    return document


def annotated(document: Object) -> str | None:
    """The addresses a Service was admitted with."""
    found: str | None = (document["metadata"].get("annotations") or {}).get(ASSIGNED_IPS_ANNOTATION)
    return found


def reservations(admitlb: Installation, namespace: str) -> dict[str, str]:
    """Which addresses the namespace has reserved without a Service, and since when."""
    return {
        address: holder["since"]
        for address, spec in admitlb.claims().items()
        for holder in spec["holders"]
        if holder["namespace"] == namespace and not holder.get("uid")
    }


def held_in(admitlb: Installation, namespace: str) -> list[str]:
    """All that the namespace holds, reserved or bound."""
    return [
        address
        for address, spec in admitlb.claims().items()
        for holder in spec["holders"]
        if holder["namespace"] == namespace
    ]


def version_of(admitlb: Installation, address: str) -> str:
    """The IPAllocation's resourceVersion: it changes with every write."""
    return str(admitlb.cluster.get(IP_ALLOCATIONS, address)["metadata"]["resourceVersion"])


def limit_team(admitlb: Installation, quota: int) -> None:
    """Set the quota of namespace `team` to what one address uses up, and wait until both webhooks know it."""
    cluster = admitlb.cluster
    patch = {"metadata": {"annotations": {QUOTA_ANNOTATION: str(quota)}}}
    cluster.patch(NAMESPACES, "team", patch)
    cluster.create(SERVICES, service("first"), "team")
    admitlb.wait_assigned("team", "first")

    def denied() -> bool:
        try:
            cluster.create(SERVICES, service("more"), "team", dry_run=True)
        except ApiError as error:
            return error.status == 403
        return False

    wait_until(lambda: all(denied() for _ in range(8)), 20, "the quota is known")
    cluster.delete(SERVICES, "first", "team")
    wait_until(lambda: not held_in(admitlb, "team"), 10, "its only address is free again")
    wait_until(lambda: not any(denied() for _ in range(8)), 20, "that is known")


def calls_for_services(admitlb: Installation) -> int:
    """How often the API server has asked us about the creation of a Service."""
    text = admitlb.control_plane.kubectl("get", "--raw", "/metrics").stdout
    samples = re.findall(r"apiserver_admission_webhook_admission_duration_seconds_count\{(.*)\} (\d+)", text)
    return sum(
        int(count)
        for labels, count in samples
        if 'name="services.admitlb.io"' in labels and 'operation="CREATE"' in labels
    )


@pytest.mark.timeout(180)
def test_a_generated_name_that_is_asked_about_twice_reserves_once_also_under_a_quota_of_one(
    admitlb: Installation,
) -> None:
    limit_team(admitlb, 1)
    for _ in range(6):
        with SecondWebhook(admitlb.control_plane, namespace="team"):

            def asked_twice() -> Object | None:
                before = calls_for_services(admitlb)
                made = admitlb.cluster.create(SERVICES, generated(), "team")
                if LABEL in (made["metadata"].get("labels") or {}) and calls_for_services(admitlb) == before + 2:
                    return made
                # The API server learns of a new webhook a moment after it is registered.
                admitlb.cluster.delete(SERVICES, made["metadata"]["name"], "team")
                wait_until(lambda: not held_in(admitlb, "team"), 10, "the address is released")
                return None

            made = wait_until(asked_twice, 20, "a Service is created with both webhooks", retry_on=(ApiError,))
        address = annotated(made)
        assert address is not None, "denied or not reserved for in the second call"
        assert held_in(admitlb, "team") == [address]
        assert admitlb.wait_assigned("team", made["metadata"]["name"]) == [address]
        admitlb.cluster.delete(SERVICES, made["metadata"]["name"], "team")
        wait_until(lambda: not held_in(admitlb, "team"), 10, "the address is released")
        wait_until(partial(_room, admitlb), 10, "both webhooks know")


def _room(admitlb: Installation) -> bool:
    try:
        for _ in range(8):
            admitlb.cluster.create(SERVICES, service("room"), "team", dry_run=True)
    except ApiError:
        return False
    return True


def _refused(admitlb: Installation, document: Object) -> bool:
    try:
        admitlb.cluster.create(SERVICES, document, "tenant", dry_run=True)
    except ApiError as error:
        return "exceeded quota" in error.message
    return False


@pytest.mark.timeout(180)
@pytest.mark.parametrize("refused_by", ["validation", "ResourceQuota"])
def test_creates_that_always_fail_do_not_empty_a_pool_for_others(admitlb: Installation, refused_by: str) -> None:
    hopeless = generated("hopeless-")
    if refused_by == "validation":
        hopeless["spec"]["ports"] = [{"port": 80}, {"port": 81}]
    else:
        none = {"services.loadbalancers": "0"}
        admitlb.cluster.create(QUOTAS, {"metadata": {"name": "none"}, "spec": {"hard": none}}, "tenant")
        # What its controller would write, which does not run here.
        admitlb.cluster.patch(
            QUOTAS, "none", {"status": {"hard": none, "used": none}}, "tenant", subresource="status"
        )
        wait_until(partial(_refused, admitlb, generated("tried-")), 20, "the API server knows the quota")

    def fail(count: int) -> None:
        for _ in range(count):
            with pytest.raises(ApiError, match=r"spec.ports\[\d\].name|exceeded quota"):
                admitlb.cluster.create(SERVICES, hopeless, "tenant")

    fail(SIZE + 20)
    kept = reservations(admitlb, "tenant")
    assert len(kept) >= MAX_UNBOUND_RESERVATIONS, "nothing was reserved, so nothing is tested"
    assert len(kept) <= MAX_UNBOUND_RESERVATIONS + LATE
    others = admitlb.cluster.create(SERVICES, service("others"), "default")
    assert annotated(others) is not None
    assert admitlb.wait_assigned("default", "others") == [annotated(others)]

    def evictable() -> int:
        before = datetime.now(UTC) - timedelta(seconds=11)
        return sum(read_time(since) < before for since in reservations(admitlb, "tenant").values())

    wait_until(lambda: evictable() >= 10, 30, "some are old enough to go")
    oldest = min(reservations(admitlb, "tenant").values())
    fail(10)
    left = reservations(admitlb, "tenant")
    assert len(left) <= MAX_UNBOUND_RESERVATIONS + LATE
    assert oldest not in left.values(), "the oldest go first"
    assert annotated(admitlb.service("default", "others")) == ingress(admitlb.service("default", "others"))[0]


@pytest.mark.timeout(180)
def test_forty_services_at_once_all_get_an_address_though_fewer_may_be_reserved(admitlb: Installation) -> None:
    for process in admitlb.reconcilers:
        process.sigkill()
    try:
        with ThreadPoolExecutor(8) as clients:
            made = list(
                clients.map(
                    lambda number: admitlb.cluster.create(SERVICES, service(f"chart-{number}"), "team"), range(40)
                )
            )
        reserved = [address for one in made if (address := annotated(one)) is not None]
        assert MAX_UNBOUND_RESERVATIONS - 8 <= len(reserved) < 40
        assert len(reservations(admitlb, "team")) == len(reserved)
    finally:
        for number in range(2):
            admitlb.restart_reconciler(number)
    shown = [admitlb.wait_assigned("team", f"chart-{number}", timeout_seconds=60) for number in range(40)]
    assert len({address for one in shown for address in one}) == 40
    for one, addresses in zip(made, shown, strict=True):
        assert annotated(one) in (None, addresses[0])


def test_a_create_for_a_bound_service_changes_nothing(admitlb: Installation) -> None:
    cluster = admitlb.cluster
    uid = cluster.create(SERVICES, service("web", {"metallb.io/allow-shared-ip": "k"}), "default")["metadata"]["uid"]
    [address] = admitlb.wait_assigned("default", "web")
    wait_until(lambda: admitlb.claims()[address]["state"] == "Bound", 10, "the claim is bound")
    before, version = admitlb.claims(), version_of(admitlb, address)
    wide = service("web", {"metallb.io/allow-shared-ip": "k"}, ports=[{"port": 443, "protocol": "TCP"}])
    elsewhere = service("web", {"metallb.io/loadBalancerIPs": f"192.0.2.{SIZE}"})
    for again in (wide, elsewhere, service("web")):
        with pytest.raises(AlreadyExists):
            cluster.create(SERVICES, again, "default")
        for replica in admitlb.webhooks:
            forged = {**again, "metadata": {**again["metadata"], "uid": "forged"}}
            assert admitlb.ask(replica, forged)["allowed"]
    assert admitlb.claims() == before
    assert version_of(admitlb, address) == version
    assert before[address]["holders"][0]["uid"] == uid


def test_a_replace_keeps_the_uid_on_the_claim(admitlb: Installation) -> None:
    cluster = admitlb.cluster
    created = cluster.create(SERVICES, service("web"), "default")
    [address] = admitlb.wait_assigned("default", "web")
    wait_until(lambda: admitlb.claims()[address]["state"] == "Bound", 10, "the claim is bound")
    version = cluster.list(IP_ALLOCATIONS)["metadata"]["resourceVersion"]

    # What `kubectl replace -f` sends: of what the API server has added only the version.
    changed = service("web", ports=[{"port": 81, "protocol": "TCP"}], clusterIP=created["spec"]["clusterIP"])
    stored = admitlb.service("default", "web")["metadata"]
    changed["metadata"] |= {"namespace": "default", "resourceVersion": stored["resourceVersion"]}
    cluster.replace(SERVICES, changed)
    wait_until(lambda: admitlb.claims()[address]["holders"][0]["ports"][0]["port"] == 81, 10, "the port is recorded")

    seen = [
        obj["spec"]["holders"][0].get("uid")
        for kind, obj in cluster.watch(IP_ALLOCATIONS, resource_version=version, timeout_seconds=2)
        if kind == "MODIFIED"
    ]
    assert seen == [created["metadata"]["uid"]], "one write, which records the port and keeps the uid"


@pytest.mark.timeout(180)
def test_a_quota_holds_for_what_is_shown_whichever_webhook_admitted_it(admitlb: Installation) -> None:
    limit_team(admitlb, 1)
    for round_number in range(5):
        names = [f"pinned-{round_number}-{number}" for number in range(4)]

        def create(name: str) -> None:
            address = f"192.0.2.{10 + int(name[-1])}"
            with suppress(ApiError):
                admitlb.cluster.create(SERVICES, service(name, {"metallb.io/loadBalancerIPs": address}), "team")

        with ThreadPoolExecutor(4) as clients:
            list(clients.map(create, names))

        def shown() -> list[str]:
            return [name for one in admitlb.cluster.list(SERVICES, "team")["items"] for name in ingress(one)]

        def settled() -> bool:
            assert len(shown()) <= 1
            return len(shown()) == 1 and len(held_in(admitlb, "team")) == 1

        wait_until(settled, 15, "one has its address, and nothing else is held")
        for document in admitlb.cluster.list(SERVICES, "team")["items"]:
            admitlb.cluster.delete(SERVICES, document["metadata"]["name"], "team")
        wait_until(lambda: not held_in(admitlb, "team"), 15, "all is released")
        wait_until(partial(_room, admitlb), 10, "both webhooks know")
