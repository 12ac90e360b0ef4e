"""What reconciler and webhook need in a large cluster: at their start, and for each thing that happens.

Every figure is the processor time of a whole process, the median of five rounds, less what it uses when nothing
happens. The cluster's objects are put into etcd, as AdmitLB itself leaves them.
"""

from __future__ import annotations

import copy
import json
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from allocator.kube.client import Cluster
from allocator.kube.resource import EVENTS, NAMESPACES, NODES, SERVICES, Resource
from allocator.objects.names import (
    DEFAULT_NAMESPACE,
    FROM_POOL_ANNOTATION,
    IP_ADDRESS_POOLS,
    IP_ALLOCATIONS,
)
from tests.bench.etcd_store import Object, store
from tests.bench.figures import Figure
from tests.bench.memory import process_tree, proportional_megabytes
from tests.bench.processor_time import processor_seconds
from tests.bench.site import NAMESPACE
from tests.cluster.installation import Installation, ingress, pool, service
from tests.cluster.webhook_replica import wait_endpoints
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.kubeconfigs import CONTROLLER_MANAGER
from tests.lab.waiting import wait_until

_SERVICES = 10_000
_PENDING = 2_000
_POOLS = 200
_NODES = 1_000
_NAMESPACES = 1_000
_ROUNDS = 5
_CREATED = 20
_QUIET_SECONDS = 2.0
_LEADS = "leadership.gained"
_START_SECONDS = 180.0

_FIRST_RANGE = int(IPv4Address("10.0.0.0"))
_FIRST_CLUSTER_IP = int(IPv4Address("10.96.64.0"))


@dataclass(frozen=True, slots=True)
class _Program:
    name: str
    pid: Callable[[], int]

    def seconds(self) -> float:
        return processor_seconds(self.pid())

    def runs(self) -> bool:
        return Path(f"/proc/{self.pid()}/task").exists()

    def megabytes(self) -> float:
        return sum(proportional_megabytes(pid) for pid in process_tree(self.pid()))


def measure() -> Iterator[Figure]:
    """Yield processor time and memory at 10,000 Services, 200 pools, 1,000 nodes and 1,000 namespaces."""
    with (
        tempfile.TemporaryDirectory(prefix="admitlb-bench-", ignore_cleanup_errors=True) as folder,
        ControlPlane(find(), Path(folder), fsync=False) as control_plane,
    ):
        installation = Installation(control_plane, control_plane.directory / "admitlb")
        try:
            yield from _measure(control_plane, installation)
        finally:
            installation.stop()


def _measure(control_plane: ControlPlane, installation: Installation) -> Iterator[Figure]:
    large = _LargeCluster(control_plane, installation)
    empty = {program.name: program.megabytes() for program in large.programs}
    large.fill()
    section = f"{_SERVICES:,} Services, {_POOLS} pools, {_NODES:,} nodes, {_NAMESPACES:,} namespaces"
    for program, start in zip(large.programs, (large.start_reconciler, large.start_webhook), strict=True):
        wall = start()
        used = program.seconds()
        yield _figure(section, f"{program.name}: start, until it is ready", wall, "s", target=8.0)
        yield _figure(section, f"{program.name}: processor time of its start", used, "s")
        yield Figure(
            section=section,
            what=f"{program.name}: memory",
            value=program.megabytes(),
            unit="MB",
            target=150.0,
            baseline="MB in an empty cluster",
            baseline_value=empty[program.name],
        )
    yield from large.measure(section, "one new Service", large.create_service, times=_CREATED, target=13.0)
    yield from large.measure_calls(section)
    yield from large.measure(section, "a change of a pool", large.change_pool, times=5)
    yield from large.measure(section, "an event of a node", large.touch_node, times=100, target=1.0)
    large.fill_pending()
    what = f"one new Service, {_PENDING:,} others pending"
    yield from large.measure(section, what, large.create_service, times=_CREATED, target=13.0)


def _figure(section: str, what: str, value: float, unit: str, *, target: float | None = None) -> Figure:
    return Figure(section=section, what=what, value=value, unit=unit, target=target, baseline="", baseline_value=0.0)


