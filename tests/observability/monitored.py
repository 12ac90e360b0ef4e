"""A lab with AdmitLB under the eyes of a Prometheus, set up as the operator would from the component's objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import yaml

from allocator.kube.client import AlreadyExists, Cluster, Object
from allocator.kube.resource import SERVICE_ACCOUNTS, Resource
from allocator.objects.names import DEFAULT_NAMESPACE
from tests.lab.container import PROJECT
from tests.lab.lab import Lab
from tests.lab.prometheus import Prometheus
from tests.lab.prometheus_programs import find_prometheus
from tests.lab.waiting import wait_until
from tests.observability.component import OVERLAY, impatient
from tests.observability.discovery import Discovery

SERVICE_MONITORS = Resource("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor")
PROMETHEUS_RULES = Resource("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule")

_CRDS = PROJECT / "tests" / "observability" / "operator-crds.yaml"
_SCRAPER = ("monitoring", "prometheus-k8s")
"""Who scrapes: namespace and ServiceAccount, as kube-prometheus names them."""


@contextmanager
def monitored(lab: Lab) -> Iterator[Prometheus]:
    """Apply the component to a lab that has AdmitLB, and run a Prometheus by what is then stored."""
    lab.kubectl("apply", "-f", str(_CRDS))
    lab.kubectl("wait", "--for=condition=Established", "--timeout=20s", "-f", str(_CRDS))
    documents = yaml.safe_dump_all(component_documents(lab))
    lab.kubectl("apply", "-f", "-", stdin=documents)
    monitor = lab.cluster().get(SERVICE_MONITORS, "metallb", DEFAULT_NAMESPACE)
    groups = lab.cluster().get(PROMETHEUS_RULES, "metallb", DEFAULT_NAMESPACE)["spec"]["groups"]
    lab.ensure_namespace(_SCRAPER[0])
    with suppress(AlreadyExists):
        lab.cluster().create(SERVICE_ACCOUNTS, {"metadata": {"name": _SCRAPER[1]}}, _SCRAPER[0])
    scraper = Cluster.from_environment(str(lab.control_plane.kubeconfig_for(*_SCRAPER)))
    folder = lab.directory / "prometheus"
    try:
        with (
            Discovery(scraper, monitor, folder / "targets.json") as scrape_config,
            Prometheus(
                find_prometheus(),
                lab.client(),
                folder,
                scrape_configs=[scrape_config],
                groups=impatient(groups),
            ) as prometheus,
        ):
            wait_all_up(lab, prometheus)
            yield prometheus
    finally:
        lab.kubectl("delete", "-f", "-", "--ignore-not-found", stdin=documents)
        lab.kubectl("delete", "-f", str(_CRDS), "--ignore-not-found")
        lab.kubectl("delete", "namespace", _SCRAPER[0], "--wait=false")


def wait_all_up(lab: Lab, prometheus: Prometheus) -> None:
    """Wait until webhook and reconciler of every controller Pod, and every speaker, are scraped, and nothing else."""

    def expected() -> dict[str, str]:
        controllers = [pod["status"]["podIP"] for pod in lab.pods(DEFAULT_NAMESPACE, "component=controller")]
        speakers = [pod["status"]["podIP"] for pod in lab.pods(DEFAULT_NAMESPACE, "component=speaker")]
        targets = [f"webhook-monitoring {address}:9120" for address in controllers]
        targets += [f"reconciler-monitoring {address}:9121" for address in controllers]
        targets += [f"speaker-monitoring {address}:9122" for address in speakers]
        return dict.fromkeys(targets, "up")

    wait_until(
        lambda: prometheus.targets() == expected(),
        60,
        "every component is scraped",
        interval_seconds=0.2,
        retry_on=(KeyError,),
    )


def component_documents(lab: Lab) -> list[Object]:
    """Return the objects that the component adds to an installation, as kubectl renders them."""
    return list(yaml.safe_load_all(lab.kubectl("kustomize", str(OVERLAY)).stdout))
