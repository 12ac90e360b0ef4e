"""Does kube-proxy leave ARP for load balancer addresses alone?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import yaml

from allocator.doctor.facts import CONFIG_MAPS, Facts
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
            f"kubectl get configmap {NAME} -n {NAMESPACE} -o yaml | sed 's/strictARP: false/strictARP: true/' | "
            f"kubectl apply -f - ; kubectl rollout restart -n {NAMESPACE} daemonset/{NAME}",
        )
