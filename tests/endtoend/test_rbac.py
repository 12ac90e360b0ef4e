"""The roles grant what the components use in a life with everything in it, and nothing else.

Both directions are read from the API server's audit log: what is granted is asked for at some time, so that without
it something would be refused; and what is asked for is granted, so that nothing is.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import pytest

from allocator.kube.client import AlreadyExists, Cluster, Conflict, NotFound, Object, Unavailable
from allocator.kube.resource import SECRETS, SERVICES, Resource
from allocator.objects.names import (
    BFD_PROFILES,
    BGP_ADVERTISEMENTS,
    BGP_PEERS,
    COMMUNITIES,
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
    IP_ALLOCATIONS,
    L2_ADVERTISEMENTS,
    SERVICE_L2_STATUSES,
    WEBHOOK_CERTIFICATE_SECRET,
)
from tests.endtoend.conftest import ACCOUNTS
from tests.lab.audit import AuditLog, Request
from tests.lab.crd import status_subresource
from tests.lab.lab import Lab
from tests.lab.waiting import NeverHappened, wait_until
from tests.lab.workloads import DEPLOYMENTS
from tests.unit.manifests.documents import shipped

SERVICES_AT_ONCE = 6

pytestmark = pytest.mark.timeout(300)
"""A busy machine takes its time for a life with everything in it."""


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One thing that a role lets an account do. `name` is empty where any object will do."""

    account: str
    verb: str
    group: str
    path: str
    name: str
    everywhere: bool

    def covers(self, request: Request) -> bool:
        """Whether the request needs this grant, or one like it."""
        return (
            (self.verb, self.group, self.path) == (request.verb, request.group, request.path)
            and self.name in ("", request.name)
            and (self.everywhere or request.namespace == DEFAULT_NAMESPACE)
        )


def granted() -> set[Grant]:
    """Return everything that the shipped roles grant, one by one."""
    grants = set()
    for kind in ("ClusterRole", "Role"):
        for role in shipped(kind):
            account = role["metadata"]["name"].removeprefix("metallb-system:")
            grants |= {
                Grant(account, verb, group, path, name, kind == "ClusterRole")
                for rule in role["rules"]
                for group in rule["apiGroups"]
                for path in rule["resources"]
                for verb in rule["verbs"]
                for name in rule.get("resourceNames", [""])
            }
    return grants


@dataclass(frozen=True, slots=True)
class Life:
    """What the API server was asked for: in this file, and in all of the lab's life."""

    log: AuditLog
    begun: int

    def asked(self, account: str) -> set[Request]:
        """Return what an account has asked for here. Elsewhere components of other overlays had other roles."""
        return self.log.requests(ACCOUNTS[account], since=self.begun)

    def ever_asked(self, account: str) -> set[Request]:
        """Return what it has asked for in the lab: a component that runs already has started before."""
        return self.log.requests(ACCOUNTS[account])


@pytest.fixture(scope="module")
def lived(lab: Lab) -> Life:
    """Everything that can happen to the components has happened once."""
    log = AuditLog(lab.directory)
    life = Life(log, log.mark())
    lab.install()
    live(lab)
    return life


def test_nothing_is_granted_that_no_component_asks_for(lived: Life) -> None:
    # What is reported of an address, and taken back, comes after everything else and at leisure.
    with suppress(NeverHappened):
        wait_until(lambda: not idle(lived), 30, "everything granted was asked for", interval_seconds=0.5)

    assert "\n".join(map(str, idle(lived))) == ""


def test_no_component_asks_for_what_is_not_granted(lived: Life) -> None:
    grants = granted()
    refused = {
        (account, request.verb, request.group, request.path, request.namespace, request.name)
        for account in ACCOUNTS
        for request in lived.asked(account)
        if not any(grant.account == account and grant.covers(request) for grant in grants)
    }

    assert "\n".join(map(str, sorted(refused))) == ""


def idle(lived: Life) -> list[Grant]:
    """Return what is granted and was never asked for."""
    requests = {account: lived.ever_asked(account) for account in ACCOUNTS}
    return sorted(
        grant for grant in granted() if not any(grant.covers(request) for request in requests[grant.account])
    )


