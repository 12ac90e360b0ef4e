"""What the Prometheus operator makes of a ServiceMonitor: a scrape configuration with the labels it gives targets."""

from __future__ import annotations

from pathlib import Path

from allocator.cluster import Object

_SERVICE = "__meta_kubernetes_service"


def scrape_configs(monitor: Object, *, kubeconfig: Path) -> list[Object]:
    """Return one scrape configuration for each endpoint of the ServiceMonitor, in its own namespace.

    The intervals stay Prometheus's own, so that a test need not wait for those of production.
    """
    selected = monitor["spec"]["selector"]["matchLabels"]
    by_label = [
        {
            "action": "keep",
            "source_labels": [f"{_SERVICE}_label_{label}", f"{_SERVICE}_labelpresent_{label}"],
            "regex": f"({value});true",
        }
        for label, value in selected.items()
    ]
    copied = {
        "namespace": "__meta_kubernetes_namespace",
        "service": f"{_SERVICE}_name",
        "job": f"{_SERVICE}_name",
        "pod": "__meta_kubernetes_pod_name",
        "container": "__meta_kubernetes_pod_container_name",
    }
    labels = [{"source_labels": [source], "target_label": label} for label, source in copied.items()]
    return [
        {
            "job_name": f"serviceMonitor/{monitor['metadata']['namespace']}/{monitor['metadata']['name']}/{number}",
            "kubernetes_sd_configs": [
                {
                    "role": "endpoints",
                    "kubeconfig_file": str(kubeconfig),
                    "namespaces": {"names": [monitor["metadata"]["namespace"]]},
                }
            ],
            "relabel_configs": [
                *by_label,
                {
                    "action": "keep",
                    "source_labels": ["__meta_kubernetes_endpoint_port_name"],
                    "regex": endpoint["port"],
                },
                *labels,
                {"target_label": "endpoint", "replacement": endpoint["port"]},
            ],
        }
        for number, endpoint in enumerate(monitor["spec"]["endpoints"])
    ]
