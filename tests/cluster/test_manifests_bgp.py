"""Objects for BGP are stored as MetalLB stores them, our own fields included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allocator.kube.client import ApiError, Cluster, Object
from allocator.kube.resource import Resource
from allocator.objects.names import BFD_PROFILES, BGP_ADVERTISEMENTS, BGP_KINDS, BGP_PEERS, COMMUNITIES
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until

CRDS = Path(__file__).parents[2] / "manifests" / "crds"
SELECTOR = {"matchLabels": {"rack": "a"}, "matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}
NOW = "2026-01-01T00:00:00Z"
SPECS: dict[Resource, dict[str, Any]] = {
    BGP_PEERS: {
        "myASN": 64500,
        "peerASN": 4200000000,
        "localASN": 64513,
        "peerAddress": "10.0.0.1",
        "sourceAddress": "10.0.0.9",
        "peerPort": 180,
        "holdTime": "1m30s",
        "keepaliveTime": "30s",
        "connectTime": "10s",
        "routerID": "10.10.10.10",
        "nodeSelectors": [SELECTOR],
        "passwordSecret": {"name": "tor", "namespace": "metallb-system"},
        "bfdProfile": "fast",
        "enableGracefulRestart": True,
        "ebgpMultiHop": True,
        "vrf": "red",
        "disableMP": False,
        "dualStackAddressFamily": True,
        "ttlSecurityHops": 2,
        "restartTime": "2m",
        "shutdown": False,
        "description": "top of rack 1",
    },
    BGP_ADVERTISEMENTS: {
        "ipAddressPools": ["production"],
        "ipAddressPoolSelectors": [SELECTOR],
        "serviceSelectors": [SELECTOR],
        "nodeSelectors": [SELECTOR],
        "peers": ["tor-1"],
        "aggregationLength": 28,
        "aggregationLengthV6": 120,
        "localPref": 4294967295,
        "med": 0,
        "asPathPrepend": 10,
        "communities": ["64512:1234", "large:64512:1:2", "no-advertise"],
    },
    BFD_PROFILES: {
        "receiveInterval": 300,
        "transmitInterval": 300,
        "detectMultiplier": 3,
        "echoInterval": 50,
        "echoMode": True,
        "passiveMode": False,
        "minimumTtl": 254,
    },
    COMMUNITIES: {"communities": [{"name": "no-advertise", "value": "65535:65282"}]},
}


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One of this module's own, without a webhook: what is refused here, the schema refused."""
    with ControlPlane(find(), tmp_path_factory.mktemp("bgp-schema")) as control_plane:
        yield control_plane


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Cluster:
    return control_plane.cluster()


@pytest.fixture(scope="module")
def home(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace on a server that knows the kinds."""
    for resource in BGP_KINDS:
        control_plane.kubectl("apply", "-f", str(CRDS / f"metallb.io_{resource.plural}.yaml"))
    cluster = control_plane.cluster()
    wait_until(lambda: all(cluster.serves(kind) for kind in BGP_KINDS), 10, "the kinds are served")
    control_plane.kubectl("create", "namespace", "bgp")
    yield "bgp"
    control_plane.kubectl("delete", "namespace", "bgp", "--wait=false")


def create(cluster: Cluster, home: str, resource: Resource, name: str, spec: dict[str, Any]) -> Object:
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "spec": spec}
    return cluster.create(resource, obj, home)


@pytest.mark.parametrize("resource", BGP_KINDS, ids=lambda resource: resource.kind)
def test_every_field_is_stored_as_written(cluster: Cluster, home: str, resource: Resource) -> None:
    create(cluster, home, resource, "full", SPECS[resource])

    assert cluster.get(resource, "full", home)["spec"] == SPECS[resource]


@pytest.mark.parametrize("resource", BGP_KINDS, ids=lambda resource: resource.kind)
def test_kubectl_shows_whether_the_object_is_ready(
    control_plane: ControlPlane, cluster: Cluster, home: str, resource: Resource
) -> None:
    create(cluster, home, resource, "told", {"myASN": 64500} if resource is BGP_PEERS else {})
    condition = {"type": "Ready", "status": "False", "reason": "NoBGP", "message": "x", "lastTransitionTime": NOW}
    cluster.patch(resource, "told", {"status": {"conditions": [condition]}}, home, subresource="status")

    header, row = control_plane.kubectl("get", resource.plural, "told", "-n", home).stdout.splitlines()

    assert row[header.index("READY") :].split()[0] == "False"


def test_a_peer_gets_metallbs_defaults(cluster: Cluster, home: str) -> None:
    stored = create(
        cluster, home, BGP_PEERS, "plain", {"myASN": 64500, "dynamicASN": "external", "interface": "eth1"}
    )

    assert {key: stored["spec"][key] for key in ("peerPort", "disableMP", "dualStackAddressFamily")} == {
        "peerPort": 179,
        "disableMP": False,
        "dualStackAddressFamily": False,
    }


@pytest.mark.parametrize(
    ("resource", "spec"),
    [
        (BGP_PEERS, {"peerASN": 64501}),
        (BGP_PEERS, {"myASN": 4294967296}),
        (BGP_PEERS, {"myASN": 64500, "peerPort": 0}),
        (BGP_PEERS, {"myASN": 64500, "dynamicASN": "any"}),
        (BGP_PEERS, {"myASN": 64500, "ttlSecurityHops": 255}),
        (BGP_PEERS, {"myASN": 64500, "description": "x" * 201}),
        (BGP_ADVERTISEMENTS, {"asPathPrepend": 11}),
        (BGP_ADVERTISEMENTS, {"aggregationLength": 0}),
        (BFD_PROFILES, {"detectMultiplier": 1}),
    ],
    ids=lambda value: value.kind if isinstance(value, Resource) else "-".join(value),
)
def test_what_metallbs_schema_refuses_is_refused(
    cluster: Cluster, home: str, resource: Resource, spec: dict[str, Any]
) -> None:
    with pytest.raises(ApiError) as refused:
        create(cluster, home, resource, "bad", spec)

    assert refused.value.status == 422


def test_applying_the_same_object_again_changes_nothing(control_plane: ControlPlane, home: str) -> None:
    text = (
        "apiVersion: metallb.io/v1beta1\nkind: Community\nmetadata:\n  name: twice\n"
        "spec:\n  communities:\n    - name: blue\n      value: 64512:7\n"
    )
    control_plane.kubectl("apply", "-n", home, "-f", "-", stdin=text)

    again = control_plane.kubectl("apply", "-n", home, "-f", "-", stdin=text)

    assert again.stdout.split() == ["community.metallb.io/twice", "unchanged"]