def live(lab: Lab) -> None:
    """Make happen, once, whatever makes a component ask the API server for something."""
    cluster = lab.cluster()
    _create_pool_with_a_foreign_host(lab)
    lab.deploy_http("rights")
    # Replicas that choose the same address at once, of which one has to look again.
    with ThreadPoolExecutor(SERVICES_AT_ONCE, thread_name_prefix="create") as threads:
        names = [f"rights-{number}" for number in range(SERVICES_AT_ONCE)]
        list(threads.map(lambda name: _create_service(cluster, name), names))
    wait_until(lambda: all(_addresses(cluster, name) for name in names), 60, "every Service has an address")
    # Its holder is looked up before a pool is refused to go.
    with suppress(Conflict):
        cluster.delete(IP_ADDRESS_POOLS, "rights", DEFAULT_NAMESPACE)
    _report_on_bgp(cluster)
    _wait_reported(lab)
    _have_metallbs_crd(lab)
    _be_left_named(cluster)
    _lose_the_certificate(lab)
    _end_without_withdrawing(cluster)
    for name in names:
        cluster.delete(SERVICES, name, "default")
    wait_until(lambda: states(cluster) <= {"Conflicted"}, 90, "every address is free but the host's")
    cluster.delete(L2_ADVERTISEMENTS, "rights", DEFAULT_NAMESPACE)
    wait_until(lambda: _gone(cluster), 20, "the pool is deleted")
    wait_until(lambda: not states(cluster), 20, "what nobody asks about any more is deleted")
    cluster.delete(DEPLOYMENTS, "rights", "default")


def states(cluster: Cluster) -> set[str]:
    """The states of all claims."""
    return {claim["spec"]["state"] for claim in cluster.list(IP_ALLOCATIONS)["items"]}


def _report_on_bgp(cluster: Cluster) -> None:
    """Create one object of each kind for BGP, wait until all have conditions, and delete them."""
    peer = {"myASN": 64512, "peerASN": 64513, "peerAddress": "203.0.113.9", "bfdProfile": "rights"}
    specs: dict[Resource, Object] = {
        BFD_PROFILES: {},
        COMMUNITIES: {"communities": [{"name": "rights", "value": "64512:1"}]},
        BGP_PEERS: peer | {"passwordSecret": {"name": "rights"}},
        BGP_ADVERTISEMENTS: {"ipAddressPools": ["rights"], "communities": ["rights"]},
    }
    for kind, spec in specs.items():
        _create(cluster, kind, "rights", spec)
    for kind in specs:
        wait_until(
            lambda kind=kind: cluster.get(kind, "rights", DEFAULT_NAMESPACE).get("status"),  # type: ignore[misc]
            20,
            f"the {kind.kind} has conditions",
        )
    for kind in reversed(specs):
        cluster.delete(kind, "rights", DEFAULT_NAMESPACE)


def _wait_reported(lab: Lab) -> None:
    """Wait until a speaker has said who announces each address, on its claim and to whoever looks at the Service."""

    def all_reported() -> bool:
        claims = [one for one in lab.cluster().list(IP_ALLOCATIONS)["items"] if one["spec"]["state"] == "Bound"]
        return len(claims) == SERVICES_AT_ONCE and all((claim.get("status") or {}) for claim in claims)

    wait_until(all_reported, 90, "every address is reported to be announced")
    wait_until(
        lambda: lab.cluster().list(SERVICE_L2_STATUSES, DEFAULT_NAMESPACE)["items"], 30, "a Service has its status"
    )


def _have_metallbs_crd(lab: Lab) -> None:
    """Have somebody change what a speaker reported of a Service while the status is a subresource."""
    cluster = lab.cluster()
    with status_subresource(lab.control_plane, SERVICE_L2_STATUSES):
        name = cluster.list(SERVICE_L2_STATUSES, DEFAULT_NAMESPACE)["items"][0]["metadata"]["name"]
        changed = {"status": {"node": "gone"}}
        cluster.patch(SERVICE_L2_STATUSES, name, changed, DEFAULT_NAMESPACE, subresource="status")
        wait_until(
            lambda: cluster.get(SERVICE_L2_STATUSES, name, DEFAULT_NAMESPACE)["status"]["node"] != "gone",
            30,
            "the speaker has put it right",
        )