class _LargeCluster:
    """One reconciler and one webhook in a cluster that grows without them."""

    def __init__(self, control_plane: ControlPlane, installation: Installation) -> None:
        self._control_plane = control_plane
        self._installation = installation
        self._cluster: Cluster = control_plane.cluster()
        self._serial = 0
        self.programs = (
            _Program("reconciler", lambda: installation.reconcilers[0].pid),
            _Program("webhook", lambda: installation.webhooks[0].process.pid),
        )

    def fill(self) -> None:
        """Let AdmitLB serve one Service and leave one pending, and make all others in their likeness."""
        cluster, installation = self._cluster, self._installation
        installation.add_pool(pool("template", "10.255.0.0/24"))
        cluster.create(SERVICES, service("assigned"), NAMESPACE)
        cluster.create(SERVICES, service("pending", {"metallb.io/address-pool": "later"}), NAMESPACE)
        installation.wait_assigned(NAMESPACE, "assigned")
        wait_until(lambda: self._service("pending")["status"].get("conditions"), 15, "it is known to be pending")
        time.sleep(_QUIET_SECONDS)
        [claim] = cluster.list(IP_ALLOCATIONS)["items"]
        installation.webhooks[1].take_part(False)
        wait_endpoints(self._control_plane, {installation.webhooks[0].port})
        # It would make Endpoints and service accounts for all that comes now.
        self._control_plane.kill(CONTROLLER_MANAGER)
        # As an update ends them: the last one hands the Lease back, and nobody waits for that to expire.
        for reconciler in installation.reconcilers:
            reconciler.terminate(10.0)
        installation.stop()
        store(self._control_plane, _namespaces())
        store(self._control_plane, _nodes())
        store(self._control_plane, _pools(cluster.get(IP_ADDRESS_POOLS, "template", DEFAULT_NAMESPACE)))
        store(self._control_plane, _claims(claim))
        store(self._control_plane, _services(self._service("assigned")))

    def start_reconciler(self) -> float:
        """Start it and wait until it has taken up the lead and is quiet; return the seconds until it led."""
        log = self._installation.reconcilers[0].log
        before = log.read_text().count(_LEADS)
        began = time.monotonic()
        self._installation.restart_reconciler(0)
        process = self._installation.reconcilers[0]
        process.wait_until(lambda: log.read_text().count(_LEADS) > before, _START_SECONDS, "it leads")
        led = time.monotonic() - began
        self._settle()
        return led

    def start_webhook(self) -> float:
        """Start it; return the seconds until it was ready."""
        began = time.monotonic()
        webhook = self._installation.webhooks[0]
        webhook.restart()
        webhook.wait_ready(_START_SECONDS)
        ready = time.monotonic() - began
        self._settle()
        return ready

    def fill_pending(self) -> None:
        """Add Services that wait for a pool.

        By the API server: stored below it by the hundred, its own watch stops while programs follow it.
        """
        for number in range(_PENDING):
            pending = service(f"pending-{number}", {"metallb.io/address-pool": "later"})
            self._cluster.create(SERVICES, pending, NAMESPACE)
        self._settle()

    def create_service(self) -> None:
        """Create a Service and wait for its address."""
        self._serial += 1
        name = f"new-{self._serial}"
        self._cluster.create(SERVICES, service(name), NAMESPACE)
        wait_until(lambda: ingress(self._service(name)), 15, f"{name} has an address", interval_seconds=0.02)

    def change_pool(self) -> None:
        """Change what decisions read of a pool in which nothing is assigned."""
        self._serial += 1
        body = {"spec": {"serviceAllocation": {"priority": 100 + self._serial}}}
        self._cluster.patch(IP_ADDRESS_POOLS, "pool-199", body, DEFAULT_NAMESPACE)

    def touch_node(self) -> None:
        """Write what a kubelet's heartbeat writes."""
        self._serial += 1
        body = {"metadata": {"annotations": {"bench": str(self._serial)}}}
        self._cluster.patch(NODES, f"node-{self._serial % _NODES}", body)

    def measure(
        self, section: str, what: str, event: Callable[[], None], *, times: int, target: float | None = None
    ) -> Iterator[Figure]:
        """Yield what one event costs each program, and both together."""
        rounds = [self._round(event, times) for _ in range(_ROUNDS)]
        for index, program in enumerate(self.programs):
            cost = statistics.median(costs[index] for costs in rounds)
            yield _figure(section, f"{what}: {program.name}", cost * 1000, "ms")
        together = statistics.median(sum(costs) for costs in rounds)
        yield _figure(section, f"{what}: together", together * 1000, "ms", target=target)

    def measure_calls(self, section: str) -> Iterator[Figure]:
        """Yield what the API calls in a new Service's life cost whoever makes them, one of each."""
        calls: dict[str, Callable[[], object]] = {
            "GET of an IPAllocation": lambda: self._cluster.get(IP_ALLOCATIONS, "10.0.0.7"),
            "POST of an IPAllocation (dry run)": lambda: self._cluster.create(
                IP_ALLOCATIONS, self._fresh_claim(), dry_run=True
            ),
            "PATCH of a Service's status": lambda: self._cluster.patch(
                SERVICES, "assigned", {"metadata": {"annotations": {}}}, NAMESPACE, subresource="status"
            ),
            "POST of an Event (dry run)": lambda: self._cluster.create(
                EVENTS, self._event(), NAMESPACE, dry_run=True
            ),
        }
        self._stored_claim = self._cluster.get(IP_ALLOCATIONS, "10.0.0.7")
        for what, call in calls.items():
            call()
            costs = []
            for _ in range(_ROUNDS):
                before = time.thread_time()
                for _ in range(50):
                    call()
                costs.append((time.thread_time() - before) / 50)
            yield _figure(section, f"an API call: {what}", statistics.median(costs) * 1000, "ms")

    def _fresh_claim(self) -> Object:
        claim = copy.deepcopy(self._stored_claim)
        metadata = {"name": "10.250.0.1"}
        claim["spec"]["address"] = "10.250.0.1"
        return {**claim, "metadata": metadata}

    def _event(self) -> Object:
        involved = {"kind": "Service", "namespace": NAMESPACE, "name": "assigned"}
        return {
            "metadata": {"name": f"bench.{uuid.uuid4().hex[:16]}", "namespace": NAMESPACE},
            "involvedObject": involved,
            "reason": "IPAllocated",
            "message": "Assigned IP [10.0.0.7]",
            "type": "Normal",
        }

    def _round(self, event: Callable[[], None], times: int) -> list[float]:
        idle = self._used_in_a_while(lambda: None, 1)
        return [
            max(busy - nothing, 0.0) / times for busy, nothing in zip(*self._alike(event, times, idle), strict=True)
        ]

    def _alike(
        self, event: Callable[[], None], times: int, idle: tuple[float, list[float]]
    ) -> tuple[list[float], list[float]]:
        """What was used with the events, and what would have been used in the same time without."""
        seconds, used = self._used_in_a_while(event, times)
        share = seconds / idle[0]
        return used, [nothing * share for nothing in idle[1]]

    def _used_in_a_while(self, event: Callable[[], None], times: int) -> tuple[float, list[float]]:
        before = [program.seconds() for program in self.programs]
        began = time.monotonic()
        for _ in range(times):
            event()
        time.sleep(_QUIET_SECONDS)
        used = [program.seconds() - earlier for program, earlier in zip(self.programs, before, strict=True)]
        return time.monotonic() - began, used

    def _settle(self) -> None:
        """Wait until the programs have done what there was to do."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            before = sum(program.seconds() for program in self.programs if program.runs())
            time.sleep(_QUIET_SECONDS)
            if sum(program.seconds() for program in self.programs if program.runs()) - before < 0.1 * _QUIET_SECONDS:
                return
        raise AssertionError("it is never quiet")

    def _service(self, name: str) -> Object:
        return self._cluster.get(SERVICES, name, NAMESPACE)


def _namespaces() -> Iterator[tuple[str, Object]]:
    for number in range(_NAMESPACES):
        name = f"team-{number}"
        labels = {"kubernetes.io/metadata.name": name, "team": str(number)}
        body = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        yield f"namespaces/{name}", {**_labelled(NAMESPACES, name, labels), **body}


def _nodes() -> Iterator[tuple[str, Object]]:
    for number in range(_NODES):
        name = f"node-{number}"
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "zone": f"zone-{number % 3}"}
        images = [{"names": [f"registry.example/image-{image}@sha256:{'0' * 64}"]} for image in range(30)]
        condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is ready"}
        status = {"conditions": [condition], "images": images}
        yield f"minions/{name}", {**_labelled(NODES, name, labels), "status": status}


def _pools(template: Object) -> Iterator[tuple[str, Object]]:
    for number in range(_POOLS):
        name = f"pool-{number}"
        made = _alike(template, name)
        made["spec"]["addresses"] = [f"{IPv4Address(_FIRST_RANGE + number * 256)}/24"]
        yield f"metallb.io/ipaddresspools/{DEFAULT_NAMESPACE}/{name}", made


def _placed(number: int) -> tuple[str, str, str, str]:
    """The namespace, name, address and pool of one Service; each pool has room left."""
    per_pool = _SERVICES // _POOLS
    home, rank = divmod(number, per_pool)
    return (
        f"team-{number % _NAMESPACES}",
        f"service-{number}",
        str(IPv4Address(_FIRST_RANGE + home * 256 + rank)),
        f"pool-{home}",
    )


def _claims(template: Object) -> Iterator[tuple[str, Object]]:
    for number in range(_SERVICES):
        namespace, name, address, home = _placed(number)
        made = _alike(template, address)
        made["spec"].update(address=address, pool=home)
        made["spec"]["holders"][0].update(namespace=namespace, name=name, uid=_uid(name))
        yield f"admitlb.io/ipallocations/{address}", made


def _services(template: Object) -> Iterator[tuple[str, Object]]:
    text = json.dumps(template)
    [was] = ingress(template)
    of_pool = template["metadata"]["annotations"][FROM_POOL_ANNOTATION]
    for number in range(_SERVICES):
        namespace, name, address, home = _placed(number)
        # The pool is in an annotation and in the condition's message: nothing is left to repair at the start.
        made = _alike(json.loads(text.replace(was, address).replace(of_pool, home)), name, namespace)
        made["spec"]["clusterIP"] = str(IPv4Address(_FIRST_CLUSTER_IP + number))
        made["spec"]["clusterIPs"] = [made["spec"]["clusterIP"]]
        made["spec"]["selector"] = {"app": name}
        for port in made["spec"]["ports"]:
            port.pop("nodePort", None)
        yield f"services/specs/{namespace}/{name}", made


def _alike(template: Object, name: str, namespace: str | None = None) -> Object:
    made = copy.deepcopy(template)
    made["metadata"].update(name=name, uid=_uid(name))
    made["metadata"].pop("resourceVersion")
    if namespace is not None:
        made["metadata"]["namespace"] = namespace
    return made


def _labelled(kind: Resource, name: str, labels: dict[str, str]) -> Object:
    metadata = {"name": name, "uid": _uid(name), "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def _uid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
