"""Where takeovers are measured: the whole lab, AdmitLB on it, and an application that outlives every announcer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from allocator.cluster import ApiError, Conflict, Object
from allocator.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS, SERVICES, Resource
from tests.lab.lab import Lab
from tests.lab.network import run_ip
from tests.lab.node import Node
from tests.lab.outage import OutageMeter
from tests.lab.waiting import wait_until
from tests.lab.workloads import DAEMON_SETS

VIP = "203.0.113.30"
BACKEND = "node-3"
"""Announces nothing: killing an announcer must not kill what is announced."""
_POOL = "203.0.113.30-203.0.113.39"
_LABEL = "announces"


class SpeakerSite:
    """One Service on eth0, announced by any node but the one its pod runs on. Owned by one thread."""

    def __init__(self, lab: Lab) -> None:
        """Install everything and return when the address answers."""
        self.lab = lab
        self._created: list[tuple[Resource, str, str]] = []
        self.url = f"http://{VIP}/"
        lab.install()
        for name in lab.nodes:
            if name != BACKEND:
                lab.kubectl("label", "node", name, f"{_LABEL}=yes", "--overwrite")
        self.pool("lan", _POOL)
        self.create(
            L2_ADVERTISEMENTS,
            DEFAULT_NAMESPACE,
            "lan",
            interfaces=["eth0"],
            nodeSelectors=[{"matchLabels": {_LABEL: "yes"}}],
        )
        lab.deploy_http("web", node=BACKEND)
        self.service("web")
        self.steady()

    def close(self) -> None:
        """Delete what was made, but leave AdmitLB installed."""
        for resource, namespace, name in reversed(self._created):
            # A pool may go once its addresses are released.
            delete = partial(self._deleted, resource, namespace, name)
            wait_until(delete, 20, f"{name} is deleted", retry_on=(Conflict,))
        self.lab.kubectl("delete", "deployment", "web")
        self._admission_works()
        for name in self.lab.nodes:
            self.lab.kubectl("label", "node", name, f"{_LABEL}-")

    def _admission_works(self) -> None:
        """Ask until the API server has noticed which of its connections to webhooks died with a node."""
        document: Object = {
            "apiVersion": L2_ADVERTISEMENTS.api_version,
            "kind": L2_ADVERTISEMENTS.kind,
            "metadata": {"name": "asking", "namespace": DEFAULT_NAMESPACE},
            "spec": {},
        }

        def asked() -> bool:
            for _ in range(8):
                self.lab.cluster().create(L2_ADVERTISEMENTS, document, DEFAULT_NAMESPACE, dry_run=True)
            return True

        wait_until(asked, 30, "admission works", retry_on=(ApiError,))

    def _deleted(self, resource: Resource, namespace: str, name: str) -> bool:
        self.lab.cluster().delete(resource, name, namespace)
        return True

    def create(self, resource: Resource, namespace: str, name: str, **spec: object) -> None:
        """Create an object that `close` deletes."""
        document: Object = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        self.lab.cluster().create(resource, document, namespace)
        self._created.append((resource, namespace, name))

    def pool(self, name: str, *addresses: str) -> None:
        """Make a pool whose addresses are free again at once."""
        self.create(IP_ADDRESS_POOLS, DEFAULT_NAMESPACE, name, addresses=list(addresses), reuseDelaySeconds=0)

    def service(self, name: str) -> None:
        """Make a Service of the application."""
        ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
        self.create(SERVICES, "default", name, type="LoadBalancer", selector={"app": "web"}, ports=ports)

    def announcer(self, *, other_than: Node | None = None, address: str = VIP) -> Node:
        """Wait until exactly one node answers ARP for the address, and return it."""
        by_mac = {node.mac("eth0"): node for node in self.lab.nodes.values()}

        def sole() -> Node:
            answering = [by_mac[mac] for mac in self.lab.client().who_has(address, listen_seconds=0.2)]
            names = [node.name for node in answering]
            assert len(answering) == 1, f"{address}: {names}"
            assert answering[0] is not other_than, f"{address}: {names}"
            return answering[0]

        return wait_until(sole, 20, f"exactly one node answers for {address}", retry_on=(AssertionError,))

    def serves(self) -> None:
        """Wait until the application answers through the address."""
        client = self.lab.client()
        wait_until(lambda: client.http_get(self.url).status == 200, 20, f"{self.url} answers", retry_on=(OSError,))

    def steady(self) -> None:
        """Wait until every speaker serves, one of them announces, and the application answers."""
        self.lab.wait_rolled_out(DAEMON_SETS, "speaker")
        self.announcer()
        self.serves()

    def isolate(self, node: Node) -> None:
        """Take the node's eth0 out of the LAN, beyond its own cable: it keeps its carrier."""
        run_ip(f"link set {node.link().port} nomaster")

    def rejoin(self, node: Node) -> float:
        """Undo `isolate`; return the instant."""
        run_ip(f"link set {node.link().port} master br-eth0 up")
        return time.monotonic()

    def milliseconds_until_single(self, since: float) -> float:
        """Ask the LAN until the address has one node that answers and no more; return when that was first so."""
        listen_seconds = 0.02
        end = since + 10.0
        while (asked_at := time.monotonic()) < end:
            if len(self.lab.client().who_has(VIP, listen_seconds=listen_seconds)) == 1:
                return (asked_at - since) * 1000
        raise AssertionError(f"{VIP} does not come to have one node that answers")

    def outage(self, *, rate_per_second: float = 100.0, patience_seconds: float = 1.0) -> OutageMeter:
        """Ask the application while the block runs."""
        return self.lab.client().outage(
            self.url,
            rate_per_second=rate_per_second,
            connect_seconds=patience_seconds,
            read_seconds=patience_seconds,
        )

    def let_it_run(self, seconds: float) -> None:
        """Let a meter see undisturbed service, so that a gap has an edge on both sides."""
        threading.Event().wait(seconds)


@contextmanager
def speaker_site(lab: Lab) -> Iterator[SpeakerSite]:
    """Make a site for the block."""
    site = SpeakerSite(lab)
    try:
        yield site
    finally:
        site.close()
