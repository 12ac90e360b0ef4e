"""Ranges go from one pool to another in one commit, by the calls of Flux and Argo CD: nobody loses an address."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import yaml

from allocator.kube.client import ApiError, Object
from allocator.kube.resource import SERVICES
from allocator.objects.names import FROM_POOL_ANNOTATION, IP_ALLOCATIONS
from tests.cluster.gitops.argocd import Application, SyncFailed
from tests.cluster.gitops.argocd_health import HealthChecks
from tests.cluster.gitops.flux import FIELD_MANAGER, Action, Kustomization, ReconciliationFailed
from tests.cluster.gitops.objects import documents, render
from tests.cluster.gitops.site import OVERLAYS, Site

WEB, API = "198.51.100.10", "198.51.100.15"
LOW, HIGH, ALL = "198.51.100.10-198.51.100.14", "198.51.100.15-198.51.100.19", "198.51.100.10-198.51.100.19"


def pool(name: str, addresses: str, **spec: object) -> Object:
    """A pool as it lies in Git."""
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": "metallb-system"},
        "spec": {"addresses": [addresses], "reuseDelaySeconds": 0, **spec},
    }


def service(name: str, address: str) -> Object:
    """A Service that asks for its address."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {"metallb.io/loadBalancerIPs": address},
        },
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        },
    }


USERS = [service("web", WEB), service("api", API)]
BEFORE = [pool("main", ALL), *USERS]


@pytest.fixture(scope="module")
def installed(site: Site) -> Site:
    """The cluster with AdmitLB on it."""
    kustomization = Kustomization(site.api, "admitlb")
    kustomization.reconcile(render(site.control_plane, OVERLAYS / "default"))
    kustomization.wait_ready(site.pods.attend)
    return site


class Flux:
    """A Kustomization that is synced once."""

    def __init__(self, site: Site) -> None:
        self.kustomization = Kustomization(site.api, "network")

    def sync(self, commit: list[Object]) -> None:
        self.kustomization.reconcile(commit)

    def finds_nothing(self, commit: list[Object]) -> bool:
        return all(one.action is Action.UNCHANGED for one in self.kustomization.reconcile(commit))


class ArgoCD:
    """An Application with automated sync: compared, synced where OutOfSync, tried again as `retry` has it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        (config_map,) = documents((OVERLAYS / "argocd" / "health-checks" / "argocd-cm.yaml").read_text())
        self.application = Application(site, "network", HealthChecks(config_map["data"]))

    def server_side(self) -> ArgoCD:
        self.application = self.application.server_side()
        return self

    def sync(self, commit: list[Object]) -> None:
        def synced() -> bool:
            # One whose comparison fails is Unknown, and never synced by itself.
            if self.application.drift(commit):
                self.application.sync(commit)
            # The sync option PruneLast=true: once everything else is healthy.
            self.application.prune(commit)
            return True

        self._site.wait(synced, 30, "the Application syncs", retry_on=(SyncFailed,))

    def finds_nothing(self, commit: list[Object]) -> bool:
        return not self.application.drift(commit) and not self.application.prunable(commit)


TOOLS: dict[str, Callable[[Site], Flux | ArgoCD]] = {
    "Flux": Flux,
    "Argo CD": ArgoCD,
    "Argo CD, server-side": lambda site: ArgoCD(site).server_side(),
}


@pytest.fixture
def tool(installed: Site, request: pytest.FixtureRequest) -> Iterator[Flux | ArgoCD]:
    """A tool that has synced BEFORE; afterwards everything is deleted."""
    tool = TOOLS[request.param](installed)
    tool.sync(BEFORE)
    installed.wait_assigned("default", "api")
    yield tool
    installed.remove_users_part()


def owners(site: Site) -> dict[str, str]:
    """Return which pool each claimed address is of."""
    return {address: claim["pool"] for address, claim in site.claims().items()}


def uids(site: Site) -> dict[str, str]:
    """Return which objects the claims are: one that was given up meanwhile is another."""
    metadata = [item["metadata"] for item in site.cluster.list(IP_ALLOCATIONS)["items"]]
    return {one["name"]: one["uid"] for one in metadata}


def wait_owners(site: Site, **expected: str) -> None:
    """Wait until claim and annotation name the pools; nobody's address has changed."""
    wanted = {WEB: expected["web"], API: expected["api"]}

    def said() -> bool:
        named = {
            address: site.cluster.get(SERVICES, name, "default")["metadata"]["annotations"][FROM_POOL_ANNOTATION]
            for name, address in (("web", WEB), ("api", API))
        }
        return owners(site) == named == wanted

    site.wait(said, 20, f"the addresses are of {expected}")
    assert (site.addresses("default", "web"), site.addresses("default", "api")) == ([WEB], [API])


