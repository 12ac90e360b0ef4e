"""A new Service's status and first answer, beside a controller that does nothing but write a status.

Both in one run, alternating, on one API server: the floor is what the API server takes to store a Service, to bring
its event to a controller and to store and bring back what that writes. Services of the floor are of type NodePort in
a namespace that our webhook leaves alone: neither webhook nor reconciler looks at them, and the API server has the
same to allocate. All creates are single: each waits until the one before has its answer and the pool's next addresses
are known to be free, as they are whenever nobody creates two Services within a second.
"""

from __future__ import annotations

import re
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from allocator.kube.client import Object
from allocator.kube.reflector import Change, Reflector
from allocator.kube.resource import ENDPOINT_SLICES_V1, ENDPOINT_SLICES_V1BETA1, SERVICES
from allocator.objects.document import labels_of
from allocator.objects.names import ASSIGNED_IPS_ANNOTATION, DEFAULT_NAMESPACE, IP_ADDRESS_POOLS
from tests.bench.figures import Figure, quantile
from tests.bench.minimal_controller import LABEL, VALUE
from tests.bench.speaker_asking import Answer, Asking
from tests.bench.speaker_site import SpeakerSite
from tests.lab.processes import Process
from tests.lab.waiting import wait_until

ROUNDS = 3
_POOL = "floor"
_ADDRESSES = "203.0.113.100-203.0.113.199"
_ASK_SECONDS = 0.002
_MONITOR_PORT = 9122
_KNOWN_SECONDS = 1.5
"""Until the pool's status names the next addresses and a node has asked about them."""
_STATUS_TARGET, _ANSWER_TARGET = 1.4, 1.5


@dataclass(slots=True)
class _Round:
    known: list[float] = field(default_factory=list)
    status: list[float] = field(default_factory=list)
    answer: list[float] = field(default_factory=list)
    after_both: list[float] = field(default_factory=list)
    """From when a watcher has seen both the status and an endpoint, without which nobody announces."""


def measure(site: SpeakerSite, *, services: int = 15) -> Iterator[Figure]:
    """Create so many Services of each kind in each round."""
    site.pool(_POOL, _ADDRESSES)
    floors, rounds = [], []
    before = _asked(site)
    with _minimal_controller(site), _Statuses(site) as statuses:
        for number in range(ROUNDS):
            floors.append(_floor(site, statuses, f"floor-{number}", services))
            rounds.append(_ours(site, statuses, f"ours-{number}", services))
    asked = {when: count - before.get(when, 0.0) for when, count in _asked(site).items()}
    floor = statistics.median(quantile(one, 0.5) for one in floors)
    for what, target, samples in (
        ("status seen by a watcher", _STATUS_TARGET, [one.status for one in rounds]),
        ("first ARP answer", _ANSWER_TARGET, [one.answer for one in rounds]),
        ("address known (the create's own answer)", None, [one.known for one in rounds]),
    ):
        medians = [quantile(one, 0.5) for one in samples]
        value = statistics.median(medians)
        yield Figure(
            section="a new Service beside the least a controller can do",
            what=f"{what}: p50, median of {ROUNDS} rounds",
            value=value / floor,
            unit="x",
            baseline="ms: status by a watcher that PATCHes a fixed list",
            baseline_value=floor,
            target=target,
            remark=f"{value:.1f} ms; rounds {', '.join(f'{one:.1f}' for one in medians)}",
            samples=tuple(round(sample, 1) for one in samples for sample in one),
        )
    yield Figure(
        section="a new Service beside the least a controller can do",
        what="first ARP answer after a watcher saw both the status and an endpoint: p50",
        value=quantile([one for found in rounds for one in found.after_both], 0.5),
        unit="ms",
        baseline="",
        baseline_value=0.0,
        samples=tuple(round(one, 1) for found in rounds for one in found.after_both),
    )
    yield Figure(
        section="a new Service beside the least a controller can do",
        what="new addresses that the LAN had been asked about before they were to be announced",
        value=asked["before"] / max(sum(asked.values()), 1.0),
        unit="of all",
        baseline="",
        baseline_value=0.0,
        target=0.9,
        at_least=True,
        remark=f"{asked['before']:.0f} before, {asked['then']:.0f} then",
    )


def _asked(site: SpeakerSite) -> dict[str, float]:
    """How many new addresses all speakers have announced, by when the LAN was asked about them."""
    counts = dict.fromkeys(("before", "then"), 0.0)
    for node in site.lab.nodes.values():
        text = site.asker.http_get(f"http://{node.addresses[0]}:{_MONITOR_PORT}/metrics").text
        for when, value in re.findall(r'^admitlb_new_addresses_total\{asked="(\w+)"\} (\S+)$', text, re.MULTILINE):
            counts[when] += float(value)
    return counts