def _be_left_named(cluster: Cluster) -> None:
    """Name a node that is not there on an address that nobody announces, and wait until a speaker corrects it."""
    service = _service("left")
    service["spec"]["selector"] = {"app": "none"}
    cluster.create(SERVICES, service, "default")
    (address,) = wait_until(lambda: _addresses(cluster, "left"), 20, "left has an address")
    status = {"announcedBy": {"node": "gone", "interfaces": [], "since": "2026-01-01T00:00:00.000000Z"}}
    cluster.patch(IP_ALLOCATIONS, address, {"status": status}, subresource="status")
    wait_until(
        lambda: "announcedBy" not in (cluster.get(IP_ALLOCATIONS, address).get("status") or {}),
        30,
        "no node is named",
    )
    cluster.delete(SERVICES, "left", "default")


def _end_without_withdrawing(cluster: Cluster) -> None:
    """Leave a cooling address whose status names a node, as after the end of its speaker, and wait for the repair."""
    name, now = "203.0.113.139", "2026-01-01T00:00:00.000000Z"
    holder = {"namespace": "default", "name": "gone", "uid": "1", "since": now, "ports": []}
    cooling = {"state": "Cooling", "releasedAt": now, "coolUntil": "2100-01-01T00:00:00.000000Z"}
    _create(
        cluster,
        IP_ALLOCATIONS,
        name,
        {"address": name, "pool": "rights", "holders": [holder], "since": now, **cooling},
    )
    status = {"announcedBy": {"node": "node-1", "interfaces": ["eth0"], "since": now}}
    cluster.patch(IP_ALLOCATIONS, name, {"status": status}, subresource="status")
    wait_until(
        lambda: "announcedBy" not in (cluster.get(IP_ALLOCATIONS, name).get("status") or {}), 20, "no node is named"
    )
    cluster.delete(IP_ALLOCATIONS, name)


def _create_pool_with_a_foreign_host(lab: Lab) -> None:
    """Let a client have the pool's first address until that is known."""
    squatter = lab.client().host
    squatter.run_ip("address add 203.0.113.100/32 dev eth0")
    try:
        pool = {"addresses": ["203.0.113.100-203.0.113.139"], "reuseDelaySeconds": 0}
        _create(lab.cluster(), IP_ADDRESS_POOLS, "rights", pool)
        _create(lab.cluster(), L2_ADVERTISEMENTS, "rights", {"ipAddressPools": ["rights"], "interfaces": ["eth0"]})
        wait_until(lambda: lab.cluster().list(IP_ALLOCATIONS)["items"], 90, "the host's address is marked")
    finally:
        squatter.run_ip("address del 203.0.113.100/32 dev eth0")


def _lose_the_certificate(lab: Lab) -> None:
    """Damage the Secret and wait until a webhook has mended it."""

    def data() -> Object:
        found: Object = lab.cluster().get(SECRETS, WEBHOOK_CERTIFICATE_SECRET, DEFAULT_NAMESPACE)["data"]
        return found

    before = data()
    damaged = {"data": {"tls.crt": "", "tls.key": ""}}
    lab.cluster().patch(SECRETS, WEBHOOK_CERTIFICATE_SECRET, damaged, DEFAULT_NAMESPACE)
    wait_until(lambda: data()["tls.crt"] not in ("", before["tls.crt"]), 30, "the certificate is mended")


def _create(cluster: Cluster, resource: Resource, name: str, spec: Object) -> None:
    metadata = {"name": name, "namespace": DEFAULT_NAMESPACE}
    document = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
    cluster.create(resource, document, DEFAULT_NAMESPACE)


def _service(name: str) -> Object:
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {"type": "LoadBalancer", "selector": {"app": "rights"}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _create_service(cluster: Cluster, name: str) -> None:
    # A machine under load may take longer than one request waits.
    with suppress(AlreadyExists):
        wait_until(
            lambda: cluster.create(SERVICES, _service(name), "default"),
            60,
            f"{name} is created",
            retry_on=(Unavailable,),
        )


def _addresses(cluster: Cluster, name: str) -> list[str]:
    status = cluster.get(SERVICES, name, "default").get("status") or {}
    return [entry["ip"] for entry in (status.get("loadBalancer") or {}).get("ingress") or ()]


def _gone(cluster: Cluster) -> bool:
    try:
        cluster.delete(IP_ADDRESS_POOLS, "rights", DEFAULT_NAMESPACE)
    except NotFound:
        return True
    except Conflict:
        return False
    return True