DRAINING = pool("main", LOW, shrinkPolicy="Drain")
COMMITS: dict[str, tuple[list[Object], dict[str, str]]] = {
    "split, the new one applied first": (
        [pool("alpha", HIGH, addressesFrom=["main"]), DRAINING],
        {"web": "main", "api": "alpha"},
    ),
    "split, the new one applied last": (
        [DRAINING, pool("zeta", HIGH, addressesFrom=["main"])],
        {"web": "main", "api": "zeta"},
    ),
    "renamed": ([pool("zeta", ALL, addressesFrom=["main"])], {"web": "zeta", "api": "zeta"}),
}


@pytest.mark.parametrize("tool", ["Flux", "Argo CD, server-side"], indirect=True)
@pytest.mark.parametrize("commit", COMMITS)
def test_one_commit_with_addresses_from_is_one_sync(installed: Site, tool: Flux | ArgoCD, commit: str) -> None:
    pools, expected = COMMITS[commit]
    claims = uids(installed)
    tool.sync([*pools, *USERS])
    wait_owners(installed, **expected)
    assert uids(installed) == claims
    installed.wait(lambda: tool.finds_nothing([*pools, *USERS]), 10, "the next comparison finds nothing")
    # What it is for is over; that it stays in Git takes nothing away, and that it goes does not either.
    tidied = copy.deepcopy([*pools, *USERS])
    for one in tidied:
        for field in ("addressesFrom", "shrinkPolicy"):
            one["spec"].pop(field, None)
    tool.sync(tidied)
    wait_owners(installed, **expected)


class TestWithoutAddressesFrom:
    """The overlap is one of a dry run only: what is stored never overlaps, and retries come to what Git says."""

    @pytest.mark.parametrize("tool", ["Argo CD", "Argo CD, server-side"], indirect=True)
    @pytest.mark.parametrize("new", ["alpha", "zeta"])
    def test_argo_cd_comes_to_a_split_by_its_retries(self, installed: Site, tool: ArgoCD, new: str) -> None:
        commit = [DRAINING, pool(new, HIGH), *USERS]
        tool.sync(commit)
        wait_owners(installed, web="main", api=new)
        installed.wait(lambda: tool.finds_nothing(commit), 10, "the next comparison finds nothing")

    @pytest.mark.parametrize("tool", ["Argo CD", "Argo CD, server-side"], indirect=True)
    @pytest.mark.parametrize("other", ["alpha", "zeta"])
    def test_argo_cd_moves_a_range_between_pools_that_exist(self, installed: Site, tool: ArgoCD, other: str) -> None:
        tool.sync([pool(other, "198.51.100.30"), *BEFORE])
        grown = pool(other, "198.51.100.30")
        grown["spec"]["addresses"].append(HIGH)
        commit = [DRAINING, grown, *USERS]
        tool.sync(commit)
        wait_owners(installed, web="main", api=other)
        installed.wait(lambda: tool.finds_nothing(commit), 10, "the next comparison finds nothing")

    @pytest.mark.parametrize("tool", ["Flux"], indirect=True)
    def test_flux_splits_in_one_sync_where_the_narrowed_pool_comes_first(self, installed: Site, tool: Flux) -> None:
        tool.sync([DRAINING, pool("zeta", HIGH), *USERS])
        wait_owners(installed, web="main", api="zeta")

    @pytest.mark.parametrize("tool", ["Flux"], indirect=True)
    def test_where_it_does_not_the_refusal_names_what_does(self, installed: Site, tool: Flux) -> None:
        alpha = pool("alpha", HIGH)
        with pytest.raises(ReconciliationFailed) as failed:
            tool.sync([DRAINING, alpha, *USERS])
        assert "IPAddressPool metallb-system/alpha apply failed" in str(failed.value)
        assert "write spec.addressesFrom: [main]" in str(failed.value)
        assert installed.api.live(alpha) is None
        alpha["spec"]["addressesFrom"] = ["main"]
        tool.sync([DRAINING, alpha, *USERS])
        wait_owners(installed, web="main", api="alpha")


