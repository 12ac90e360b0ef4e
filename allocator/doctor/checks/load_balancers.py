"""Are there other load balancers in the cluster?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from allocator.doctor.facts import (
    CILIUM_POOLS,
    CONFIG_MAPS,
    DAEMON_SETS,
    DEPLOYMENTS,
    STATIC_PODS,
    TRUE,
    Facts,
    argument,
    containers_of,
    name_of,
)
from allocator.doctor.finding import Finding, error, warning
from allocator.kube.resource import NODES, SERVICES
from allocator.objects.document import Document, labels_of
from allocator.objects.service import wants_address

CILIUM_CONFIG: Final = "cilium-config"
NAMESPACE: Final = "kube-system"
_SERVICELB_LABEL: Final = "svccontroller.k3s.cattle.io/svcname"
_SERVICELB_NAMESPACE_LABEL: Final = "svccontroller.k3s.cattle.io/svcnamespace"
_KUBE_VIP, _METALLB = "kube-vip", "MetalLB"
_FALSE: Final = frozenset(("0", "f", "F", "false", "FALSE", "False"))
_SERVES: Final = "svc_enable"
_ARGUMENT: Final = "--services"
_METALLB_CLASS: Final = "--lb-class"
_KUBE_VIP_CLASS: Final = "kube-vip.io/kube-vip-class"
_ALONE: Final = (
    "have it leave Services alone (svc_enable=false, no --services), or give it a loadBalancerClass; "
    "docs/taking-over.md"
)
_IMAGES: Final = {
    "kube-vip": (_KUBE_VIP, _ALONE),
    "metallb/controller": (_METALLB, "docs/migration.md"),
    "metallb/speaker": (_METALLB, "docs/migration.md"),
    "purelb": ("PureLB", "remove it, or give one of the two a loadBalancerClass"),
    "openelb": ("OpenELB", "remove it, or give one of the two a loadBalancerClass"),
}


def check_load_balancers(facts: Facts) -> Iterator[Finding]:
    """Find others that serve Services of the same class: two write one status, and two answer for one address."""
    for kind in (DAEMON_SETS, DEPLOYMENTS, STATIC_PODS):
        for workload in facts.all(kind):
            subject = f"{kind.kind} {name_of(workload)}"
            if _SERVICELB_LABEL in labels_of(workload):
                if _serves_one_of_ours(facts, workload):
                    yield error(
                        subject,
                        f"is k3s' ServiceLB for Service {labels_of(workload)[_SERVICELB_LABEL]}",
                        "start k3s with --disable=servicelb; then docs/taking-over.md",
                    )
                continue
            known = next((found for one in containers_of(workload) if (found := _known(one, facts.lb_class))), None)
            if known is not None and not _is_scaled_to_none(workload, facts):
                yield warning(subject, f"runs {known[0]}, which may serve the same Services", known[1])
    # Of Services with a class Cilium serves those of its own classes alone.
    if not facts.lb_class:
        yield from _cilium(facts)


def _cilium(facts: Facts) -> Iterator[Finding]:
    configuration = (facts.named(CONFIG_MAPS, CILIUM_CONFIG, NAMESPACE) or {}).get("data") or {}
    # "none" and "nodeipam" leave Services without a class alone.
    hands_out = (
        configuration.get("enable-lb-ipam") not in _FALSE
        and configuration.get("default-lb-service-ipam", "lbipam") == "lbipam"
    )
    if facts.all(CILIUM_POOLS) and hands_out:
        listed = ", ".join(one["metadata"]["name"] for one in facts.all(CILIUM_POOLS))
        yield warning(
            "Cilium",
            f"hands out load balancer addresses itself, from CiliumLoadBalancerIPPool {listed}",
            "set enableLBIPAM=false in Cilium's values, or give one of the two a loadBalancerClass; a pool that is "
            "deleted while Cilium's operator runs takes its addresses off all Services (docs/taking-over.md)",
        )
    if configuration.get("enable-l2-announcements") in TRUE:
        yield warning(
            "Cilium",
            "answers ARP for load balancer addresses (enable-l2-announcements)",
            "set l2announcements.enabled=false in Cilium's values",
        )


def _serves_one_of_ours(facts: Facts, servicelb: Document) -> bool:
    """Whether the Service it is for is one that is served here; where that cannot be seen, it may be."""
    labels = labels_of(servicelb)
    name, namespace = labels[_SERVICELB_LABEL], labels.get(_SERVICELB_NAMESPACE_LABEL)
    services = [
        one
        for one in facts.all(SERVICES)
        if one["metadata"]["name"] == name and namespace in (None, one["metadata"].get("namespace"))
    ]
    return not services or any(wants_address(one, lb_class=facts.lb_class) for one in services)


def _is_scaled_to_none(workload: Document, facts: Facts) -> bool:
    """Whether it is to have no Pods: no replicas, or a DaemonSet that selects none of the nodes there are."""
    status = workload.get("status") or {}
    # Without the field its controller has not counted yet.
    counted = bool(status.get("observedGeneration")) and bool(facts.all(NODES))
    return (workload.get("spec") or {}).get("replicas", 1) == 0 or (
        counted and status.get("desiredNumberScheduled", 1) == 0
    )


def _known(container: Document, lb_class: str) -> tuple[str, str] | None:
    folder, _, name = str(container.get("image") or "").partition("@")[0].rpartition("/")
    path = f"{folder}/{name.partition(':')[0]}"
    found = next((known for part, known in _IMAGES.items() if part in path), None)
    if found is None or _class_of(container, found[0]) != lb_class:
        return None
    if found[0] == _KUBE_VIP and not _serves_services(container):
        return None
    return found


def _class_of(container: Document, product: str) -> str:
    """The loadBalancerClass of the Services it serves; empty for those that name none."""
    if product == _METALLB:
        return argument(container, _METALLB_CLASS) or ""
    if product == _KUBE_VIP and _kube_vip(container, "lb_class_only", "--lbClassOnly") in TRUE:
        return _kube_vip(container, "lb_class_name", "--lbClassName") or _KUBE_VIP_CLASS
    return ""


def _serves_services(kube_vip: Document) -> bool:
    """Whether kube-vip serves Services, and not the control plane alone."""
    return _kube_vip(kube_vip, _SERVES, _ARGUMENT) in TRUE


def _kube_vip(container: Document, variable: str, option: str) -> str | None:
    """What a variable sets, or else an argument, which the variable overrides."""
    values = [one.get("value") for one in container.get("env") or () if one.get("name") == variable]
    return (values[-1] if values else None) or argument(container, option)
