"""The webhook's gauges, worked out when they are asked for; what happens is counted where it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cryptography import x509
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class WebhookState(Collector):
    """Whether this replica can answer, and until when its certificate is valid (no sample before it has one)."""

    def __init__(self, *, problems: Callable[[], list[str]], certificate: Callable[[], bytes | None]) -> None:
        """`certificate` returns what is served with, PEM, the serving certificate first."""
        self._problems = problems
        self._certificate = certificate

    def collect(self) -> Iterator[Metric]:
        """Report both."""
        ready = not self._problems()
        yield GaugeMetricFamily("admitlb_webhook_ready", "1 if this replica can answer the API server.", float(ready))
        expiry = GaugeMetricFamily(
            "admitlb_webhook_certificate_expiry_timestamp_seconds",
            "When the serving certificate ends, in seconds since 1970.",
        )
        pem = self._certificate()
        if pem is not None:
            expiry.add_metric([], x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp())
        yield expiry
