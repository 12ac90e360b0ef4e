"""A controller that does as little as one can: it writes a status into every new Service that carries its label.

`python -m tests.bench.minimal_controller KUBECONFIG NAMESPACE`: no webhook, no claims, addresses from a list.
"""

from __future__ import annotations

import itertools
import sys
import threading

from allocator.kube.client import Cluster, NotFound
from allocator.kube.reflector import Change, Reflector
from allocator.kube.resource import SERVICES
from allocator.objects.document import labels_of

LABEL = "bench"
VALUE = "floor"


def main(kubeconfig: str, namespace: str) -> None:
    """Serve until killed."""
    cluster = Cluster.from_environment(kubeconfig)
    addresses = (f"198.18.{number >> 8 & 255}.{number & 255}" for number in itertools.count(1))

    def serve(change: Change) -> None:
        service = change.new
        if change.old is not None or service is None or labels_of(service).get(LABEL) != VALUE:
            return
        body = {"status": {"loadBalancer": {"ingress": [{"ip": next(addresses)}]}}}
        try:
            cluster.patch(SERVICES, service["metadata"]["name"], body, namespace, subresource="status")
        except NotFound:
            return

    Reflector(cluster, SERVICES, namespace=namespace, on_change=serve).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
