"""Each check finds what it is there for, and nothing in a cluster in which nothing is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from allocator.doctor.catalogue import CHECKS, diagnose
from allocator.doctor.facts import CILIUM_POOLS, CONFIG_MAPS, CRDS, DAEMON_SETS, DEPLOYMENTS, PODS, STATIC_PODS, Facts
from allocator.doctor.finding import Severity
from allocator.kube.resource import (
    ENDPOINT_SLICES_V1,
    LEASES,
    MUTATING_WEBHOOKS,
    NODES,
    SERVICES,
    VALIDATING_WEBHOOKS,
    Resource,
)
from allocator.objects import names
from tests.unit.commands import bgp_manifests, manifests
from tests.unit.doctor.clusters import (
    HOME,
    NOW,
    allocation,
    authority,
    bgp_status,
    broken,
    findings,
    found,
    healthy,
    l2_status,
    lease,
    node,
    pod,
    speaker_lease,
)
from tests.unit.reference.commands import unknown

Objects = dict[Resource, list[Any]]
Change = Callable[[Objects], object]


def workload(name: str, image: str, **labels: str) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "x", "image": image}]}}
    return {"metadata": {"name": name, "namespace": "kube-system", "labels": labels}, "spec": {"template": template}}


def container(objects: Objects, pod: int = 0) -> dict[str, Any]:
    status: dict[str, Any] = objects[PODS][pod]["status"]["containerStatuses"][0]
    return status


def ended(at: str) -> dict[str, Any]:
    return {"terminated": {"reason": "OOMKilled", "finishedAt": at}}


def of_image(image: str, *arguments: str, **variables: str) -> dict[str, Any]:
    """A workload whose container has arguments and variables."""
    found = workload("other", image)
    inner = found["spec"]["template"]["spec"]["containers"][0]
    inner |= {"args": list(arguments), "env": [{"name": name, "value": value} for name, value in variables.items()]}
    return found


def without_pods(**parts: dict[str, Any]) -> dict[str, Any]:
    """MetalLB, left with nothing to run."""
    metallb = workload("old", "quay.io/metallb/controller:v0.14.9")
    return {**metallb, **{part: {**metallb.get(part, {}), **fields} for part, fields in parts.items()}}


def evicted(name: str, component: str, on: str = "") -> dict[str, Any]:
    """A Pod of an earlier image that its kubelet evicted."""
    gone: dict[str, Any] = pod(name, component, on)
    gone["spec"]["containers"][0]["image"] = "admitlb:0"
    return {**gone, "status": {"phase": "Failed", "reason": "Evicted"}}


def unscheduled(name: str) -> dict[str, Any]:
    waiting: dict[str, Any] = pod(name, "speaker", "")
    del waiting["spec"]["nodeName"]
    condition = {"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}
    return {**waiting, "status": {"phase": "Pending", "conditions": [condition]}}


def only_bgp(objects: Objects) -> None:
    """Nodes without a subnet on any interface, as in a routed fabric."""
    announced()(objects)
    objects[names.L2_ADVERTISEMENTS].clear()
    for index in (1, 2):
        annotate(index, "subnets", "")(objects)


def control_plane_left_out(objects: Objects) -> None:
    """A node that announces nothing, by its label, and many addresses on the others."""
    left_out = node("node-3", "192.0.2.3")
    left_out["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
    objects[NODES].append(left_out)
    objects[PODS].append(pod("s-3", "speaker", "node-3"))
    objects[LEASES].append(speaker_lease("node-3", "192.0.2.3"))
    for index in (1, 2, 3):
        annotate(index, "heard-speakers", "2")(objects)
    annotate(3, "subnets", "")(objects)
    objects[names.IP_ALLOCATIONS] += [
        allocation(f"192.0.2.{12 + number}", "web", f"node-{1 + number % 2}") for number in range(8)
    ]


def just_bound(objects: Objects) -> None:
    objects[names.IP_ALLOCATIONS][0].pop("status")
    objects[names.IP_ALLOCATIONS][0]["spec"]["holders"][0]["since"] = "2026-01-01T11:59:55Z"


def cilium(**configuration: str) -> Change:
    """Cilium with a pool."""
    data = {name.replace("_", "-"): value for name, value in configuration.items()}
    metadata = {"name": "cilium-config", "namespace": "kube-system"}

    def change(objects: Objects) -> None:
        objects[CILIUM_POOLS] = [{"metadata": {"name": "blue"}}]
        objects[CONFIG_MAPS].append({"metadata": metadata, "data": data})

    return change


def proxy_arguments(*arguments: str, kind: Resource = DAEMON_SETS) -> Change:
    def change(objects: Objects) -> None:
        no_config_map(objects)
        proxy = of_image("registry.k8s.io/kube-proxy:v1", *arguments)
        objects[kind].append(static(proxy) if kind is STATIC_PODS else proxy)

    return change


def client(objects: Objects) -> dict[str, Any]:
    configuration: dict[str, Any] = objects[MUTATING_WEBHOOKS][0]["webhooks"][0]["clientConfig"]
    return configuration


def annotate(index: int, key: str, value: str) -> Change:
    def change(objects: Objects) -> None:
        objects[LEASES][index]["metadata"]["annotations"][f"admitlb.io/{key}"] = value

    return change


def not_ready(kind: Resource, reason: str) -> Change:
    def change(objects: Objects) -> None:
        condition = {"type": "Ready", "status": "False", "reason": reason, "message": "why"}
        objects[kind][0].setdefault("status", {})["conditions"] = [condition]

    return change


def kube_proxy(text: str) -> Change:
    return lambda objects: objects[CONFIG_MAPS][0]["data"].update({"config.conf": text})


def hears_one_of_two(objects: Objects) -> None:
    third = {**objects[PODS][1], "spec": {**objects[PODS][1]["spec"], "nodeName": "node-3"}}
    objects[PODS].append(third)
    objects[LEASES].append(speaker_lease("node-3", "192.0.2.3"))
    for index in (1, 3):
        annotate(index, "heard-speakers", "2")(objects)


def three_faults(objects: Objects) -> None:
    objects[SERVICES].append(manifests.service("late"))
    objects[DAEMON_SETS][0]["status"].update(numberReady=1)
    objects[names.L2_ADVERTISEMENTS].clear()


def no_pools(objects: Objects) -> None:
    for kind in (names.IP_ADDRESS_POOLS, SERVICES, names.IP_ALLOCATIONS):
        objects[kind].clear()


def kube_vip(**variables: str) -> dict[str, Any]:
    found = workload("kube-vip-ds", "ghcr.io:443/kube-vip/kube-vip:v0.8")
    variables_of = [{"name": name, "value": value} for name, value in variables.items()]
    found["spec"]["template"]["spec"]["containers"][0]["env"] = variables_of
    return found


def kube_vip_with(*arguments: str, **variables: str) -> dict[str, Any]:
    found = kube_vip(**variables)
    found["spec"]["template"]["spec"]["containers"][0]["args"] = ["manager", *arguments]
    return found


def static(workload: dict[str, Any]) -> dict[str, Any]:
    """The Pod that a kubelet runs from a file."""
    return {**workload, "spec": workload["spec"]["template"]["spec"]}


def of_pool(address: str, pool: str) -> dict[str, Any]:
    found: dict[str, Any] = allocation(address, "web")
    found["spec"]["pool"] = pool
    return found


def deleted(at: str) -> dict[str, Any]:
    found: dict[str, Any] = manifests.service("old")
    found["metadata"] |= {"deletionTimestamp": at, "finalizers": ["service.kubernetes.io/load-balancer-cleanup"]}
    return found


def conflicted(address: str) -> dict[str, Any]:
    spec = {
        "address": address,
        "pool": "lan",
        "state": "Conflicted",
        "since": "2026-01-01T11:00:00Z",
        "holders": [],
        "foreignHost": {"hardwareAddress": "02:00:00:00:00:99"},
    }
    return {"metadata": {"name": address, "resourceVersion": "1"}, "spec": spec}


def frr(*, ready: int = 2, updated: int = 2) -> dict[str, Any]:
    status = {"desiredNumberScheduled": 2, "numberReady": ready, "updatedNumberScheduled": updated}
    return {"metadata": {"name": "frr", "namespace": HOME}, "status": status}


PILED_UP = [allocation(f"192.0.2.{number}", "web", "node-1") for number in range(10, 20)]


def announced(*, wanted: int = 2, sent: int = 2, **fault: Any) -> Change:
    """Both Services of the pool go to a router from both nodes; `fault` are the fields of the advertisement."""

    def change(objects: Objects) -> None:
        objects[names.BGP_PEERS].append(bgp_manifests.peer(peerAddress="192.0.2.254"))
        objects[names.BGP_ADVERTISEMENTS].append(bgp_manifests.bgp_advertisement(**fault))
        for node_name in ("node-1", "node-2"):
            objects[names.BGP_NODE_STATUSES].append(bgp_status(node_name, wanted=wanted, sent=sent))
        objects[ENDPOINT_SLICES_V1] += [endpoints("web"), endpoints("api")]

    return change


def endpoints(service: str) -> dict[str, Any]:
    return {
        "metadata": {"name": service, "namespace": "prod", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [{"addresses": ["10.244.0.9"], "nodeName": "node-1", "conditions": {"ready": True}}],
        "ports": [{"port": 80, "protocol": "TCP"}],
    }


def other_build(objects: Objects) -> None:
    for number, one in enumerate(objects[PODS]):
        one["status"]["containerStatuses"][0]["imageID"] = f"admitlb@sha256:{number % 2}"


def of_version(node_name: str, version: str) -> dict[str, Any]:
    found = bgp_status(node_name)
    found["status"]["frrVersion"] = version
    return found


def no_config_map(objects: Objects) -> None:
    objects[CONFIG_MAPS] = []


CASES: list[tuple[str, Change, list[tuple[str, str, str]]]] = [
    (
        "no Deployment",
        lambda o: o[DEPLOYMENTS].clear(),
        [("workloads", "error", "Deployment controller")],
    ),
    (
        "no speaker Ready",
        lambda o: o[DAEMON_SETS][0]["status"].update(numberReady=0),
        [("workloads", "error", "DaemonSet speaker")],
    ),
    (
        "one speaker not Ready",
        lambda o: o[DAEMON_SETS][0]["status"].update(numberReady=1),
        [("workloads", "warning", "DaemonSet speaker")],
    ),
    (
        "no node for speakers",
        lambda o: o[DAEMON_SETS][0]["status"].update(numberReady=0, desiredNumberScheduled=0),
        [("workloads", "error", "DaemonSet speaker")],
    ),
    (
        "an image that is not there",
        lambda o: container(o).update(state={"waiting": {"reason": "ImagePullBackOff"}}),
        [("workloads", "error", "Pod c-1")],
    ),
    (
        "restarts",
        lambda o: container(o).update(restartCount=9, lastState=ended("2026-01-01T08:00:00Z")),
        [("workloads", "warning", "Pod c-1")],
    ),
    (
        "an init container that fails",
        lambda o: o[PODS][0]["status"].update(
            initContainerStatuses=[
                {"name": "i", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
            ]
        ),
        [("workloads", "error", "Pod c-1")],
    ),
    (
        "a Pod that no node has room for",
        lambda o: o[PODS].append(unscheduled("s-3")),
        [("workloads", "error", "Pod s-3")],
    ),
    (
        "webhooks that were deleted from a configuration",
        lambda o: o[VALIDATING_WEBHOOKS][0]["webhooks"].pop(),
        [("webhook-registration", "warning", "ValidatingWebhookConfiguration metallb-webhook-configuration")],
    ),
    (
        "a configuration without webhooks",
        lambda o: o[MUTATING_WEBHOOKS][0].pop("webhooks"),
        [("webhook-registration", "error", "MutatingWebhookConfiguration metallb-webhook-configuration")],
    ),
    (
        "two images",
        lambda o: o[PODS][1]["spec"]["containers"][0].update(image="admitlb:2"),
        [("versions", "warning", "images")],
    ),
    (
        "nobody leads",
        lambda o: o[LEASES][0]["spec"].update(holderIdentity=""),
        [("leadership", "error", "Lease admitlb-reconciler")],
    ),
    (
        "a leader that hangs",
        lambda o: o[LEASES][0]["spec"].update(renewTime="2026-01-01T11:59:00Z"),
        [("leadership", "error", "Lease admitlb-reconciler")],
    ),
    (
        "no configuration of the webhook",
        lambda o: o[VALIDATING_WEBHOOKS].clear(),
        [
            (
                "webhook-registration",
                "error",
                "ValidatingWebhookConfiguration metallb-webhook-configuration",
            )
        ],
    ),
    (
        "no caBundle",
        lambda o: client(o).pop("caBundle"),
        [
            (
                "webhook-registration",
                "error",
                "MutatingWebhookConfiguration metallb-webhook-configuration: services.admitlb.io",
            )
        ],
    ),
    (
        "a caBundle that is none",
        lambda o: client(o).update(caBundle="bm90aGluZw=="),
        [
            (
                "webhook-registration",
                "error",
                "MutatingWebhookConfiguration metallb-webhook-configuration: services.admitlb.io",
            )
        ],
    ),
    (
        "an authority that has expired",
        lambda o: client(o).update(caBundle=authority(days=-1)),
        [
            (
                "webhook-registration",
                "error",
                "MutatingWebhookConfiguration metallb-webhook-configuration: services.admitlb.io",
            )
        ],
    ),
    (
        "an authority that is about to",
        lambda o: client(o).update(caBundle=authority(days=2)),
        [
            (
                "webhook-registration",
                "warning",
                "MutatingWebhookConfiguration metallb-webhook-configuration: services.admitlb.io",
            )
        ],
    ),
    (
        "no token",
        lambda o: client(o)["service"].update(path="/mutate-v1-service"),
        [
            (
                "webhook-registration",
                "error",
                "MutatingWebhookConfiguration metallb-webhook-configuration: services.admitlb.io",
            )
        ],
    ),
    (
        "another Service",
        lambda o: client(o)["service"].update(name="other"),
        [
            (
                "webhook-registration",
                "error",
                "MutatingWebhookConfiguration metallb-webhook-configuration: services.admitlb.io",
            )
        ],
    ),
    (
        "no endpoint",
        lambda o: o[ENDPOINT_SLICES_V1][0]["endpoints"][0]["conditions"].update(ready=False),
        [("webhook-registration", "error", "Service metallb-webhook-service")],
    ),
    (
        "a speaker without Lease",
        lambda o: o[LEASES].pop(),
        [("speaker-leases", "error", "speaker on node-2")],
    ),
    (
        "a speaker whose Lease is old",
        lambda o: o[LEASES][2]["spec"].update(renewTime="2026-01-01T11:58:00Z"),
        [("speaker-leases", "error", "speaker on node-2")],
    ),
    (
        "a speaker that hears nobody",
        annotate(2, "heard-speakers", "0"),
        [("speaker-leases", "error", "speaker on node-2")],
    ),
    (
        "a speaker that hears some",
        hears_one_of_two,
        [("speaker-leases", "warning", "speaker on node-2")],
    ),
    (
        "a speaker without a LAN",
        annotate(2, "subnets", ""),
        [("speaker-leases", "warning", "speaker on node-2")],
    ),
    (
        "a Lease without a Pod",
        lambda o: o[PODS].pop(),
        [("speaker-leases", "warning", "Leases")],
    ),
    (
        "a pool that is no pool",
        lambda o: o[names.IP_ADDRESS_POOLS].append(manifests.pool("bad", "192.0.2.300")),
        [("objects", "error", "IPAddressPool bad")],
    ),
    (
        "pools that overlap",
        lambda o: o[names.IP_ADDRESS_POOLS].append(manifests.pool("twice", "192.0.2.19")),
        [("objects", "error", "IPAddressPool twice")],
    ),
    (
        "a pool in another namespace",
        lambda o: o[names.IP_ADDRESS_POOLS].append(manifests.pool("lost", "198.51.100.1", namespace="prod")),
        [("objects", "warning", "IPAddressPool prod/lost")],
    ),
    (
        "an object whose status says no",
        not_ready(names.L2_ADVERTISEMENTS, "NoNode"),
        [("objects", "warning", "L2Advertisement all")],
    ),
    (
        "a pool that nothing covers",
        lambda o: o[names.L2_ADVERTISEMENTS].clear(),
        [("pool-coverage", "error", "IPAddressPool lan")],
    ),
    (
        "an advertisement without nodes",
        lambda o: o[names.L2_ADVERTISEMENTS].append(
            manifests.advertisement("nowhere", nodeSelectors=[{"matchLabels": {"rack": "9"}}])
        ),
        [("advertising-nodes", "error", "L2Advertisement nowhere")],
    ),
    (
        "a pool with a node's address",
        lambda o: o[names.IP_ADDRESS_POOLS].append(manifests.pool("node", "192.0.2.2")),
        [("address-ranges", "error", "IPAddressPool node")],
    ),
    (
        "a pool with Services' addresses",
        lambda o: o[names.IP_ADDRESS_POOLS].append(manifests.pool("services", "10.96.5.0/24")),
        [("address-ranges", "error", "IPAddressPool services")],
    ),
    (
        "a pool with both ends of the nodes' LAN",
        lambda o: o[names.IP_ADDRESS_POOLS].append(
            manifests.pool("ends", "192.0.2.0/29", "192.0.2.255", excludeAddresses=["192.0.2.1-192.0.2.2"])
        ),
        [("lan-addresses", "warning", "IPAddressPool ends"), ("lan-addresses", "warning", "IPAddressPool ends")],
    ),
    (
        "the same, left out",
        lambda o: o[names.IP_ADDRESS_POOLS].append(manifests.pool("ends", "192.0.2.255", avoidBuggyIPs=True)),
        [],
    ),
    (
        "the last address of a CIDR that is not the LAN's",
        lambda o: o[names.IP_ADDRESS_POOLS].append(manifests.pool("half", "192.0.2.64/26")),
        [],
    ),
    (
        "externalIPs with an address of a pool",
        lambda o: o[SERVICES].append(manifests.service("nat", type="ClusterIP", externalIPs=["192.0.2.19"])),
        [("external-ips", "warning", "Service prod/nat")],
    ),
    (
        "externalIPs with an address that another Service holds",
        lambda o: o[SERVICES].append(
            manifests.service("nat", namespace="dev", type="ClusterIP", externalIPs=["203.0.113.9", "192.0.2.10"])
        ),
        [("external-ips", "error", "Service dev/nat")],
    ),
    (
        "an address that nobody announces",
        not_ready(names.IP_ALLOCATIONS, "NoNode"),
        [("announcements", "error", "IPAllocation 192.0.2.10")],
    ),
    (
        "an address without endpoints",
        not_ready(names.IP_ALLOCATIONS, "NoEndpoint"),
        [("announcements", "note", "IPAllocation 192.0.2.10")],
    ),
    (
        "an address of which nothing is known",
        lambda o: o[names.IP_ALLOCATIONS][0].pop("status"),
        [("announcements", "error", "IPAllocation 192.0.2.10")],
    ),
    (
        "an address announced by a node that is gone",
        lambda o: o[names.IP_ALLOCATIONS][0]["status"]["announcedBy"].update(node="node-9"),
        [("announcements", "error", "IPAllocation 192.0.2.10")],
    ),
    (
        "a host with an address of the pool",
        lambda o: o[names.IP_ALLOCATIONS].append(conflicted("192.0.2.15")),
        [("foreign-hosts", "warning", "IPAllocation 192.0.2.15")],
    ),
    (
        "a router that answers for all of the pool",
        lambda o: o[names.IP_ALLOCATIONS].extend(conflicted(f"192.0.2.{number}") for number in (15, 16, 17)),
        [("foreign-hosts", "error", "host 02:00:00:00:00:99")],
    ),
    (
        "two nodes announce one address",
        lambda o: o[names.SERVICE_L2_STATUSES].append(l2_status("web", "192.0.2.10", "node-2")),
        [("announcers", "warning", "address 192.0.2.10")],
    ),
    (
        "a session that is down",
        lambda o: o[names.BGP_NODE_STATUSES].append(bgp_status("node-1", state="Down", last_reset="hold timer")),
        [("bgp-sessions", "error", "BGPPeer tor")],
    ),
    (
        "a session that FRR refuses",
        lambda o: o[names.BGP_NODE_STATUSES].append(bgp_status("node-1", rejected=True, message="no such VRF")),
        [("bgp-sessions", "error", "BGPPeer tor")],
    ),
    (
        "a node whose FRR lacks what it is to have",
        lambda o: o[names.BGP_NODE_STATUSES].append(bgp_status("node-1", "FRR is not reached")),
        [("bgp-sessions", "warning", "BGP on node-1")],
    ),
    (
        "FRR that does not run",
        lambda o: o[DAEMON_SETS].append(frr(ready=1)),
        [("bgp-sessions", "error", "DaemonSet frr")],
    ),
    (
        "FRR of an earlier template",
        lambda o: o[DAEMON_SETS].append(frr(updated=1)),
        [("bgp-sessions", "note", "DaemonSet frr")],
    ),
    (
        "a node that announces fewer prefixes than objects say",
        announced(wanted=1, sent=1),
        [("bgp-routes", "warning", "BGPPeer tor")],
    ),
    (
        "prefixes that were not sent",
        announced(sent=1),
        [("bgp-routes", "warning", "BGPPeer tor")],
    ),
    (
        "an advertisement for a peer that is not there",
        announced(wanted=0, sent=0, peers=["spine"]),
        [("bgp-routes", "error", "Service prod/web"), ("bgp-routes", "error", "Service prod/api")],
    ),
    (
        "peers that MetalLB stored long ago",
        lambda o: o[CRDS][0]["status"]["storedVersions"].insert(0, "v1beta1"),
        [("stored-versions", "error", "CRD bgppeers.metallb.io")],
    ),
    (
        "two releases of FRR",
        lambda o: o[names.BGP_NODE_STATUSES].extend([of_version("node-1", "10.3"), of_version("node-2", "8.4.4")]),
        [("bgp-versions", "note", "FRR")],
    ),
    ("two builds of one image", other_build, [("versions", "note", "images")]),
    (
        "addresses on one node",
        lambda o: o.update({names.IP_ALLOCATIONS: [*PILED_UP], SERVICES: []}),
        [("spread", "note", "node node-1")],
    ),
    (
        "a Service that shows what it does not hold",
        lambda o: o[SERVICES].append(manifests.service("old", shows=("192.0.2.12",))),
        [("services", "error", "Service prod/old")],
    ),
    (
        "an address of a pool that is gone",
        lambda o: o.update({names.IP_ALLOCATIONS: [of_pool("198.51.100.9", "gone")], SERVICES: []}),
        [("services", "note", "IPAllocation 198.51.100.9")],
    ),
    (
        "an address that its pool does not have any more, and one that another has",
        lambda o: o.update(
            {names.IP_ALLOCATIONS: [of_pool("198.51.100.9", "lan"), of_pool("192.0.2.10", "gone")], SERVICES: []}
        ),
        [],
    ),
    (
        "a Service that a finalizer keeps",
        lambda o: o[SERVICES].append(deleted("2026-01-01T11:00:00Z")),
        [("services", "warning", "Service prod/old")],
    ),
    (
        "a Service that is going",
        lambda o: o[SERVICES].append(deleted("2026-01-01T11:59:30Z")),
        [],
    ),
    (
        "another controller's Service",
        lambda o: o[SERVICES].append(manifests.service("k3s", shows=("203.0.113.9",))),
        [("services", "warning", "Service prod/k3s")],
    ),
    (
        "a Service that waits",
        lambda o: o[SERVICES].append(manifests.service("late")),
        [("services", "note", "Services")],
    ),
    ("IPVS without strictARP", kube_proxy("mode: ipvs\n"), [("kube-proxy", "error", "kube-proxy")]),
    (
        "IPVS by an argument",
        proxy_arguments("--proxy-mode=ipvs"),
        [("kube-proxy", "error", "DaemonSet kube-system/other")],
    ),
    (
        "IPVS by an argument of a static Pod",
        proxy_arguments("--proxy-mode=ipvs", "--ipvs-strict-arp=false", kind=STATIC_PODS),
        [("kube-proxy", "error", "static Pod kube-system/other")],
    ),
    (
        "k3s ServiceLB",
        lambda o: o[DAEMON_SETS].append(
            workload("svclb-web", "klipper-lb:1", **{"svccontroller.k3s.cattle.io/svcname": "web"})
        ),
        [("load-balancers", "error", "DaemonSet kube-system/svclb-web")],
    ),
    (
        "kube-vip",
        lambda o: o[DAEMON_SETS].append(kube_vip(svc_enable="true")),
        [("load-balancers", "warning", "DaemonSet kube-system/kube-vip-ds")],
    ),
    *(
        (
            f"kube-vip with {' '.join(arguments)} {variables}",
            lambda o, a=arguments, v=variables: o[DAEMON_SETS].append(kube_vip_with(*a, **v)),
            [("load-balancers", "warning", "DaemonSet kube-system/kube-vip-ds")],
        )
        for arguments, variables in (
            (("--controlplane", "--services"), {}),
            (("--services=true",), {"cp_enable": "true"}),
            ((), {"svc_enable": "1"}),
            (("--services=false",), {"svc_enable": "True"}),
            (("--services",), {"svc_enable": ""}),
        )
    ),
    (
        "kube-vip as a static Pod",
        lambda o: o[STATIC_PODS].append(static(kube_vip(svc_enable="true"))),
        [("load-balancers", "warning", "static Pod kube-system/kube-vip-ds")],
    ),
    (
        "kube-vip as a static Pod with an argument",
        lambda o: o[STATIC_PODS].append(static(kube_vip_with("--services"))),
        [("load-balancers", "warning", "static Pod kube-system/kube-vip-ds")],
    ),
    (
        "k3s ServiceLB of one of our Services",
        lambda o: o[DAEMON_SETS].append(
            workload(
                "svclb-web",
                "klipper-lb:1",
                **{"svccontroller.k3s.cattle.io/svcname": "web", "svccontroller.k3s.cattle.io/svcnamespace": "prod"},
            )
        ),
        [("load-balancers", "error", "DaemonSet kube-system/svclb-web")],
    ),
    (
        "MetalLB",
        lambda o: o[DEPLOYMENTS].append(workload("controller", "quay.io/metallb/controller:v0.14.9")),
        [("load-balancers", "warning", "Deployment kube-system/controller")],
    ),
    (
        "MetalLB, just created",
        lambda o: o[DAEMON_SETS].append(without_pods(status={"desiredNumberScheduled": 0})),
        [("load-balancers", "warning", "DaemonSet kube-system/old")],
    ),
    (
        "Cilium's pools",
        lambda o: o.update({CILIUM_POOLS: [{"metadata": {"name": "blue"}}]}),
        [("load-balancers", "warning", "Cilium")],
    ),
    (
        "Cilium's announcements",
        lambda o: o[CONFIG_MAPS].append(
            {
                "metadata": {"name": "cilium-config", "namespace": "kube-system"},
                "data": {"enable-l2-announcements": "true"},
            }
        ),
        [("load-balancers", "warning", "Cilium")],
    ),
]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert findings(healthy()) == []


@pytest.mark.parametrize(("change", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_one_fault_is_found_and_nothing_else(change: Change, expected: list[tuple[str, str, str]]) -> None:
    facts = broken(change)
    assert found(facts) == expected
    for finding in findings(facts):
        assert finding.message
        assert finding.remedy


def test_every_check_has_a_case() -> None:
    assert {one[0] for case in CASES for one in case[2]} == {check.name for check in CHECKS}


@pytest.mark.parametrize(
    "change",
    [
        kube_proxy("mode: iptables\n"),
        kube_proxy("mode: ''\n"),
        kube_proxy("mode: ipvs\nipvs: {strictARP: true}\n"),
        no_config_map,
        announced(),
        lambda o: o[names.BGP_NODE_STATUSES].append(bgp_status("node-1")),
        lambda o: o[names.BGP_NODE_STATUSES].append(bgp_status("node-1", state="Shutdown", message="by hand")),
        lambda o: o[names.BGP_NODE_STATUSES].append(bgp_status("node-that-went", state="Down")),
        lambda o: o[DAEMON_SETS].append(frr()),
        lambda o: o[DAEMON_SETS].append(kube_vip(cp_enable="true", svc_enable="false")),
        lambda o: o[DAEMON_SETS].append(kube_vip_with("--services=false")),
        lambda o: o[DAEMON_SETS].append(kube_vip_with("--services", svc_enable="false")),
        lambda o: o[DAEMON_SETS].append(kube_vip_with("--servicesElection")),
        lambda o: o[STATIC_PODS].append(static(kube_vip(cp_enable="true"))),
        lambda o: o[DAEMON_SETS].append(workload("node-exporter", "quay.io/prometheus/node-exporter:v1")),
        lambda o: o[SERVICES].append(manifests.service("theirs", loadBalancerClass="other.io/lb")),
        lambda o: o[names.IP_ADDRESS_POOLS].append(
            manifests.pool("hole", "10.96.5.0/24", excludeAddresses=["10.96.5.0/24"])
        ),
        lambda o: o[LEASES].append(lease("speaker-node-3", "")),
        lambda o: container(o).update(restartCount=9, lastState=ended("2025-06-01T00:00:00Z")),
        lambda o: container(o).update(restartCount=9),
        lambda o: o[PODS].extend([evicted("c-0", "controller"), evicted("s-0", "speaker", "node-9")]),
        only_bgp,
        control_plane_left_out,
        just_bound,
        proxy_arguments("--proxy-mode=ipvs", "--ipvs-strict-arp"),
        proxy_arguments("--proxy-mode=iptables"),
        cilium(enable_lb_ipam="false"),
        cilium(default_lb_service_ipam="none", enable_l2_announcements="false"),
        lambda o: o[DAEMON_SETS].append(of_image("quay.io/metallb/speaker:v0.14.9", "--lb-class=metallb.io/lb")),
        lambda o: o[DEPLOYMENTS].append(without_pods(spec={"replicas": 0})),
        lambda o: o[DAEMON_SETS].append(without_pods(status={"desiredNumberScheduled": 0, "observedGeneration": 1})),
        lambda o: o[DAEMON_SETS].append(of_image("kube-vip/kube-vip:1", svc_enable="true", lb_class_only="true")),
        lambda o: o[DAEMON_SETS].append(of_image("kube-vip/kube-vip:1", "--services", "--lbClassOnly")),
        lambda o: o[DAEMON_SETS].append(
            of_image("kube-vip/kube-vip:1", "--services", "--lbClassOnly", "--lbClassName=x.io/lb")
        ),
    ],
)
def test_what_is_all_right_is_not_found(change: Change) -> None:
    assert found(broken(change)) == []


OTHERS: list[Change] = [
    lambda o: o[DAEMON_SETS].append(workload("svclb-web", "x", **{"svccontroller.k3s.cattle.io/svcname": "web"})),
    lambda o: o[DAEMON_SETS].append(of_image("quay.io/metallb/speaker:v0.14.9")),
    lambda o: o[DAEMON_SETS].append(of_image("kube-vip/kube-vip:1", svc_enable="true")),
    cilium(enable_l2_announcements="true"),
]


@pytest.mark.parametrize("change", OTHERS)
def test_with_a_class_of_our_own_others_may_serve_the_services_that_have_none(change: Change) -> None:
    assert found(broken(change), "load-balancers")
    assert found(replace(broken(change), lb_class="admitlb.io/lb"), "load-balancers") == []


def test_one_that_serves_our_class_is_found() -> None:
    facts = broken(lambda o: o[DAEMON_SETS].append(of_image("quay.io/metallb/speaker:v1", "--lb-class=x.io/lb")))
    assert found(replace(facts, lb_class="x.io/lb"), "load-balancers")


def test_what_is_held_for_a_service_that_changes_meanwhile_is_not_judged() -> None:
    facts = broken(lambda o: o[names.IP_ALLOCATIONS].pop(0))
    assert found(facts, "services") == [("services", "error", "Service prod/web")]
    assert found(replace(facts, changing=frozenset({"prod/web"})), "services") == []


_OF_A_NAMESPACE = re.compile(r"\bkubectl (?:get|describe|edit|logs|rollout)\b(?! nodes?\b)[^;|]*")
_OURS = re.compile(r"\badmitlb ([a-z][^;`(]*)")


def remedies(facts: Facts) -> list[str]:
    return [finding.remedy for finding in findings(facts)]


def test_every_command_of_a_remedy_is_whole() -> None:
    """kubectl's name the namespace of what they are about; ours exist, with their options."""
    for _, change, _ in CASES:
        for remedy in remedies(broken(change)):
            assert [call for call in _OF_A_NAMESPACE.findall(remedy) if " -n " not in call] == []
            assert [words for words in _OURS.findall(remedy) if unknown(words)] == []


