"""What tools make of AdmitLB's kinds at every stage: kstatus, Flux with expressions, Argo CD with scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from allocator.kube.client import NotFound, Object
from allocator.kube.resource import SERVICES, Resource
from allocator.kube.timestamps import write_time
from allocator.objects.names import (
    BFD_PROFILES,
    BGP_ADVERTISEMENTS,
    BGP_PEERS,
    COMMUNITIES,
    CONFIGURATION_STATES,
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
    IP_ALLOCATIONS,
    L2_ADVERTISEMENTS,
    SERVICE_L2_STATUSES,
)
from tests.cluster.gitops.argocd_health import Code, Health, HealthChecks
from tests.cluster.gitops.flux_health import HealthCheckExpressions
from tests.cluster.gitops.kstatus import Status, status_of
from tests.cluster.gitops.objects import documents
from tests.cluster.gitops.site import EXAMPLE, OVERLAYS
from tests.cluster.installation import ingress, pool, service
from tests.cluster.reconciling import Reconciling, advertisement, conditions
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until
from tests.unit.commands.bgp_manifests import bgp_advertisement, community, peer, profile

ARGOCD = HealthChecks(documents((OVERLAYS / "argocd" / "health-checks" / "argocd-cm.yaml").read_text())[0]["data"])
NETWORK, APPS = (
    HealthCheckExpressions.of(documents((EXAMPLE / "clusters" / "flux" / f"{name}.yaml").read_text())[0])
    for name in ("network", "apps")
)
FLUX = HealthCheckExpressions((*NETWORK.expressions, *APPS.expressions))

WAITING = (Status.IN_PROGRESS, Status.IN_PROGRESS, Code.PROGRESSING)
DONE = (Status.CURRENT, Status.CURRENT, Code.HEALTHY)
BROKEN = (Status.FAILED, Status.FAILED, Code.DEGRADED)
UNSEEN = (Status.CURRENT, Status.IN_PROGRESS, Code.PROGRESSING)
"""kstatus takes what has no conditions yet for finished; whoever ships expressions or scripts can do better."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reconciling]:
    """Our kinds and one reconciler, which leads. No webhook: anything can be stored."""
    with ControlPlane(find(), tmp_path_factory.mktemp("health")) as control_plane:
        reconciling = Reconciling(control_plane, tmp_path_factory.mktemp("logs"))
        reconciling.start().wait_leading()
        yield reconciling
        reconciling.stop()


@pytest.fixture
def admitlb(installed: Reconciling) -> Iterator[Reconciling]:
    yield installed
    installed.clear()


def seen_as(obj: Object) -> tuple[Status, Status, Code]:
    """Return what kstatus, Flux with our expressions and Argo CD with our scripts make of an object."""
    return status_of(obj), FLUX.status_of(obj), ARGOCD.of(obj).status


def ready(obj: Object) -> Object:
    """Return the condition Ready; nothing where there is none yet."""
    return conditions(obj).get("Ready", {})


def when(admitlb: Reconciling, kind: Resource, name: str, holds: Callable[[Object], object]) -> Object:
    """Wait until the object is as described, and return it with the type that lists leave out."""

    def found() -> Object | None:
        namespace = "default" if kind is SERVICES else DEFAULT_NAMESPACE
        obj = admitlb.cluster.get(kind, name, namespace if kind.namespaced else None)
        return obj if holds(obj) else None

    return wait_until(found, 30, f"{kind.kind} {name} is as expected", retry_on=(NotFound,))


def observed(obj: Object) -> bool:
    """Tell whether the latest change has been answered for."""
    return bool((obj.get("status") or {}).get("observedGeneration") == obj["metadata"]["generation"])


def create(admitlb: Reconciling, kind: Resource, obj: Object) -> Object:
    """Create the object and return it as it is in that instant."""
    namespace = "default" if kind is SERVICES else DEFAULT_NAMESPACE
    return admitlb.cluster.create(kind, obj, namespace if kind.namespaced else None)


