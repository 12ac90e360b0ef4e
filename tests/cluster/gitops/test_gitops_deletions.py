"""Objects are deleted and come back by the calls of Helm, kubectl and Flux: what becomes of the addresses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from allocator.kube.client import ApiError, NotFound, Object
from allocator.kube.resource import NAMESPACES, SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS
from tests.cluster.gitops.flux import Kustomization, ReconciliationFailed
from tests.cluster.gitops.objects import documents, render
from tests.cluster.gitops.site import OVERLAYS, Site
from tests.cluster.webhook_replica import PODS

VIP = "198.51.100.10"
RANGE = "198.51.100.10-198.51.100.19"
FINALIZER = "example.com/hold"


def pool(**spec: object) -> Object:
    """The pool of these tests."""
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "lan", "namespace": DEFAULT_NAMESPACE},
        "spec": {"addresses": [RANGE], "reuseDelaySeconds": 0, **spec},
    }


ADVERTISEMENT = documents("""
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: lan, namespace: metallb-system}
spec: {ipAddressPools: [lan]}
""")[0]
WEB = documents("""
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{name: http, port: 80, protocol: TCP}]}
""")[0]
SHOP = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
USERS = [SHOP, pool(), ADVERTISEMENT, WEB]


@pytest.fixture(scope="module")
def git(site: Site) -> list[Object]:
    """AdmitLB itself."""
    return render(site.control_plane, OVERLAYS / "flux")


@pytest.fixture(scope="module")
def admitlb(site: Site, git: list[Object]) -> Kustomization:
    """What keeps AdmitLB."""
    kustomization = Kustomization(site.api, "admitlb")
    kustomization.reconcile(git)
    kustomization.wait_ready(site.pods.attend)
    return kustomization


@pytest.fixture
def users(site: Site, admitlb: Kustomization) -> Iterator[Kustomization]:
    """What keeps the pool and the Service, which has its address."""
    assert admitlb.inventory
    kustomization = Kustomization(site.api, "users")
    kustomization.reconcile(USERS)
    site.wait_assigned("shop", "web")
    yield kustomization
    site.remove_users_part()


def kubectl(site: Site, *arguments: str, obj: Object | None = None) -> str:
    """Return what kubectl says, of an error too."""
    stdin = yaml.safe_dump(obj) if obj is not None else ""
    done = site.control_plane.kubectl(*arguments, *(("-f", "-") if obj else ()), stdin=stdin, check=False)
    return done.stdout + done.stderr


def kept(site: Site, before: Object) -> bool:
    """Whether the Service has had its address all the while: the claim is the very same object, and bound."""
    after = site.cluster.get(IP_ALLOCATIONS, VIP)
    return (
        site.addresses("shop", "web") == [VIP]
        and after["metadata"]["uid"] == before["metadata"]["uid"]
        and after["spec"]["state"] == "Bound"
    )


def drain(site: Site) -> None:
    site.cluster.patch(IP_ADDRESS_POOLS, "lan", {"spec": {"shrinkPolicy": "Drain"}}, DEFAULT_NAMESPACE)


class TestHelmHook:
    """A pool with `helm.sh/hook`: by default every upgrade deletes it and creates it anew (before-hook-creation)."""

    def upgrade(self, site: Site, hook: Object) -> None:
        site.api.remove(hook)
        site.wait(lambda: site.api.live(hook) is None, 10, "the hook of the release before is gone")
        site.cluster.create(IP_ADDRESS_POOLS, hook, DEFAULT_NAMESPACE)

    def test_of_a_pool_in_use_the_upgrade_fails_and_nothing_changes(self, site: Site, users: Kustomization) -> None:
        claim = site.cluster.get(IP_ALLOCATIONS, VIP)
        uid = site.api.live(pool())["metadata"]["uid"]  # type: ignore[index]
        with pytest.raises(ApiError, match=rf"its deletion takes away {VIP} \(shop/web\).*Drain"):
            self.upgrade(site, pool())
        assert site.api.live(pool())["metadata"]["uid"] == uid  # type: ignore[index]
        assert kept(site, claim)
        assert users.inventory

    def test_of_one_that_drains_every_upgrade_succeeds_and_every_service_keeps_its_address(
        self, site: Site, users: Kustomization
    ) -> None:
        claim = site.cluster.get(IP_ALLOCATIONS, VIP)
        drain(site)
        for _ in range(2):
            self.upgrade(site, pool(shrinkPolicy="Drain"))
            site.wait_settled(quiet_seconds=0.8)
            assert kept(site, claim)
        assert users.inventory

    def test_one_that_goes_with_the_hooks_success_leaves_services_what_they_have(
        self, site: Site, users: Kustomization
    ) -> None:
        claim = site.cluster.get(IP_ALLOCATIONS, VIP)
        drain(site)
        self.upgrade(site, pool(shrinkPolicy="Drain"))
        site.api.remove(pool())
        late = {**WEB, "metadata": {"name": "late", "namespace": "shop"}}
        # Admission sees that the pool is gone a moment later.
        site.wait_settled(quiet_seconds=0.8)
        site.cluster.create(SERVICES, late, "shop")
        site.wait_settled(quiet_seconds=0.8)
        assert kept(site, claim)
        assert site.addresses("shop", "late") == []
        users.reconcile(USERS)
        assert site.wait_assigned("shop", "late") != [VIP]
        assert kept(site, claim)


class TestReplaceForce:
    """`kubectl replace --force` deletes and creates."""

    def test_a_pool_in_use_is_not_replaced(self, site: Site, users: Kustomization) -> None:
        claim = site.cluster.get(IP_ALLOCATIONS, VIP)
        said = kubectl(site, "replace", "--force", obj=pool(autoAssign=False))
        assert f"its deletion takes away {VIP} (shop/web)" in said
        live = site.api.live(pool())
        assert live is not None
        assert live["spec"]["autoAssign"] is True
        assert kept(site, claim)
        assert users.inventory

    def test_one_that_drains_is_and_nobody_loses_an_address(self, site: Site, users: Kustomization) -> None:
        claim = site.cluster.get(IP_ALLOCATIONS, VIP)
        drain(site)
        assert "lan replaced" in kubectl(site, "replace", "--force", obj=pool(autoAssign=False))
        assert "lan replaced" in kubectl(site, "replace", "--force", obj=ADVERTISEMENT)
        site.wait_settled(quiet_seconds=0.8)
        assert kept(site, claim)
        assert users.inventory


class TestStuckNamespaces:
    """Somebody's finalizer keeps an object, and with it its namespace, in deletion."""

    @pytest.mark.usefixtures("users")
    def test_a_service_in_deletion_keeps_its_address_until_it_is_gone(self, site: Site) -> None:
        claim = site.cluster.get(IP_ALLOCATIONS, VIP)
        hold = {"metadata": {"finalizers": [FINALIZER]}}
        site.cluster.patch(SERVICES, "web", hold, "shop")
        site.cluster.delete(NAMESPACES, "shop")
        site.wait(
            lambda: "deletionTimestamp" in site.cluster.get(SERVICES, "web", "shop")["metadata"],
            30,
            "the Service is in deletion",
        )
        site.wait_settled(quiet_seconds=0.8)
        assert kept(site, claim)
        site.cluster.patch(SERVICES, "web", {"metadata": {"finalizers": None}}, "shop")
        site.wait(lambda: VIP not in site.holders(), 30, "the address is released")
        site.wait(lambda: _gone(site, "shop"), 60, "the namespace is gone")

    def test_a_pool_in_deletion_gives_nobody_new_an_address_and_can_go(
        self, site: Site, users: Kustomization
    ) -> None:
        claim = site.cluster.get(IP_ALLOCATIONS, VIP)
        drain(site)
        hold = {"metadata": {"finalizers": [FINALIZER]}}
        site.cluster.patch(IP_ADDRESS_POOLS, "lan", hold, DEFAULT_NAMESPACE)
        site.cluster.delete(IP_ADDRESS_POOLS, "lan", DEFAULT_NAMESPACE)
        site.wait_settled(quiet_seconds=0.8)
        late = {**WEB, "metadata": {"name": "late", "namespace": "shop"}}
        site.cluster.create(SERVICES, late, "shop")
        site.wait_settled(quiet_seconds=0.8)
        assert kept(site, claim)
        assert site.addresses("shop", "late") == []
        site.cluster.patch(IP_ADDRESS_POOLS, "lan", {"metadata": {"finalizers": None}}, DEFAULT_NAMESPACE)
        site.wait(lambda: site.api.live(pool()) is None, 10, "the pool is gone")
        assert kept(site, claim)
        users.reconcile(USERS)
        assert site.wait_assigned("shop", "late")


