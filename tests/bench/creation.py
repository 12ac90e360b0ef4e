"""Creating Services through the real API server, past the webhook and through it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from allocator.kube.client import Cluster
from allocator.kube.resource import SERVICES
from tests.bench.arrivals import Arrivals
from tests.bench.figures import Figure, quantile
from tests.bench.site import NAMESPACE, Object, Site, connections, delete_services, has_address, new_service
from tests.lab.control_plane import ControlPlane

_CLIENTS = 8
_SERVICES = 400
_ROUNDS = 2
_PAIRS = 300


def measure_bare(control_plane: ControlPlane) -> float:
    """Return how many Services a second eight clients create where there is no AdmitLB at all."""
    rates = []
    for _ in range(_ROUNDS):
        rate, _ = _rate(control_plane, past_the_webhook=True)
        rates.append(rate)
        delete_services(control_plane.cluster())
    return max(rates)


def measure(site: Site, *, bare_rate: float, durability: str) -> Iterator[Figure]:
    """Yield how many Services a second eight clients create, and what admission adds to one create."""
    section = f"creating Services ({durability})"
    yield from _throughput(site, section, bare_rate=bare_rate)
    yield from _added_latency(site, section)


def _throughput(site: Site, section: str, *, bare_rate: float) -> Iterator[Figure]:
    past: list[float] = []
    through: list[float] = []
    unserved = 0
    for _ in range(_ROUNDS):
        for rates, round_it in ((past, True), (through, False)):
            rate, without = _rate(site.control_plane, past_the_webhook=round_it)
            rates.append(rate)
            unserved += 0 if round_it else without
            site.clean()
    remark = f"{max(through):.0f} per second"
    if unserved:
        remark += f"; {unserved} of {_ROUNDS * _SERVICES} left admission without an address"
    yield Figure(
        section=section,
        what=f"creates per second with the webhook, {_CLIENTS} clients, as a share of those without it",
        value=max(through) / max(past),
        unit="x",
        target=0.5,
        at_least=True,
        baseline="creates per second without the webhook, the reconciler assigning",
        baseline_value=max(past),
        remark=remark,
    )
    yield Figure(
        section=section,
        what="the same as a share of those in a cluster without AdmitLB, where nothing assigns addresses",
        value=max(through) / bare_rate,
        unit="x",
        baseline="creates per second without AdmitLB",
        baseline_value=bare_rate,
    )


def _rate(control_plane: ControlPlane, *, past_the_webhook: bool) -> tuple[float, int]:
    """Create Services from several clients at once; return how many a second, and how many got no address."""
    documents = [new_service(past_the_webhook=past_the_webhook) for _ in range(_SERVICES)]
    clients = connections(control_plane, _CLIENTS)
    with ThreadPoolExecutor(_CLIENTS, thread_name_prefix="bench-client") as pool:
        list(pool.map(_connect, clients))
        started = time.perf_counter()
        created = pool.map(_create, clients, _dealt(documents, _CLIENTS))
        served = sum(created)
        seconds = time.perf_counter() - started
    return _SERVICES / seconds, _SERVICES - served


def _connect(client: Cluster) -> None:
    client.list(SERVICES, NAMESPACE, label_selector="none=such")


def _dealt(documents: list[Object], hands: int) -> list[list[Object]]:
    return [documents[hand::hands] for hand in range(hands)]


def _create(client: Cluster, documents: list[Object]) -> int:
    return sum(has_address(client.create(SERVICES, document, NAMESPACE)) for document in documents)


def _added_latency(site: Site, section: str) -> Iterator[Figure]:
    """One Service after another, by turns past the webhook and through it, so that both see the same machine."""
    past: list[float] = []
    through: list[float] = []
    with Arrivals.of(site.control_plane) as arrivals:
        for _ in range(_PAIRS):
            past.append(arrivals.create(new_service(past_the_webhook=True)).known_ms)
            through.append(arrivals.create(new_service()).known_ms)
    site.clean()
    usual = quantile(past, 0.5)
    for share, target in ((0.5, 8.0), (0.99, 50.0)):
        yield Figure(
            section=section,
            what=f"what admission adds to a create, p{share * 100:.0f}",
            value=quantile(through, share) - usual,
            unit="ms",
            target=target,
            baseline=f"ms for a create without the webhook, p50 (its p99: {quantile(past, 0.99):.1f})",
            baseline_value=usual,
        )