def test_remedies_are_for_the_namespace_and_the_class_of_the_installation() -> None:
    facts = broken(lambda o: o[SERVICES].append(manifests.service("late", loadBalancerClass="x.io/lb")))
    remedy = {each.check: each.remedy for each in findings(replace(facts, lb_class="x.io/lb"))}["services"]
    assert remedy == "kubectl admitlb explain --lb-class x.io/lb prod/late"
    assert unknown(_OURS.findall(remedy)[0]) == ""
    elsewhere = [each for each in remedies(replace(healthy(), namespace="lb")) if _OURS.search(each)]
    assert elsewhere
    for remedy in elsewhere:
        assert "--admitlb-namespace lb" in remedy
        assert unknown(_OURS.findall(remedy)[0]) == ""


def test_a_controller_that_is_scaled_to_none_is_scaled_up_again() -> None:
    def scaled(objects: Objects) -> None:
        objects[DEPLOYMENTS][0]["spec"]["replicas"] = 0
        objects[DEPLOYMENTS][0]["status"] = {}

    (remedy,) = [each.remedy for each in findings(broken(scaled)) if each.check == "workloads"]
    assert remedy == "kubectl scale deployment controller -n metallb-system --replicas=2"


def test_a_container_that_never_ran_has_no_log() -> None:
    (never,) = remedies(broken(lambda o: container(o).update(state={"waiting": {"reason": "ImagePullBackOff"}})))
    assert never == "kubectl describe pod -n metallb-system c-1"
    crashes = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 1}
    (ran,) = remedies(broken(lambda o: container(o).update(crashes)))
    assert ran == "kubectl logs -n metallb-system c-1 -c controller --previous"