class TestKindsForBgp:
    @pytest.mark.parametrize(
        ("kind", "document", "status"),
        [
            (BGP_PEERS, peer(), Code.PROGRESSING),
            (BGP_PEERS, peer(peerASN=None), Code.DEGRADED),
            (BGP_ADVERTISEMENTS, bgp_advertisement(), Code.PROGRESSING),
            (BGP_ADVERTISEMENTS, bgp_advertisement(communities=["1:65536"]), Code.DEGRADED),
            (BFD_PROFILES, profile(), Code.HEALTHY),
            (BFD_PROFILES, profile("p" * 64), Code.DEGRADED),
            (COMMUNITIES, community(blue="64512:1"), Code.HEALTHY),
            (COMMUNITIES, community(blue="64512"), Code.DEGRADED),
        ],
        ids=lambda value: value.kind if isinstance(value, Resource) else getattr(value, "value", ""),
    )
    def test_argo_cd_shows_what_the_conditions_say(
        self, admitlb: Reconciling, kind: Resource, document: Object, status: Code
    ) -> None:
        name = document["metadata"]["name"]
        assert ARGOCD.of(create(admitlb, kind, document)).status is Code.PROGRESSING
        found = when(admitlb, kind, name, observed)
        assert ARGOCD.of(found) == Health(status, ready(found)["message"])
        assert (
            status_of(found)
            is {
                Code.PROGRESSING: Status.IN_PROGRESS,
                Code.DEGRADED: Status.FAILED,
                Code.HEALTHY: Status.CURRENT,
            }[status]
        )
        admitlb.cluster.delete(kind, name, DEFAULT_NAMESPACE)


class TestPools:
    def test_a_sound_one_goes_from_unseen_to_done(self, admitlb: Reconciling) -> None:
        assert seen_as(create(admitlb, IP_ADDRESS_POOLS, pool("fine", "192.0.2.0/28"))) == UNSEEN
        assert seen_as(when(admitlb, IP_ADDRESS_POOLS, "fine", observed)) == DONE

    def test_a_change_is_in_progress_until_it_is_observed(self, admitlb: Reconciling) -> None:
        create(admitlb, IP_ADDRESS_POOLS, pool("fine", "192.0.2.0/28"))
        when(admitlb, IP_ADDRESS_POOLS, "fine", observed)
        wider = {"spec": {"addresses": ["192.0.2.0/27"]}}
        assert seen_as(admitlb.cluster.patch(IP_ADDRESS_POOLS, "fine", wider, DEFAULT_NAMESPACE)) == WAITING
        assert seen_as(when(admitlb, IP_ADDRESS_POOLS, "fine", observed)) == DONE

    def test_one_that_cannot_work_has_failed_until_it_is_mended(self, admitlb: Reconciling) -> None:
        create(admitlb, IP_ADDRESS_POOLS, pool("odd", "192.0.2.9-192.0.2.1"))
        broken = when(admitlb, IP_ADDRESS_POOLS, "odd", observed)
        assert seen_as(broken) == BROKEN
        assert "spec.addresses[0]" in ARGOCD.of(broken).message
        mended = {"spec": {"addresses": ["192.0.2.1-192.0.2.9"]}}
        admitlb.cluster.patch(IP_ADDRESS_POOLS, "odd", mended, DEFAULT_NAMESPACE)
        assert seen_as(when(admitlb, IP_ADDRESS_POOLS, "odd", observed)) == DONE

    def test_one_that_overlaps_has_failed(self, admitlb: Reconciling) -> None:
        create(admitlb, IP_ADDRESS_POOLS, pool("first", "192.0.2.0/28"))
        when(admitlb, IP_ADDRESS_POOLS, "first", observed)
        create(admitlb, IP_ADDRESS_POOLS, pool("second", "192.0.2.8-192.0.2.20"))
        assert seen_as(when(admitlb, IP_ADDRESS_POOLS, "second", observed)) == BROKEN
        assert seen_as(when(admitlb, IP_ADDRESS_POOLS, "first", observed)) == DONE

    def test_one_that_drains_is_done_and_says_so(self, admitlb: Reconciling) -> None:
        create(admitlb, IP_ADDRESS_POOLS, pool("draining", "192.0.2.1-192.0.2.2", shrinkPolicy="Drain"))
        create(admitlb, SERVICES, service("web"))
        when(admitlb, SERVICES, "web", ingress)
        smaller = {"spec": {"addresses": ["192.0.2.2"]}}
        admitlb.cluster.patch(IP_ADDRESS_POOLS, "draining", smaller, DEFAULT_NAMESPACE)
        found = when(
            admitlb,
            IP_ADDRESS_POOLS,
            "draining",
            lambda obj: ready(obj).get("reason") == "Draining",
        )
        assert seen_as(found) == DONE
        assert "192.0.2.1 (default/web)" in ARGOCD.of(found).message

    def test_one_that_is_being_deleted_is_terminating(self, admitlb: Reconciling) -> None:
        kept = pool("kept", "192.0.2.0/28")
        kept["metadata"]["finalizers"] = ["example.com/kept"]
        create(admitlb, IP_ADDRESS_POOLS, kept)
        when(admitlb, IP_ADDRESS_POOLS, "kept", observed)
        admitlb.cluster.delete(IP_ADDRESS_POOLS, "kept", DEFAULT_NAMESPACE)
        assert status_of(admitlb.cluster.get(IP_ADDRESS_POOLS, "kept", DEFAULT_NAMESPACE)) is Status.TERMINATING
        released = {"metadata": {"finalizers": None}}
        admitlb.cluster.patch(IP_ADDRESS_POOLS, "kept", released, DEFAULT_NAMESPACE)


