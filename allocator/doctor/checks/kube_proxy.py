"""Does kube-proxy leave ARP for load balancer addresses alone?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import yaml

from allocator.doctor.facts import (
    CONFIG_MAPS,
    DAEMON_SETS,
    STATIC_PODS,
    TRUE,
    Facts,
    argument,
    containers_of,
    name_of,
)
from allocator.doctor.finding import Finding, error, note

NAMESPACE: Final = "kube-system"
NAME: Final = "kube-proxy"
_FILE: Final = "config.conf"


def check_kube_proxy(facts: Facts) -> Iterator[Finding]:
    """Find IPVS without strictARP: every node answers ARP for every address, and clients reach any of them.

    kube-proxy binds the addresses to kube-ipvs0, and the kernel answers for what is bound (MetalLB's installation
    guide, "Preparation").
    """
    found = facts.named(CONFIG_MAPS, NAME, NAMESPACE)
    text = ((found or {}).get("data") or {}).get(_FILE)
    if not text:
        yield from _by_arguments(facts)
        return
    try:
        configuration = yaml.safe_load(text)
    except yaml.YAMLError:
        configuration = None
    if not isinstance(configuration, dict):
        yield note(f"ConfigMap {NAMESPACE}/{NAME}", f"its {_FILE} cannot be read", "look at how kube-proxy is run")
        return
    ipvs = configuration.get("ipvs")
    strict = isinstance(ipvs, dict) and ipvs.get("strictARP") is True
    if configuration.get("mode") == "ipvs" and not strict:
        yield error(
            "kube-proxy",
            "runs in mode ipvs without strictARP: every node answers ARP for load balancer addresses",
            f"{_change(text)}; kubectl rollout restart -n {NAMESPACE} daemonset/{NAME}",
        )


def _change(text: str) -> str:
    if "strictARP: false" in text:
        get = f"kubectl get configmap {NAME} -n {NAMESPACE} -o yaml"
        return f"{get} | sed 's/strictARP: false/strictARP: true/' | kubectl apply -f -"
    return f"kubectl edit configmap {NAME} -n {NAMESPACE}, to set ipvs.strictARP to true"


def _by_arguments(facts: Facts) -> Iterator[Finding]:
    """The same where kube-proxy is configured by its arguments: there is no file then, or it names one of a node."""
    for kind in (DAEMON_SETS, STATIC_PODS):
        for workload in facts.all(kind):
            if workload["metadata"].get("namespace") != NAMESPACE:
                continue
            for container in containers_of(workload):
                mode, strict = (argument(container, name) for name in ("--proxy-mode", "--ipvs-strict-arp"))
                if mode == "ipvs" and strict not in TRUE:
                    yield error(
                        f"{kind.kind} {name_of(workload)}",
                        "kube-proxy runs in mode ipvs without strictARP: every node answers ARP for load balancer "
                        "addresses",
                        "add --ipvs-strict-arp=true to its arguments (k3s and RKE2: "
                        "--kube-proxy-arg=ipvs-strict-arp=true)",
                    )