@pytest.mark.parametrize(("text", "command"), [("ipvs: {strictARP: false}\n", "sed"), ("", "kubectl edit")])
def test_strict_arp_is_set_whether_it_is_written_or_not(text: str, command: str) -> None:
    (remedy,) = remedies(broken(kube_proxy(f"mode: ipvs\n{text}")))
    assert command in remedy
    assert "rollout restart" in remedy


def test_a_kube_proxy_configuration_that_cannot_be_read_is_a_note() -> None:
    assert found(broken(kube_proxy("- a list\n"))) == [("kube-proxy", "note", "ConfigMap kube-system/kube-proxy")]


def test_there_being_no_pool_is_worth_a_note() -> None:
    facts = broken(no_pools)
    assert found(facts) == [("pool-coverage", "note", "pools")]


@pytest.mark.parametrize("minutes", [-600, -4, 0, 4])
def test_a_clock_that_is_wrong_here_makes_no_lease_old(minutes: int) -> None:
    assert found(replace(healthy(), at=NOW + timedelta(minutes=minutes)), "leadership") == []
    assert found(replace(healthy(), at=NOW + timedelta(minutes=minutes)), "speaker-leases") == []


def test_leases_that_nobody_renews_any_more_are_old() -> None:
    later = replace(healthy(), at=NOW + timedelta(hours=1))
    assert [severity for _, severity, _ in found(later, "leadership")] == ["error"]
    assert [severity for _, severity, _ in found(later, "speaker-leases")] == ["error", "error"]


@pytest.mark.parametrize("check", CHECKS, ids=[check.name for check in CHECKS])
def test_what_may_not_be_listed_is_said_and_not_guessed(check: Any) -> None:
    for kind in check.needs:
        facts = healthy()
        readable = {one: documents for one, documents in facts.objects.items() if one is not kind}
        limited = replace(facts, objects=readable, unread={kind: "403 Forbidden"})
        (finding,) = diagnose(limited, [check])
        assert finding.message == f"was not made: {kind.plural}: 403 Forbidden"
        assert finding.severity is Severity.WARNING


def test_the_worst_comes_first() -> None:
    facts = broken(three_faults)
    severities = [severity for _, severity, _ in found(facts)]
    assert severities == ["error", "warning", "note"]