class TestAdvertisements:
    def test_one_waits_for_its_pool_and_goes_on_when_the_pool_comes(self, admitlb: Reconciling) -> None:
        unseen = create(admitlb, L2_ADVERTISEMENTS, advertisement("edge", ipAddressPools=["later"]))
        assert seen_as(unseen) == UNSEEN
        assert seen_as(when(admitlb, L2_ADVERTISEMENTS, "edge", conditions)) == WAITING
        create(admitlb, IP_ADDRESS_POOLS, pool("later", "192.0.2.0/28"))
        ready = when(
            admitlb, L2_ADVERTISEMENTS, "edge", lambda obj: conditions(obj).get("Ready", {}).get("status") == "True"
        )
        assert seen_as(ready) == DONE

    def test_one_that_cannot_work_has_failed(self, admitlb: Reconciling) -> None:
        create(admitlb, L2_ADVERTISEMENTS, advertisement("twice", ipAddressPools=["a", "a"]))
        assert seen_as(when(admitlb, L2_ADVERTISEMENTS, "twice", conditions)) == BROKEN


class TestConfigurationState:
    def test_it_fails_with_the_configuration_and_recovers_with_it(self, admitlb: Reconciling) -> None:
        valid = when(admitlb, CONFIGURATION_STATES, "controller", lambda obj: obj["status"]["result"] == "Valid")
        assert seen_as(valid) == DONE
        create(admitlb, IP_ADDRESS_POOLS, pool("odd", "192.0.2.9-192.0.2.1"))
        invalid = when(admitlb, CONFIGURATION_STATES, "controller", lambda obj: obj["status"]["result"] == "Invalid")
        assert seen_as(invalid) == BROKEN
        assert ARGOCD.of(invalid).message.startswith("IPAddressPool odd: ")
        admitlb.cluster.delete(IP_ADDRESS_POOLS, "odd", DEFAULT_NAMESPACE)
        again = when(admitlb, CONFIGURATION_STATES, "controller", lambda obj: obj["status"]["result"] == "Valid")
        assert seen_as(again) == DONE
        assert set(conditions(again)) == {"poolReconcilerValid", "Ready"}


class TestServices:
    def test_one_without_an_address_is_waited_for(self, admitlb: Reconciling) -> None:
        create(admitlb, SERVICES, service("web"))
        pending = when(admitlb, SERVICES, "web", conditions)
        # kstatus by itself does not look at the address, which is why the example brings expressions.
        assert seen_as(pending) == (Status.CURRENT, Status.IN_PROGRESS, Code.PROGRESSING)
        create(admitlb, IP_ADDRESS_POOLS, pool("fine", "192.0.2.0/28"))
        assert seen_as(when(admitlb, SERVICES, "web", ingress)) == DONE

    def test_one_that_contradicts_itself_has_failed_for_flux(self, admitlb: Reconciling) -> None:
        create(admitlb, SERVICES, service("bad", {"metallb.io/loadBalancerIPs": "nonsense"}))
        found = when(admitlb, SERVICES, "bad", conditions)
        # Argo CD's own rule for Services knows no failure.
        assert seen_as(found) == (Status.CURRENT, Status.FAILED, Code.PROGRESSING)

    def test_one_that_wants_no_address_is_done(self, admitlb: Reconciling) -> None:
        assert seen_as(create(admitlb, SERVICES, service("inside", type="ClusterIP"))) == DONE


