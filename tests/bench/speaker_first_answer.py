"""From the `create` of a Service to the first answer for its address on the LAN.

`python -m tests.lab.enter -- python -m tests.bench.speaker_first_answer`. The address is new to the cluster each
time, so the time includes asking the LAN whether anybody has it. Times are those of the client's kernel.
"""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from allocator.cluster import Object
from allocator.core.addresses import Address
from allocator.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS, SERVICES
from speaker.frames.arp import ArpFrame, Operation
from speaker.frames.ethernet import BROADCAST, ETHERTYPE_ARP, UNKNOWN, MalformedFrame, mac_bytes
from tests.bench.figures import Figure
from tests.lab.capture import Capture
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until

POOL = "first-answer"
_ASK_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAnswers:
    """Milliseconds from sending the `create` to the first ARP reply, and the part of it until the first probe."""

    services: int
    p50_ms: float
    p95_ms: float
    worst_ms: float
    p50_to_probe_ms: float


def measure_first_answers(lab: Lab, *, services: int = 20) -> FirstAnswers:
    """Create Services one after the other; the lab has AdmitLB installed and an application `web` of one Pod."""
    totals, probes = [], []
    with _pool(lab):
        for index in range(services):
            total, probe = _one(lab, f"203.0.113.{100 + index}", f"first-{index}")
            totals.append(total)
            probes.append(probe)
    cuts = statistics.quantiles(totals, n=20, method="inclusive")
    return FirstAnswers(
        services=services,
        p50_ms=statistics.median(totals),
        p95_ms=cuts[18],
        worst_ms=max(totals),
        p50_to_probe_ms=statistics.median(probes),
    )


def _one(lab: Lab, vip: str, name: str) -> tuple[float, float]:
    stop = threading.Event()
    with Capture(lab.client().host, ethertype=ETHERTYPE_ARP) as capture:
        asking = threading.Thread(target=_ask, args=(lab, vip, stop), name="asking")
        asking.start()
        started = time.monotonic()
        lab.cluster().create(SERVICES, _service(name, vip), "default")

        def first(operation: Operation) -> float | None:
            """The first ARP about the address by somebody else that is of this operation."""
            for frame in capture.frames:
                arp = _arp(frame.data)
                if arp is None or arp.operation is not operation:
                    continue
                about = arp.sender_ip if operation is Operation.REPLY else arp.target_ip
                if str(about) == vip:
                    return frame.at
            return None

        try:
            answered = wait_until(lambda: first(Operation.REPLY), 10, f"{vip} is answered")
        finally:
            stop.set()
            asking.join()
        probed = first(Operation.REQUEST)
    lab.cluster().delete(SERVICES, name, "default")
    return 1000 * (answered - started), 1000 * ((probed or answered) - started)


def _ask(lab: Lab, vip: str, stop: threading.Event) -> None:
    """Ask every few milliseconds: a kernel would ask once a second, and what is measured be its patience."""
    host = lab.client().host
    with host.inside():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with sock:
        sock.bind(("eth0", 0))
        mac = mac_bytes(host.mac("eth0"))
        question = ArpFrame(
            destination=BROADCAST,
            source=mac,
            operation=Operation.REQUEST,
            sender_mac=mac,
            sender_ip=Address.parse(lab.client().addresses[0]),
            target_mac=UNKNOWN,
            target_ip=Address.parse(vip),
        ).encode()
        while not stop.wait(_ASK_SECONDS):
            sock.send(question)


def _arp(data: bytes) -> ArpFrame | None:
    try:
        return ArpFrame.decode(data)
    except MalformedFrame:
        return None


@contextmanager
def _pool(lab: Lab) -> Iterator[None]:
    metadata = {"name": POOL, "namespace": DEFAULT_NAMESPACE}
    pool = {
        "apiVersion": IP_ADDRESS_POOLS.api_version,
        "kind": IP_ADDRESS_POOLS.kind,
        "metadata": metadata,
        "spec": {"addresses": ["203.0.113.100-203.0.113.199"]},
    }
    advertisement = {
        "apiVersion": L2_ADVERTISEMENTS.api_version,
        "kind": L2_ADVERTISEMENTS.kind,
        "metadata": metadata,
        "spec": {"ipAddressPools": [POOL], "interfaces": ["eth0"]},
    }
    lab.cluster().create(IP_ADDRESS_POOLS, pool, DEFAULT_NAMESPACE)
    lab.cluster().create(L2_ADVERTISEMENTS, advertisement, DEFAULT_NAMESPACE)
    try:
        yield
    finally:
        lab.cluster().delete(L2_ADVERTISEMENTS, POOL, DEFAULT_NAMESPACE)
        lab.cluster().delete(IP_ADDRESS_POOLS, POOL, DEFAULT_NAMESPACE)


def _service(name: str, vip: str) -> Object:
    annotations = {"metallb.io/loadBalancerIPs": vip}
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": ports},
    }


def measure() -> Iterator[Figure]:
    """Measure on a lab of three nodes of its own."""
    with Lab(nodes=3, clients=1) as lab:
        lab.install()
        lab.deploy_http("web")
        found = measure_first_answers(lab)
    remark = (
        f"{found.services} Services; probed after {found.p50_to_probe_ms:.0f} ms (p50), worst {found.worst_ms:.0f} ms"
    )
    for what, value, target in (("p50", found.p50_ms, 150.0), ("p95", found.p95_ms, 250.0)):
        yield Figure(
            section="speaker",
            what=f"Service created to first ARP answer, {what}",
            value=value,
            unit="ms",
            baseline="MetalLB 0.16, same lab, p50, without a probe",
            baseline_value=152.0,
            target=target,
            remark=remark,
        )


def main() -> None:
    """Measure and print."""
    for figure in measure():
        print(figure)


if __name__ == "__main__":
    main()