class TestPrune:
    def test_of_everything_of_the_users_takes_a_second_try_and_comes_back(
        self, site: Site, users: Kustomization
    ) -> None:
        # Services go after pools, which until then are in use.
        with pytest.raises(ReconciliationFailed, match=rf"its deletion takes away {VIP}"):
            users.reconcile([])
        site.wait(lambda: not site.holders(), 30, "the address is released")

        def pruned() -> bool:
            users.reconcile([])
            return True

        site.wait(pruned, 30, "the next interval prunes the rest", retry_on=(ReconciliationFailed,))
        assert site.api.live(pool()) is None
        site.wait(lambda: _gone(site, "shop"), 60, "the namespace is gone")
        users.reconcile(USERS)
        assert site.wait_assigned("shop", "web") == [VIP]

    def test_of_admitlb_itself_leaves_services_and_claims_and_the_way_back_finds_them(
        self, site: Site, admitlb: Kustomization, git: list[Object], users: Kustomization
    ) -> None:
        claim = site.cluster.get(IP_ALLOCATIONS, VIP)
        admitlb.reconcile([])
        site.pods.replace()
        assert site.addresses("shop", "web") == [VIP]
        # Nobody checks or assigns meanwhile, and nothing is in anybody's way.
        late = {**WEB, "metadata": {"name": "late", "namespace": "shop"}}
        site.cluster.create(SERVICES, late, "shop")
        admitlb.reconcile(git)
        admitlb.wait_ready(site.pods.attend)
        assert site.wait_assigned("shop", "late") != [VIP]
        assert kept(site, claim)
        assert users.inventory