class TestAllocations:
    """What Argo CD shows of claims; nobody has them in Git, so that Flux never waits for one."""

    def test_a_reservation_is_in_progress(self, admitlb: Reconciling) -> None:
        now = write_time(datetime.now(UTC))
        spec = {
            "address": "192.0.2.1",
            "pool": "fine",
            "state": "Tentative",
            "since": now,
            "holders": [{"namespace": "default", "name": "web", "since": now}],
        }
        named = {"apiVersion": IP_ALLOCATIONS.api_version, "kind": IP_ALLOCATIONS.kind}
        reserved = create(admitlb, IP_ALLOCATIONS, {**named, "metadata": {"name": "192.0.2.1"}, "spec": spec})
        assert ARGOCD.of(reserved).status is Code.PROGRESSING
        # Collected already, on a slow machine.
        with suppress(NotFound):
            admitlb.cluster.delete(IP_ALLOCATIONS, "192.0.2.1")

    def test_an_address_in_use_is_healthy_whoever_announces_it(self, admitlb: Reconciling) -> None:
        create(admitlb, IP_ADDRESS_POOLS, pool("fine", "192.0.2.1", reuseDelaySeconds=2))
        create(admitlb, SERVICES, service("web"))
        bound = when(admitlb, IP_ALLOCATIONS, "192.0.2.1", lambda obj: obj["spec"]["state"] == "Bound")
        assert ARGOCD.of(bound).message == "held; no node announces it"
        announced = show(admitlb, announcedBy={"node": "node-1"})
        assert ARGOCD.of(announced).message == "held; announced by node-1"
        admitlb.cluster.delete(SERVICES, "web", "default")
        cooling = when(admitlb, IP_ALLOCATIONS, "192.0.2.1", lambda obj: obj["spec"]["state"] == "Cooling")
        assert (
            ARGOCD.of(cooling).message == f"released; kept for its last holder until {cooling['spec']['coolUntil']}"
        )
        assert {ARGOCD.of(obj).status for obj in (bound, announced, cooling)} == {Code.HEALTHY}

    def test_an_address_that_another_host_answers_for_is_degraded(self, admitlb: Reconciling) -> None:
        create(admitlb, IP_ADDRESS_POOLS, pool("fine", "192.0.2.1"))
        create(admitlb, SERVICES, service("web"))
        when(admitlb, IP_ALLOCATIONS, "192.0.2.1", lambda obj: obj["spec"]["state"] == "Bound")
        conflict = {
            "type": "AddressConflict",
            "status": "True",
            "reason": "ForeignClaim",
            "message": "02:00:00:00:00:99 claims it on eth0",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }
        found = ARGOCD.of(show(admitlb, conditions=[conflict]))
        assert (found.status, found.message) == (Code.DEGRADED, "02:00:00:00:00:99 claims it on eth0")


class TestServiceStatuses:
    def test_one_is_healthy_once_a_node_announces(self, admitlb: Reconciling) -> None:
        named = {"apiVersion": SERVICE_L2_STATUSES.api_version, "kind": SERVICE_L2_STATUSES.kind}
        empty = create(admitlb, SERVICE_L2_STATUSES, {**named, "metadata": {"name": "l2-1"}})
        assert ARGOCD.of(empty).status is Code.PROGRESSING
        status = {"status": {"node": "node-1", "serviceName": "web", "serviceNamespace": "default"}}
        told = admitlb.cluster.patch(SERVICE_L2_STATUSES, "l2-1", status, DEFAULT_NAMESPACE)
        assert (ARGOCD.of(told).status, ARGOCD.of(told).message) == (Code.HEALTHY, "announced by node-1")
        admitlb.cluster.delete(SERVICE_L2_STATUSES, "l2-1", DEFAULT_NAMESPACE)


def show(admitlb: Reconciling, **status: object) -> Object:
    """Write a claim's status as a speaker does."""
    return admitlb.cluster.patch(IP_ALLOCATIONS, "192.0.2.1", {"status": status}, subresource="status")
