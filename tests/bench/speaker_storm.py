"""A storm: Services created as fast as the API server takes them, on the cores that the speakers run on, too.

The same again with a writer in our place that makes MetalLB's writes and nothing else: what is left of the difference
is ours. Both have the same three kube-proxies, whose iptables-restore takes what processor time it can get.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from allocator.kube.client import ApiError, Cluster, Object
from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from tests.bench.figures import Figure
from tests.bench.processor_time import processor_seconds
from tests.bench.storm_cost import ProgramTimes, WritesByUser
from tests.lab.container import PROJECT
from tests.lab.lab import Lab
from tests.lab.processes import Process
from tests.lab.waiting import wait_until

SERVICES_A_RUN = 1000
"""So many for each run asked for: `--runs 5` makes five thousand."""
SECTION = "a storm of new Services, three nodes and the control plane on the same cores"

_CLIENTS = 8
_MORE = 50
"""How many come one after another at the end, to see what one more costs."""
_POOL = "198.18.0.0/15"
_NODE_PORTS = "20000-32767"
_LULL_SECONDS = 5.0
_LOOK_SECONDS = 5.0
"""Between two lists of all of them, which cost the API server as much as many writes."""
_LONGEST_SECONDS = 1800.0
_USERS = tuple(f"system:serviceaccount:{DEFAULT_NAMESPACE}:{name}" for name in ("controller", "speaker"))
_WRITER = "metallb-writes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """What it came to: `seconds` until the last Service showed its address; `times` and `writes` until all of them
    were announced, too."""

    seconds: float
    creates_per_second: float
    times: ProgramTimes
    writes: WritesByUser


def measure(*, runs: int) -> Iterator[Figure]:
    """Have the storm once with the yardstick's writer, once with AdmitLB."""
    services = runs * SERVICES_A_RUN
    with Lab(nodes=3, audited_users=[_WRITER], node_ports=_NODE_PORTS) as lab:
        lab.kubectl("apply", "-f", str(PROJECT / "manifests/namespace.yaml"))
        lab.kubectl("apply", "-f", str(PROJECT / "manifests/crds"))
        lab.deploy_http("web")
        floor = _with_metallb_writes(lab, services)
    with Lab(nodes=3, audited_users=_USERS, node_ports=_NODE_PORTS) as lab:
        yield from _with_admitlb(lab, services, floor)


def _with_metallb_writes(lab: Lab, services: int) -> Storm:
    first = _POOL.split("/", maxsplit=1)[0]
    kubeconfig = str(lab.control_plane.kubeconfig(_WRITER, ("system:masters",)))
    command = [sys.executable, "-m", "tests.bench.metallb_writes", kubeconfig, first]
    writer = Process(command, log=lab.directory / "metallb-writes.log", cwd=PROJECT)
    try:
        return _storm(lab, services, {_WRITER: writer})
    finally:
        writer.terminate()


def _with_admitlb(lab: Lab, services: int, floor: Storm) -> Iterator[Figure]:
    lab.install()
    lab.deploy_http("web")
    _create(lab.cluster(), IP_ADDRESS_POOLS.kind, "storm", {"addresses": [_POOL]})
    _create(lab.cluster(), L2_ADVERTISEMENTS.kind, "storm", {})
    wait_until(lambda: all(_logged(lab, "speaker.serving").values()), 30, "every speaker serves")
    storm = _storm(lab, services, {}, also=lambda: _announced(lab.cluster()) >= services)
    logged = {event: sum(_logged(lab, event).values()) for event in ("peer.dead", "address.withdrawn")}
    yield _figure(
        f"{services} Services by {_CLIENTS} clients, until the last one shows its address",
        storm.seconds / floor.seconds,
        "x",
        target=1.3,
        baseline="seconds with a writer that only makes MetalLB's writes",
        baseline_value=floor.seconds,
        remark=f"{storm.creates_per_second:.0f} creates a second ({floor.creates_per_second:.0f} there)",
    )
    yield _figure(
        "processor time a Service, kube-proxy apart",
        1000 * storm.times.without_proxies / services,
        "ms",
        baseline="with the writer",
        baseline_value=1000 * floor.times.without_proxies / services,
        remark=f"{storm.times.each(services)}; there {floor.times.each(services)}",
    )
    yield _figure("peers given up", logged["peer.dead"], "", target=0)
    yield _figure("addresses withdrawn", logged["address.withdrawn"], "", target=0)
    yield _figure(
        "API writes a Service, controller and speakers",
        storm.writes.total() / services,
        "",
        baseline="MetalLB's",
        baseline_value=floor.writes.total() / services,
        remark=f"{storm.writes.each(services)}; there {floor.writes.each(services)}",
    )
    yield _one_more(lab, services)


