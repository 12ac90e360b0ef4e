"""Are there other load balancers in the cluster?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from allocator.doctor.facts import CILIUM_POOLS, CONFIG_MAPS, DAEMON_SETS, DEPLOYMENTS, STATIC_PODS, Facts, name_of
from allocator.doctor.finding import Finding, error, warning
from allocator.objects.document import Document, labels_of

CILIUM_CONFIG: Final = "cilium-config"
NAMESPACE: Final = "kube-system"
_SERVICELB_LABEL: Final = "svccontroller.k3s.cattle.io/svcname"
_KUBE_VIP: Final = "kube-vip"
_SERVES: Final = "svc_enable"
_ARGUMENT: Final = "--services"
_TRUE: Final = frozenset(("1", "t", "T", "true", "TRUE", "True"))
"""As Go's strconv.ParseBool has it."""
_ALONE: Final = (
    "have it leave Services alone (svc_enable=false, no --services), or give it a loadBalancerClass; "
    "docs/taking-over.md"
)
_IMAGES: Final = {
    "kube-vip": (_KUBE_VIP, _ALONE),
    "metallb/controller": ("MetalLB", "docs/migration.md"),
    "metallb/speaker": ("MetalLB", "docs/migration.md"),
    "purelb": ("PureLB", "remove it, or give one of the two a loadBalancerClass"),
    "openelb": ("OpenELB", "remove it, or give one of the two a loadBalancerClass"),
}


def check_load_balancers(facts: Facts) -> Iterator[Finding]:
    """Find others that serve Services of the same class: two write one status, and two answer for one address."""
    for kind in (DAEMON_SETS, DEPLOYMENTS, STATIC_PODS):
        for workload in facts.all(kind):
            subject = f"{kind.kind} {name_of(workload)}"
            if _SERVICELB_LABEL in labels_of(workload):
                yield error(
                    subject,
                    f"is k3s' ServiceLB for Service {labels_of(workload)[_SERVICELB_LABEL]}",
                    "start k3s with --disable=servicelb; then docs/taking-over.md",
                )
                continue
            known = next((found for one in _containers(workload) if (found := _known(one))), None)
            if known is not None:
                yield warning(subject, f"runs {known[0]}, which may serve the same Services", known[1])
    if facts.all(CILIUM_POOLS):
        listed = ", ".join(one["metadata"]["name"] for one in facts.all(CILIUM_POOLS))
        yield warning(
            "Cilium",
            f"hands out load balancer addresses itself, from CiliumLoadBalancerIPPool {listed}",
            "set enableLBIPAM=false in Cilium's values, or give one of the two a loadBalancerClass; a pool that is "
            "deleted while Cilium's operator runs takes its addresses off all Services (docs/taking-over.md)",
        )
    configuration = (facts.named(CONFIG_MAPS, CILIUM_CONFIG, NAMESPACE) or {}).get("data") or {}
    if configuration.get("enable-l2-announcements") == "true":
        yield warning(
            "Cilium",
            "answers ARP for load balancer addresses (enable-l2-announcements)",
            "set l2announcements.enabled=false in Cilium's values",
        )


def _containers(workload: Document) -> Sequence[Document]:
    own: Document = workload.get("spec") or {}
    # A Pod has no template: its spec is what that of others holds.
    spec = (own["template"] or {}).get("spec") or {} if "template" in own else own
    return spec.get("containers") or ()


def _known(container: Document) -> tuple[str, str] | None:
    folder, _, name = str(container.get("image") or "").partition("@")[0].rpartition("/")
    path = f"{folder}/{name.partition(':')[0]}"
    found = next((known for part, known in _IMAGES.items() if part in path), None)
    if found is not None and found[0] == _KUBE_VIP and not _serves_services(container):
        return None
    return found


def _serves_services(kube_vip: Document) -> bool:
    """Whether kube-vip serves Services, and not the control plane alone; a variable overrides the argument."""
    variables = [one.get("value") for one in kube_vip.get("env") or () if one.get("name") == _SERVES]
    if variables and variables[-1]:
        return variables[-1] in _TRUE
    words = (*(kube_vip.get("command") or ()), *(kube_vip.get("args") or ()))
    values = [value if equals else "true" for name, equals, value in map(_halves, words) if name == _ARGUMENT]
    return bool(values) and values[-1] in _TRUE


def _halves(word: object) -> tuple[str, str, str]:
    return str(word).partition("=")
