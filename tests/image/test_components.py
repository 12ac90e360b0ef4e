"""All three components, run from the image by a cluster's nodes, under the limits of their manifests."""

from __future__ import annotations

import json
from pathlib import Path

from allocator.kube.client import Object
from allocator.kube.resource import SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
from tests.lab.images import Image
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until

VIP = "203.0.113.30"
URL = f"http://{VIP}/"
NOBODY = 65534
FILTERED = "2"
COMPONENTS = {"webhook": NOBODY, "reconciler": NOBODY, "speaker": 0}


def test_every_component_sees_the_image_alone_read_only_and_under_the_default_seccomp_profile(
    lab: Lab, image: Image
) -> None:
    ours = {name: process for name, process in lab.processes().items() if name.startswith(f"{DEFAULT_NAMESPACE}/")}

    assert len(ours) == 2 * 2 + 3
    for name, process in ours.items():
        # The process's own view of its root; what an image of this machine's files would show is not there.
        root = Path(f"/proc/{process.pid}/root")
        assert not (root / "root").exists(), name
        assert not (root / "usr/bin/env").exists(), name
        assert (root / "opt/admitlb/bin/admitlb").read_bytes() == (
            image.root / "opt/admitlb/bin/admitlb"
        ).read_bytes()
        mounts = [line.split() for line in Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()]
        (of_root,) = (fields for fields in mounts if fields[4] == "/")
        assert "ro" in of_root[5].split(","), name
        status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        assert status["Seccomp"].strip() == FILTERED, name
        assert Path(f"/proc/{process.pid}").stat().st_uid == COMPONENTS[name.rsplit("/", maxsplit=1)[-1]], name


def test_a_service_gets_an_address_that_answers_and_outlives_its_node(lab: Lab) -> None:
    cluster = lab.cluster()
    pool = _ours(IP_ADDRESS_POOLS, {"addresses": [f"{VIP}-203.0.113.39"], "reuseDelaySeconds": 0})
    cluster.create(IP_ADDRESS_POOLS, pool, DEFAULT_NAMESPACE)
    # The application's own node must not be the one that dies.
    other_nodes = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["node-3"]}
    spec = {"interfaces": ["eth0"], "nodeSelectors": [{"matchExpressions": [other_nodes]}]}
    cluster.create(L2_ADVERTISEMENTS, _ours(L2_ADVERTISEMENTS, spec), DEFAULT_NAMESPACE)
    lab.deploy_http("web", node="node-3")
    created = cluster.create(SERVICES, _service("web"), "default")

    assert created["metadata"]["annotations"]["admitlb.io/assigned-ips"] == VIP
    wait_until(lambda: lab.client().http_get(URL).status == 200, 30, "the address answers", retry_on=(OSError,))
    # scapy would write below HOME, and find its manufacturers' table on the machine.
    asked = lab.kubectl("exec", "-n", DEFAULT_NAMESPACE, "ds/speaker", "--", "admitlb", "who-has", VIP)
    assert asked.stdout.startswith(f"{VIP}: Answered\n"), asked.stdout + asked.stderr
    nodes = {node.mac("eth0"): node for node in lab.nodes.values()}
    (mac,) = lab.client().who_has(VIP)
    nodes[mac].kill()
    wait_until(lambda: _announcer(lab, besides=mac), 20, "another node has taken the address over")
    wait_until(lambda: lab.client().http_get(URL).status == 200, 20, "the address answers", retry_on=(OSError,))
    nodes[mac].revive()


def test_a_refused_pool_is_explained_as_from_any_other_installation(lab: Lab) -> None:
    document = _ours(IP_ADDRESS_POOLS, {"addresses": ["203.0.113.39-203.0.113.30"]})
    document["metadata"]["name"] = "backwards"

    def answer() -> str:
        # Its node was dead a moment ago, and the API server may try the connection it had to the webhook there.
        return lab.kubectl("create", "-f", "-", stdin=json.dumps(document), check=False).stderr

    wait_until(lambda: "denied the request: IPAddressPool backwards" in answer(), 20, "the pool is refused")


def test_no_component_tried_what_its_limits_forbid(lab: Lab) -> None:
    words = ("Traceback", "Read-only file system", "Permission denied", "Operation not permitted", "403 Forbidden")
    logs = {path: path.read_text(errors="replace") for path in lab.log_files() if DEFAULT_NAMESPACE in str(path)}

    assert logs
    for path, text in logs.items():
        assert [line for line in text.splitlines() if any(word in line for word in words)] == [], path


def _announcer(lab: Lab, *, besides: str) -> str | None:
    others = lab.client().who_has(VIP, listen_seconds=0.2) - {besides}
    return others.pop() if len(others) == 1 else None


def _ours(resource: Resource, spec: Object) -> Object:
    metadata = {"name": "lan", "namespace": DEFAULT_NAMESPACE}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}


def _service(name: str) -> Object:
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {"type": "LoadBalancer", "selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