def _one_more(lab: Lab, services: int) -> Figure:
    _quiet(lab)
    before = _processor_seconds(lab)
    began = time.monotonic()
    for number in range(_MORE):
        name = f"more-{number}"
        lab.cluster().create(SERVICES, _service(name), "default")
        wait_until(partial(_shows, lab.cluster(), name), 30, f"{name} has an address")
    _quiet(lab)
    seconds = time.monotonic() - began
    used = {pod: spent - before[pod] for pod, spent in _processor_seconds(lab).items()}
    began = time.monotonic()
    idle_before = _processor_seconds(lab)
    time.sleep(_LULL_SECONDS)
    idle = {pod: (spent - idle_before[pod]) / _LULL_SECONDS for pod, spent in _processor_seconds(lab).items()}
    costs = sorted(1000 * (used[pod] - idle[pod] * seconds) / _MORE for pod in used)
    return _figure(
        f"processor time of a speaker for one more Service, beside {services}",
        costs[-1],
        "ms",
        target=5.0,
        remark="of all three: " + ", ".join(f"{cost:.1f}" for cost in costs),
    )


def _storm(
    lab: Lab, services: int, beside: Mapping[str, Process], *, also: Callable[[], bool] = lambda: True
) -> Storm:
    """Have it; `beside` are programs that are not the lab's, `also` what has to be for it to be over."""
    before = _program_times(lab, beside)
    clients = [Cluster.from_environment(str(lab.control_plane.kubeconfig())) for _ in range(_CLIENTS)]

    def create(client: Cluster, numbers: range) -> None:
        for number in numbers:
            _persistently(client, _service(f"storm-{number}"))

    began = time.monotonic()
    with ThreadPoolExecutor(_CLIENTS, thread_name_prefix="storm") as pool:
        list(pool.map(create, clients, [range(first, services, _CLIENTS) for first in range(_CLIENTS)]))
    created = time.monotonic() - began
    _seconds_until(lambda: _showing(lab.cluster()) >= services)
    seconds = time.monotonic() - began
    _seconds_until(also)
    times = _program_times(lab, beside) - before
    return Storm(seconds=seconds, creates_per_second=services / created, times=times, writes=_writes(lab))


def _program_times(lab: Lab, beside: Mapping[str, Process]) -> ProgramTimes:
    return ProgramTimes.of((name, process.pid) for name, process in {**lab.processes(), **beside}.items())


def _persistently(client: Cluster, document: Object) -> None:
    """Create, as a client does that tries again what a busy API server did not take."""
    for left in reversed(range(5)):
        try:
            client.create(SERVICES, document, "default")
        except ApiError as error:
            if error.status == 409:
                return
            if not left:
                raise
        else:
            return


def _seconds_until(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    wait_until(condition, _LONGEST_SECONDS, "the storm is over", interval_seconds=_LOOK_SECONDS, retry_on=(ApiError,))
    return time.monotonic() - began


def _showing(cluster: Cluster) -> int:
    services = cluster.list(SERVICES, "default")["items"]
    return sum(1 for one in services if (one["status"].get("loadBalancer") or {}).get("ingress"))


def _shows(cluster: Cluster, name: str) -> bool:
    return bool((cluster.get(SERVICES, name, "default")["status"].get("loadBalancer") or {}).get("ingress"))


def _announced(cluster: Cluster) -> int:
    return sum(1 for one in cluster.list(IP_ALLOCATIONS)["items"] if (one.get("status") or {}).get("announcedBy"))


def _quiet(lab: Lab) -> None:
    """Wait until the speakers have written what they had to."""
    known = -1
    while (written := _writes(lab).total()) != known:
        known = written
        time.sleep(_LULL_SECONDS)


def _writes(lab: Lab) -> WritesByUser:
    return WritesByUser.logged(lab.directory / "audit.jsonl")


def _speakers(lab: Lab) -> dict[str, Process]:
    return {name: process for name, process in lab.processes().items() if name.endswith("/speaker")}


def _processor_seconds(lab: Lab) -> dict[str, float]:
    return {name: processor_seconds(process.pid) for name, process in _speakers(lab).items()}


def _logged(lab: Lab, event: str) -> dict[str, int]:
    """Count the lines with an event, for each speaker."""
    line = re.compile(rf"\bevent={re.escape(event)}\b")
    return {
        pod["metadata"]["name"]: len(line.findall(lab.logs(pod["metadata"]["name"], "speaker")))
        for pod in lab.pods(DEFAULT_NAMESPACE, "component=speaker")
    }


def _create(cluster: Cluster, kind: str, name: str, spec: Object) -> None:
    resource = {each.kind: each for each in (IP_ADDRESS_POOLS, L2_ADVERTISEMENTS)}[kind]
    metadata = {"name": name, "namespace": DEFAULT_NAMESPACE}
    document: Object = {"apiVersion": resource.api_version, "kind": kind, "metadata": metadata, "spec": spec}
    cluster.create(resource, document, DEFAULT_NAMESPACE)


def _service(name: str) -> Object:
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": ports},
    }


def _figure(
    what: str,
    value: float,
    unit: str,
    *,
    target: float | None = None,
    baseline: str = "",
    baseline_value: float = 0.0,
    remark: str = "",
) -> Figure:
    return Figure(
        section=SECTION,
        what=what,
        value=value,
        unit=unit,
        target=target,
        baseline=baseline,
        baseline_value=baseline_value,
        remark=remark,
    )
