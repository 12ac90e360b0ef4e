"""Finds the targets of a ServiceMonitor as Prometheus does for its operator: Debian's is built without Kubernetes."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from allocator.kube.client import ApiError, Cluster, Object
from allocator.kube.resource import SERVICES, Resource
from tests.lab.waiting import wait_until

ENDPOINTS = Resource("", "v1", "endpoints", "Endpoints")

_LOOK_SECONDS = 0.5
_JOIN_SECONDS = 30.0


class Discovery:
    """Keeps a file of targets current while the block runs; what was found last stays while the API server is down.

    It asks with the rights of whoever `cluster` speaks for. Only its own thread writes the file.
    """

    def __init__(self, cluster: Cluster, monitor: Object, file: Path) -> None:
        self._cluster = cluster
        self._monitor = monitor
        self._file = file
        self._written: list[Object] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="discovery", daemon=True)

    def __enter__(self) -> Object:
        """Begin, and return the scrape configuration that reads the file."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # The right to ask may have been granted a moment ago.
        wait_until(self._look, 10, "whoever scrapes may list what it needs", retry_on=(ApiError,))
        self._thread.start()
        files = {"files": [str(self._file)], "refresh_interval": "1s"}
        return {"job_name": self._monitor["metadata"]["name"], "file_sd_configs": [files]}

    def __exit__(self, *_: object) -> None:
        alive = self._thread.is_alive()
        self._stopping.set()
        self._thread.join(_JOIN_SECONDS)
        assert alive, "the thread that finds targets has died"

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                self._look()
            except ApiError:
                continue

    def _look(self) -> bool:
        found = self._targets()
        if found == self._written:
            return True
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(found))
        fresh.rename(self._file)
        self._written = found
        return True

    def _targets(self) -> list[Object]:
        namespace = self._monitor["metadata"]["namespace"]
        selected = self._monitor["spec"]["selector"]["matchLabels"]
        ports = {endpoint["port"] for endpoint in self._monitor["spec"]["endpoints"]}
        selector = ",".join(f"{label}={value}" for label, value in selected.items())
        services = self._cluster.list(SERVICES, namespace, label_selector=selector)["items"]
        by_service = {item["metadata"]["name"]: item for item in self._cluster.list(ENDPOINTS, namespace)["items"]}
        found = []
        for service in services:
            name = service["metadata"]["name"]
            for subset in by_service.get(name, {}).get("subsets") or ():
                # What is not ready is scraped as well: it has most to tell.
                addresses = [*(subset.get("addresses") or ()), *(subset.get("notReadyAddresses") or ())]
                found += [
                    {
                        "targets": [f"{address['ip']}:{port['port']}"],
                        "labels": _labels(namespace, name, port["name"], address),
                    }
                    for port in subset.get("ports") or ()
                    if port.get("name") in ports
                    for address in addresses
                ]
        return sorted(found, key=json.dumps)


def _labels(namespace: str, service: str, endpoint: str, address: Object) -> dict[str, str]:
    labels = {"namespace": namespace, "service": service, "job": service, "endpoint": endpoint}
    pod = (address.get("targetRef") or {}).get("name")
    return {**labels, "pod": pod} if pod else labels
