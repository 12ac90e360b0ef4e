"""Creating Services through the real API server, past the webhook and through it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from allocator.cluster import Cluster
from allocator.names import SERVICES
from tests.bench.figures import Figure, quantile
from tests.bench.site import NAMESPACE, Object, Site, has_address

_CLIENTS = 8
_SERVICES = 400
_ROUNDS = 2
_PAIRS = 300


def measure(site: Site, *, durability: str) -> Iterator[Figure]:
    """Yield how many Services a second eight clients create, and what admission adds to one create."""
    section = f"creating Services ({durability})"
    yield _throughput(site, section)
    yield from _added_latency(site, section)


def _throughput(site: Site, section: str) -> Figure:
    past: list[float] = []
    through: list[float] = []
    without = 0
    for _ in range(_ROUNDS):
        rate, _ = _rate(site, past_the_webhook=True)
        past.append(rate)
        rate, unserved = _rate(site, past_the_webhook=False)
        through.append(rate)
        without += unserved
    remark = f"{max(through):.0f} per second"
    if without:
        remark += f"; {without} of {_ROUNDS * _SERVICES} left admission without an address"
    return Figure(
        section=section,
        what=f"creates per second with the webhook, {_CLIENTS} clients, as a share of those without",
        value=max(through) / max(past),
        unit="x",
        target=0.5,
        at_least=True,
        baseline="creates per second without the webhook, the reconciler assigning",
        baseline_value=max(past),
        remark=remark,
    )


def _rate(site: Site, *, past_the_webhook: bool) -> tuple[float, int]:
    """Create Services from several clients at once; return how many a second, and how many got no address."""
    documents = [site.document(past_the_webhook=past_the_webhook) for _ in range(_SERVICES)]
    clients = site.connections(_CLIENTS)
    with ThreadPoolExecutor(_CLIENTS, thread_name_prefix="bench-client") as pool:
        list(pool.map(_connect, clients))
        started = time.perf_counter()
        created = pool.map(_create, clients, _dealt(documents, _CLIENTS))
        served = sum(created)
        seconds = time.perf_counter() - started
    site.clean()
    return _SERVICES / seconds, _SERVICES - served


def _connect(client: Cluster) -> None:
    client.list(SERVICES, NAMESPACE, label_selector="none=such")


def _dealt(documents: list[Object], hands: int) -> list[list[Object]]:
    return [documents[hand::hands] for hand in range(hands)]


def _create(client: Cluster, documents: list[Object]) -> int:
    return sum(has_address(client.create(SERVICES, document, NAMESPACE)) for document in documents)


def _added_latency(site: Site, section: str) -> Iterator[Figure]:
    """One client, by turns past the webhook and through it, so that both see the same machine."""
    past: list[float] = []
    through: list[float] = []
    for _ in range(_PAIRS):
        for samples, round_it in ((past, True), (through, False)):
            document = site.document(past_the_webhook=round_it)
            started = time.perf_counter()
            site.cluster.create(SERVICES, document, NAMESPACE)
            samples.append((time.perf_counter() - started) * 1000)
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