class TestKinds:
    """A CustomResourceDefinition goes, with every object of its kind, unasked; and comes back."""

    @pytest.mark.parametrize("name", ["ipaddresspools.metallb.io", "ipallocations.admitlb.io"])
    def test_services_keep_their_addresses(
        self, site: Site, admitlb: Kustomization, git: list[Object], users: Kustomization, name: str
    ) -> None:
        kubectl(site, "delete", "crd", name, "--timeout=60s")
        late = {**WEB, "metadata": {"name": "late", "namespace": "shop"}}
        site.cluster.create(SERVICES, late, "shop")
        site.wait_settled(quiet_seconds=0.8)
        assert (site.addresses("shop", "web"), site.addresses("shop", "late")) == ([VIP], [])

        def back() -> bool:
            admitlb.reconcile(git)
            users.reconcile(USERS)
            return True

        site.wait(back, 60, "both Kustomizations reconcile", retry_on=(ReconciliationFailed,))
        (address,) = site.wait_assigned("shop", "late")
        assert site.addresses("shop", "web") == [VIP]
        site.wait(lambda: site.holders() == {VIP: "shop/web", address: "shop/late"}, 30, "each has a claim")


class TestInstallNamespace:
    def test_stuck_in_deletion_it_goes_once_the_webhooks_are_taken_away_and_comes_back(
        self, site: Site, admitlb: Kustomization, git: list[Object], users: Kustomization
    ) -> None:
        claim = site.cluster.get(IP_ALLOCATIONS, VIP)
        hold = {"metadata": {"finalizers": [FINALIZER]}}
        site.cluster.patch(IP_ADDRESS_POOLS, "lan", hold, DEFAULT_NAMESPACE)
        site.cluster.delete(NAMESPACES, DEFAULT_NAMESPACE)
        site.pods.replace()
        site.wait(lambda: site.cluster.list(PODS, DEFAULT_NAMESPACE)["items"] == [], 60, "all that ran is gone")
        free = {"metadata": {"finalizers": None}}

        def refused() -> bool:
            with pytest.raises(ApiError, match="failed calling webhook"):
                site.cluster.patch(IP_ADDRESS_POOLS, "lan", free, DEFAULT_NAMESPACE)
            return True

        site.wait(refused, 30, "nobody answers for the pool")
        for kind in ("validatingwebhookconfiguration", "mutatingwebhookconfiguration"):
            kubectl(site, "delete", kind, "metallb-webhook-configuration")
        site.wait(lambda: _freed(site, free), 30, "the API server has seen that nobody is asked")
        site.wait(lambda: _gone(site, DEFAULT_NAMESPACE), 60, "the namespace is gone")
        assert kept(site, claim)
        admitlb.reconcile(git)
        admitlb.wait_ready(site.pods.attend)
        users.reconcile(USERS)
        site.wait_settled(quiet_seconds=0.8)
        assert kept(site, claim)


def _freed(site: Site, free: Object) -> bool:
    try:
        site.cluster.patch(IP_ADDRESS_POOLS, "lan", free, DEFAULT_NAMESPACE)
    except NotFound:
        return True
    except ApiError:
        return False
    return True


def _gone(site: Site, namespace: str) -> bool:
    try:
        site.cluster.get(NAMESPACES, namespace)
    except NotFound:
        return True
    return False
