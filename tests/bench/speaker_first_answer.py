"""From the `create` of a Service to the first answer for its address on the LAN.

The address is new to the cluster each time, so the time includes asking the LAN whether anybody has it. Times of
answers are those of the client's kernel.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from allocator.kube.client import Object
from allocator.kube.resource import SERVICES
from tests.bench.figures import Figure, quantile
from tests.bench.speaker_asking import Answer, Asking
from tests.bench.speaker_site import SpeakerSite
from tests.lab.waiting import wait_until

_PREFIXES = {"IPv4": "203.0.113.", "IPv6": "2001:db8:1::"}
_FIRST, _LAST = 100, 199
_ASK_SECONDS = 0.005
"""A kernel would ask once a second, and what was measured would be its patience."""
_TARGETS = (("p50", 0.5, 150.0), ("p95", 0.95, 250.0))


def measure(site: SpeakerSite, *, services: int = 20) -> Iterator[Figure]:
    """Create so many Services of each family, one after the other, each with an address of its own."""
    site.pool("first-answer", *(f"{prefix}{_FIRST}-{prefix}{_LAST}" for prefix in _PREFIXES.values()))
    for family, prefix in _PREFIXES.items():
        both = [_first_answer(site, f"{prefix}{_FIRST + index}", f"first-{index}") for index in range(services)]
        times, creations = [answer for answer, _ in both], [creation for _, creation in both]
        for what, share, target in _TARGETS:
            yield Figure(
                section="a new Service",
                what=f"created to first answer, {family}: {what} of {services}",
                value=quantile(times, share),
                unit="ms",
                baseline="MetalLB 0.16, same lab, IPv4, p50, without a probe",
                baseline_value=152.0,
                target=target,
                remark=f"worst {max(times):.0f}; `create` itself took {quantile(creations, share):.0f}",
                samples=tuple(round(one, 1) for one in times),
            )


def _first_answer(site: SpeakerSite, vip: str, name: str) -> tuple[float, float]:
    """Return how long the first answer took, and how long the `create`, in milliseconds."""
    answered: list[float] = []

    def hear(answer: Answer) -> None:
        if answer.address == vip:
            answered.append(answer.at)

    with Asking(site.asker, [vip], every_seconds=_ASK_SECONDS, on_answer=hear):
        # As many questions as it takes for the asking to be in its stride.
        threading.Event().wait(10 * _ASK_SECONDS)
        started = time.monotonic()
        site.lab.cluster().create(SERVICES, _service(name, vip), "default")
        created = time.monotonic()
        wait_until(lambda: answered, 10, f"{vip} is answered")
    site.lab.cluster().delete(SERVICES, name, "default")
    return 1000 * (answered[0] - started), 1000 * (created - started)


def _service(name: str, vip: str) -> Object:
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "annotations": {"metallb.io/loadBalancerIPs": vip}},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "web"},
            "ports": ports,
            "ipFamilies": ["IPv6" if ":" in vip else "IPv4"],
            "ipFamilyPolicy": "SingleStack",
        },
    }
