"""A thousand Services at once: how soon all of their addresses are answered elsewhere, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median

from allocator.kube.client import ApiError, Object
from allocator.kube.resource import ENDPOINT_SLICES_V1, ENDPOINT_SLICES_V1BETA1, SERVICES
from allocator.objects.names import IP_ALLOCATIONS
from tests.bench.figures import Figure
from tests.bench.memory import resident_megabytes
from tests.bench.speaker_asking import Answer, Asking
from tests.bench.speaker_failover import SECTION
from tests.bench.speaker_site import SpeakerSite
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.waiting import wait_until

SERVICES_AT_ONCE = 1000
_POOLS = {"IPv4": "198.18.0.0/20", "IPv6": "2001:db8:18::/116"}
_THREADS = 8
_APPEAR_SECONDS = 180.0
_ASK_SECONDS = 0.1
_TAKEN_OVER_SECONDS = 30.0
_MEMORY_TARGET_MEGABYTES = 64.0


class Crowd:
    """A lab whose announcing nodes hold many addresses, half of each family. Owned by one thread."""

    def __init__(self, lab: Lab, *, services: int = SERVICES_AT_ONCE) -> None:
        """Create everything; return when every address is answered."""
        self.site = SpeakerSite(lab)
        self.alone_megabytes = self.memory()
        self.site.pool("crowd", *_POOLS.values())
        started = time.monotonic()
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="crowd") as creating:
            list(creating.map(self.create, [f"crowd-{number}" for number in range(services)]))
        self.created_seconds = time.monotonic() - started
        self.addresses: list[str] = []
        wait_until(
            lambda: self._all_bound(services),
            _APPEAR_SECONDS,
            "every Service has its address",
            interval_seconds=1.0,
            retry_on=(ApiError,),
        )
        self._answered(self.addresses, by={node.mac() for node in lab.nodes.values()})

    def create(self, name: str) -> None:
        """Create a Service of the application; every other one is of IPv6, by the number that `name` ends with.

        Its endpoints come with it: Kubernetes' controllers would take minutes.
        """
        family = "IPv4" if int(name.rpartition("-")[2]) % 2 else "IPv6"
        cluster = self.site.lab.cluster()
        cluster.create(SERVICES, _service(name, family), "default")
        modern = cluster.serves(ENDPOINT_SLICES_V1)
        slices = ENDPOINT_SLICES_V1 if modern else ENDPOINT_SLICES_V1BETA1
        cluster.create(slices, _slice(name, family, slices.api_version), "default")

    def delete(self, name: str) -> None:
        """Delete a Service of the crowd."""
        self.site.lab.cluster().delete(SERVICES, name, "default")

    def memory(self) -> dict[str, float]:
        """Return what each node's speaker has resident, in megabytes."""
        return {
            node.name: resident_megabytes(process.pid)
            for node in self.site.lab.nodes.values()
            for name, process in node.processes().items()
            if name.endswith("/speaker")
        }

    def gather(self) -> Node:
        """Bring every address to one node, by the death of the other, and return it."""
        lost, holder = self._announcing()
        lost.kill()
        self._answered(self.addresses, by={holder.mac()})
        lost.revive()
        self.site.steady()
        return holder

    def takeover(self, holder: Node) -> tuple[Node, dict[str, float]]:
        """Kill the node that holds all; return who does next, and when all of a family's were answered, in ms."""
        successor = next(node for node in self._announcing() if node is not holder)
        instant = holder.kill()
        first = self._answered(self.addresses, by={successor.mac()})
        holder.revive()
        self.site.steady()
        by_family = {"IPv4": 0.0, "IPv6": 0.0}
        for address, at in first.items():
            family = "IPv6" if ":" in address else "IPv4"
            by_family[family] = max(by_family[family], 1000 * (at - instant))
        return successor, by_family

    def _announcing(self) -> list[Node]:
        return [self.site.lab.node("node-1"), self.site.lab.node("node-2")]

    def _all_bound(self, services: int) -> bool:
        claims = self.site.lab.cluster().list(IP_ALLOCATIONS)["items"]
        bound = [claim["spec"] for claim in claims if claim["spec"]["pool"] == "crowd"]
        self.addresses = [spec["address"] for spec in bound if spec["state"] == "Bound"]
        return len(self.addresses) == services

    def _answered(self, addresses: list[str], *, by: set[str]) -> dict[str, float]:
        """Ask until each has been answered by one of these; return when. Those answered are not asked again."""
        first: dict[str, float] = {}

        def hear(answer: Answer) -> None:
            if answer.mac in by:
                first.setdefault(answer.address, answer.at)

        with Asking(self.site.asker, addresses, every_seconds=_ASK_SECONDS, on_answer=hear) as asking:

            def all_answered() -> bool:
                left = [address for address in addresses if address not in first]
                asking.about(left)
                return not left

            wait_until(all_answered, _TAKEN_OVER_SECONDS + 30, f"{len(addresses)} addresses are answered")
        return {address: first[address] for address in addresses}


@contextmanager
def crowd(*, services: int = SERVICES_AT_ONCE, audited_users: Sequence[str] = ()) -> Iterator[Crowd]:
    """Make a crowd in a lab of its own, gone afterwards."""
    with Lab(nodes=3, clients=2, audited_users=audited_users) as lab:
        yield Crowd(lab, services=services)


def measure_takeover(there: Crowd, *, runs: int) -> Iterator[Figure]:
    """Kill the node that holds everything, again and again."""
    holder = there.gather()
    times = []
    for _ in range(runs):
        holder, by_family = there.takeover(holder)
        times.append(by_family)
    for family in ("IPv4", "IPv6"):
        samples = [one[family] for one in times]
        for name, value, target in (("median", median(samples), None), ("worst", max(samples), 2000.0)):
            yield Figure(
                section=SECTION,
                what=f"node with {len(there.addresses)} addresses killed, all of {family} answered: {name} of {runs}",
                value=value,
                unit="ms",
                baseline="",
                baseline_value=0.0,
                target=target,
                samples=tuple(round(one, 1) for one in samples),
            )


def measure_memory(there: Crowd) -> Iterator[Figure]:
    """Tell what the speakers have resident, before the crowd came and with it."""
    for what, megabytes in (
        ("one Service", there.alone_megabytes),
        (f"{len(there.addresses)} Services", there.memory()),
    ):
        yield Figure(
            section="what a speaker costs",
            what=f"resident memory with {what}, the largest of {len(megabytes)}",
            value=max(megabytes.values()),
            unit="MB",
            baseline="MetalLB 0.16's speaker",
            baseline_value=65.0,
            target=_MEMORY_TARGET_MEGABYTES,
            samples=tuple(round(one, 1) for one in megabytes.values()),
        )


def _service(name: str, family: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "annotations": {"metallb.io/address-pool": "crowd"}},
        "spec": {
            "type": "LoadBalancer",
            "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}],
            "ipFamilies": [family],
            "ipFamilyPolicy": "SingleStack",
        },
    }


def _slice(name: str, family: str, api_version: str) -> Object:
    address = "fd00:10:244:3::ffff" if family == "IPv6" else "10.244.3.254"
    return {
        "apiVersion": api_version,
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": family,
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    }
