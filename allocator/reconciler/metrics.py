"""What the reconciler measures. Names and labels are MetalLB's where MetalLB has them.

Gauges are worked out when they are asked for; only what happens is counted as it happens.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from allocator.allocation.cache import ClaimCache
from allocator.core.addresses import Family
from allocator.core.claims import ClaimState
from allocator.core.usage import Usage
from allocator.rules.configuration import Configuration

REPAIRS = Counter("admitlb_repairs", "What the reconciler did to Services and claims", ["action"])
for _action in ("assigned", "withdrawn", "released", "collected"):
    # A series that begins at 1 has not increased, to Prometheus.
    REPAIRS.labels(_action)
UPDATES = Counter("metallb_k8s_client_updates", "Number of k8s object updates that have been processed.")
UPDATE_ERRORS = Counter(
    "metallb_k8s_client_update_errors", "Number of k8s object updates that failed for some reason."
)

_PREFIX = "metallb_allocator_"


class StateCollector(Collector):
    """Gauges of the state as the leader sees it; a replica that stands by has nothing to say about pools."""

    def __init__(
        self,
        cache: ClaimCache,
        *,
        leading: Callable[[], bool],
        loaded: Callable[[], bool],
        configuration: Callable[[], Configuration],
        waiting: Callable[[], int],
    ) -> None:
        self._cache = cache
        self._leading = leading
        self._loaded = loaded
        self._configuration = configuration
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        """Report everything."""
        loaded = self._loaded()
        found = self._configuration() if loaded else Configuration()
        leading = self._leading()
        yield _gauge(
            "metallb_k8s_client_config_loaded_bool", "1 if the MetalLB configuration was successfully loaded.", loaded
        )
        yield _gauge(
            "metallb_k8s_client_config_stale_bool",
            "1 if part of the configuration is left out of use because it is wrong.",
            bool(found.errors()),
        )
        yield _gauge("admitlb_reconciler_leading", "1 if this replica is the one that acts.", leading)
        if leading:
            yield _gauge("admitlb_pending_services", "Services without the address they want.", self._waiting())
            yield from self._claims()
            yield from self._pools(found)

    def _claims(self) -> Iterator[Metric]:
        tally = Tally(claim.state for claim in self._cache.claims())
        metric = GaugeMetricFamily("admitlb_claims", "IPAllocations by state.", labels=["state"])
        for state in ClaimState:
            metric.add_metric([str(state)], tally[state])
        yield metric

    def _pools(self, found: Configuration) -> Iterator[Metric]:
        claims = self._cache.claims()
        usage = self._cache.usage()
        total = {name: {family: pool.capacity(family) for family in Family} for name, pool in found.pools.items()}
        used = {name: usage.get(name, Usage()).assigned for name in found.pools}
        for counts, what, said in (
            (total, "addresses_total", "Number of usable IP addresses per pool."),
            (used, "addresses_in_use_total", "Number of IP addresses in use, per pool."),
        ):
            yield _by_pool(what, said, {name: sum(of.values()) for name, of in counts.items()})
            for family in Family:
                by_family = {name: of[family] for name, of in counts.items()}
                yield _by_pool(f"{family.lower()}_{what}", f"{said[:-1]} ({family}).", by_family)
        served: dict[str, set[tuple[str, str]]] = {name: set() for name in found.pools}
        for claim in claims:
            if claim.in_use and claim.pool in served:
                served[claim.pool] |= {(holder.namespace, holder.name) for holder in claim.holders}
        allocated = {name: len(services) for name, services in served.items()}
        yield _by_pool("services_allocated_total", "Number of services allocated, per pool.", allocated)
        conflicted = GaugeMetricFamily(
            "admitlb_pool_conflicted_addresses",
            "Addresses that are not handed out because other hosts answer for them, per pool.",
            labels=["pool"],
        )
        for name in found.pools:
            conflicted.add_metric([name], len(usage.get(name, Usage()).conflicted))
        yield conflicted


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=float(value))


def _by_pool(name: str, documentation: str, counts: dict[str, int]) -> Metric:
    metric = GaugeMetricFamily(_PREFIX + name, documentation, labels=["pool"])
    for pool, count in counts.items():
        metric.add_metric([pool], float(count))
    return metric