def _floor(site: SpeakerSite, statuses: _Statuses, prefix: str, services: int) -> list[float]:
    found = []
    for number in range(services):
        document = _service(f"{prefix}-{number}", "NodePort")
        document["metadata"]["labels"] = {LABEL: VALUE}
        started = time.monotonic()
        site.lab.cluster().create(SERVICES, document, DEFAULT_NAMESPACE)
        found.append(1000 * (statuses.wait(DEFAULT_NAMESPACE, f"{prefix}-{number}") - started))
        threading.Event().wait(0.1)
    for number in range(services):
        site.lab.cluster().delete(SERVICES, f"{prefix}-{number}", DEFAULT_NAMESPACE)
    return found


def _ours(site: SpeakerSite, statuses: _Statuses, prefix: str, services: int) -> _Round:
    found = _Round()
    for number in range(services):
        threading.Event().wait(_KNOWN_SECONDS)
        stored = site.lab.cluster().get(IP_ADDRESS_POOLS, _POOL, DEFAULT_NAMESPACE)
        coming = stored["status"]["nextAddresses"][:2]
        answers: dict[str, float] = {}

        def hear(answer: Answer, answers: dict[str, float] = answers) -> None:
            answers.setdefault(answer.address, answer.at)

        with Asking(site.asker, coming, every_seconds=_ASK_SECONDS, on_answer=hear):
            threading.Event().wait(10 * _ASK_SECONDS)
            document = _service(f"{prefix}-{number}", "LoadBalancer")
            document["metadata"]["annotations"] = {"metallb.io/address-pool": _POOL}
            started = time.monotonic()
            created = site.lab.cluster().create(SERVICES, document, "default")
            known = time.monotonic()
            vip = created["metadata"]["annotations"][ASSIGNED_IPS_ANNOTATION]
            shown = statuses.wait("default", f"{prefix}-{number}")
            wait_until(lambda vip=vip, answers=answers: vip in answers, 10, f"{vip} is answered")  # type: ignore[misc]
        found.known.append(1000 * (known - started))
        found.status.append(1000 * (shown - started))
        found.answer.append(1000 * (answers[vip] - started))
        served = statuses.wait_served("default", f"{prefix}-{number}")
        found.after_both.append(1000 * (answers[vip] - max(shown, served)))
    for number in range(services):
        site.lab.cluster().delete(SERVICES, f"{prefix}-{number}", "default")
    return found


class _Statuses:
    """A watcher that notes when a Service first shows an address, and has an endpoint; `_seen` owns both."""

    def __init__(self, site: SpeakerSite) -> None:
        self._seen = threading.Condition()
        self._at: dict[tuple[str, str], float] = {}
        self._served_at: dict[tuple[str, str], float] = {}
        cluster = site.lab.cluster()
        v1 = cluster.serves(ENDPOINT_SLICES_V1)
        self._mirrors = (
            Reflector(cluster, SERVICES, on_change=self._see),
            Reflector(cluster, ENDPOINT_SLICES_V1 if v1 else ENDPOINT_SLICES_V1BETA1, on_change=self._see_endpoints),
        )

    def __enter__(self) -> _Statuses:
        for mirror in self._mirrors:
            mirror.start()
            mirror.wait_synced(10)
        return self

    def __exit__(self, *_: object) -> None:
        for mirror in self._mirrors:
            mirror.stop()

    def wait(self, namespace: str, name: str) -> float:
        """Wait for its status, and return when it came."""
        with self._seen:
            if not self._seen.wait_for(lambda: (namespace, name) in self._at, 10):
                raise AssertionError(f"{namespace}/{name} shows no address after 10 s")
            return self._at[namespace, name]

    def wait_served(self, namespace: str, name: str) -> float:
        """Wait until an endpoint of the Service was seen, and return when it was."""
        with self._seen:
            if not self._seen.wait_for(lambda: (namespace, name) in self._served_at, 10):
                raise AssertionError(f"{namespace}/{name} has no endpoint after 10 s")
            return self._served_at[namespace, name]

    def _see_endpoints(self, change: Change) -> None:
        now = time.monotonic()
        if change.new is not None and change.new.get("endpoints"):
            service = labels_of(change.new).get("kubernetes.io/service-name", "")
            with self._seen:
                self._served_at.setdefault((change.key[0], service), now)
                self._seen.notify_all()

    def _see(self, change: Change) -> None:
        now = time.monotonic()
        shown = ((change.new or {}).get("status") or {}).get("loadBalancer") or {}
        if shown.get("ingress"):
            with self._seen:
                self._at.setdefault(change.key, now)
                self._seen.notify_all()


@contextmanager
def _minimal_controller(site: SpeakerSite) -> Iterator[None]:
    kubeconfig = site.lab.control_plane.kubeconfig()
    argv = [sys.executable, "-m", "tests.bench.minimal_controller", str(kubeconfig), DEFAULT_NAMESPACE]
    process = Process(argv, name="minimal-controller", log=site.lab.directory / "minimal-controller.log")
    try:
        yield
    finally:
        process.sigkill()


def _service(name: str, kind: str) -> Object:
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {"type": kind, "selector": {"app": "web"}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
