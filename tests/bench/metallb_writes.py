"""`python -m tests.bench.metallb_writes KUBECONFIG FIRST_ADDRESS`: makes for each Service the writes MetalLB makes.

The yardstick of the storm: a status from a running number, an Event of the controller, one of the speaker, and a
ServiceL2Status with its status. Nothing is decided, nothing is announced.
"""

from __future__ import annotations

import ipaddress
import itertools
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from allocator.kube.client import Cluster, Object
from allocator.kube.reflector import Change, Reflector
from allocator.kube.resource import EVENTS, SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, SERVICE_L2_STATUSES

_THREADS = 4


class Writer:
    """Writes for each Service as it is seen for the first time. `_addresses` is the watching thread's."""

    def __init__(self, cluster: Cluster, first: str) -> None:
        self._cluster = cluster
        self._addresses: Iterator[int] = itertools.count(int(ipaddress.ip_address(first)))
        self._writing = ThreadPoolExecutor(_THREADS, thread_name_prefix="write")

    def see(self, change: Change) -> None:
        """Take in one change of a Service."""
        service = change.new
        if change.old is None and service is not None and service["spec"]["type"] == "LoadBalancer":
            self._writing.submit(self._write, service, str(ipaddress.ip_address(next(self._addresses))))

    def _write(self, service: Object, address: str) -> None:
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
        self._cluster.patch(SERVICES, name, status, namespace, subresource="status")
        self._event(service, "IPAllocated", f'Assigned IP ["{address}"]')
        self._event(service, "nodeAssigned", 'announcing from node "node-1" with protocol "layer2"')
        l2_status: Object = {
            "apiVersion": SERVICE_L2_STATUSES.api_version,
            "kind": SERVICE_L2_STATUSES.kind,
            "metadata": {"generateName": "l2-", "namespace": DEFAULT_NAMESPACE},
        }
        stored = self._cluster.create(SERVICE_L2_STATUSES, l2_status, DEFAULT_NAMESPACE)
        said = {"status": {"node": "node-1", "serviceName": name, "serviceNamespace": namespace}}
        made = stored["metadata"]["name"]
        self._cluster.patch(SERVICE_L2_STATUSES, made, said, DEFAULT_NAMESPACE, subresource="status")

    def _event(self, service: Object, reason: str, message: str) -> None:
        metadata = service["metadata"]
        involved = {"kind": "Service", "apiVersion": "v1", "namespace": metadata["namespace"]}
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": {**involved, "name": metadata["name"], "uid": metadata["uid"]},
            "reason": reason,
            "message": message,
            "type": "Normal",
            "count": 1,
        }
        self._cluster.create(EVENTS, event, metadata["namespace"])


def main(kubeconfig: str, first: str) -> None:
    """Write until told to stop."""
    cluster = Cluster.from_environment(kubeconfig)
    watch = Reflector(cluster, SERVICES, on_change=Writer(cluster, first).see)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    watch.start()
    stopping.wait()
    watch.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