class TestRefusals:
    """Who is believed to be about to change the other pool, and what stays refused."""

    @pytest.mark.parametrize("tool", ["Flux"], indirect=True)
    def test_only_a_dry_run_of_who_applied_both_is_let_by_with_a_warning(self, installed: Site, tool: Flux) -> None:
        assert tool.kustomization.inventory
        overlapping = yaml.safe_dump(pool("greedy", HIGH))

        def applied(*arguments: str) -> str:
            done = installed.control_plane.kubectl(*arguments, "-f", "-", stdin=overlapping, check=False)
            return done.stderr

        refused = "overlaps 198.51.100.10-198.51.100.19 of pool main"
        same = ("--server-side", f"--field-manager={FIELD_MANAGER}")
        warned = applied("apply", *same, "--dry-run=server")
        assert f"Warning: dry run: refused when applied, unless {FIELD_MANAGER} changes" in warned
        assert refused in warned
        for arguments in (
            ("apply", "--server-side", "--dry-run=server"),
            ("apply", "--dry-run=server"),
            ("create", "--dry-run=server"),
            ("apply", *same),
        ):
            answer = applied(*arguments)
            assert "denied the request" in answer, arguments
            assert refused in answer, arguments
        malformed = pool("greedy", "198.51.100.9-198.51.100.1")
        with pytest.raises(ApiError, match="starts after it ends"):
            installed.api.apply(malformed, manager=FIELD_MANAGER, dry_run=True)
        taking = pool("main", LOW)
        with pytest.raises(ApiError, match=rf"takes away {API} \(default/api\)"):
            installed.api.apply(taking, manager=FIELD_MANAGER, dry_run=True)

    @pytest.mark.parametrize("tool", ["Argo CD, server-side"], indirect=True)
    def test_argo_cd_prunes_first_unless_told_and_the_refusal_says_how_to_rename(
        self, installed: Site, tool: ArgoCD
    ) -> None:
        renamed = [pool("zeta", ALL, addressesFrom=["main"]), *USERS]
        with pytest.raises(ApiError, match=r"create the new one with spec\.addressesFrom: \[main\] first"):
            tool.application.prune(renamed)
        assert owners(installed) == {WEB: "main", API: "main"}

    @pytest.mark.parametrize("tool", ["Flux"], indirect=True)
    def test_what_the_other_pool_still_has_is_not_assigned_and_said_so(self, installed: Site, tool: Flux) -> None:
        alpha = pool("alpha", HIGH, addressesFrom=["main"])
        late = service("late", "198.51.100.16")
        late["metadata"]["annotations"]["metallb.io/address-pool"] = "alpha"
        tool.sync([pool("main", ALL), alpha, *USERS, late])

        def awaiting() -> bool:
            live = installed.api.live(alpha) or {}
            conditions = {one["type"]: one for one in (live.get("status") or {}).get("conditions") or ()}
            ready = conditions.get("Ready") or {}
            return (ready.get("status"), ready.get("reason")) == ("True", "AddressesAwaited")

        installed.wait(awaiting, 20, "the pool says what it waits for")
        assert installed.addresses("default", "late") == []
        tool.sync([DRAINING, alpha, *USERS, late])
        assert installed.wait_assigned("default", "late") == ["198.51.100.16"]
        wait_pools = owners(installed)
        assert (wait_pools[API], wait_pools["198.51.100.16"]) == ("alpha", "alpha")
