"""Where takeovers are measured: the whole lab, AdmitLB on it, and an application that outlives every announcer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from allocator.kube.client import ApiError, Conflict, NotFound, Object, Unavailable
from allocator.kube.resource import SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
from tests.bench.speaker_asking import Answer, Asking
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.outage import OutageMeter
from tests.lab.waiting import wait_until
from tests.lab.workloads import DAEMON_SETS

VIP, VIP6 = "203.0.113.30", "2001:db8:1::30"
BACKEND = "node-3"
"""Announces nothing: killing an announcer must not kill what is announced."""
_POOLS = ("203.0.113.30-203.0.113.39", "2001:db8:1::30-2001:db8:1::39")
_LABEL = "announces"
_READY_SECONDS = 30
_MONITOR_PORT = 9122
_HEARING_SECONDS = 2.0


def admission_works(lab: Lab) -> None:
    """Ask until the API server has noticed which of its connections to webhooks died with a node."""
    document: Object = {
        "apiVersion": L2_ADVERTISEMENTS.api_version,
        "kind": L2_ADVERTISEMENTS.kind,
        "metadata": {"name": "asking", "namespace": DEFAULT_NAMESPACE},
        "spec": {},
    }

    def asked() -> bool:
        for _ in range(8):
            lab.cluster().create(L2_ADVERTISEMENTS, document, DEFAULT_NAMESPACE, dry_run=True)
        return True

    wait_until(asked, 30, "admission works", retry_on=(ApiError,))


class SpeakerSite:
    """One Service on eth0, announced by any node but the one its pod runs on. Owned by one thread.

    The last client of the lab asks who has the address: the answers would teach the one that makes requests.
    """

    def __init__(self, lab: Lab, *, dual_stack: bool = False) -> None:
        """Install everything and return when the address (with `dual_stack`, one of each family) answers."""
        self.lab = lab
        self._created: list[tuple[Resource, str, str]] = []
        self.vips = {"IPv4": VIP, "IPv6": VIP6} if dual_stack else {"IPv4": VIP}
        self.url = f"http://{VIP}/"
        self.asker = list(lab.clients.values())[-1]
        lab.install()
        for name in lab.nodes:
            if name != BACKEND:
                lab.kubectl("label", "node", name, f"{_LABEL}=yes", "--overwrite")
        self.pool("lan", *_POOLS[: len(self.vips)])
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
            # A pool may go once its addresses are released. A dead connection of the API server to a webhook, whose
            # node was cut off, is noticed by the request that times out on it.
            delete = partial(self._deleted, resource, namespace, name)
            wait_until(delete, 60, f"{name} is deleted", retry_on=(Conflict, Unavailable))
        self.lab.kubectl("delete", "deployment", "web")
        self.admission_works()
        for name in self.lab.nodes:
            self.lab.kubectl("label", "node", name, f"{_LABEL}-")

    def admission_works(self) -> None:
        """Wait until no connection of the API server to a webhook is one that died with a node."""
        admission_works(self.lab)

    def _deleted(self, resource: Resource, namespace: str, name: str) -> bool:
        with suppress(NotFound):
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
        families = {"ipFamilyPolicy": "RequireDualStack"} if len(self.vips) > 1 else {}
        self.create(SERVICES, "default", name, type="LoadBalancer", selector={"app": "web"}, ports=ports, **families)

    def announcer(self, *, other_than: Node | None = None, address: str = VIP) -> Node:
        """Wait until exactly one node answers for the address, and return it."""
        by_mac = {node.mac("eth0"): node for node in self.lab.nodes.values()}

        def sole() -> Node:
            answering = [by_mac[mac] for mac in self.asker.who_has(address, listen_seconds=0.2)]
            names = [node.name for node in answering]
            assert len(answering) == 1, f"{address}: {names}"
            assert answering[0] is not other_than, f"{address}: {names}"
            return answering[0]

        return wait_until(sole, 20, f"exactly one node answers for {address}", retry_on=(AssertionError,))

    def serves(self) -> None:
        """Wait until the application answers through every address."""
        for url in map(url_of, self.vips.values()):
            wait_until(partial(self._served, url), 20, f"{url} answers", retry_on=(OSError,))

    def steady(self) -> None:
        """Wait until every speaker serves, one of them announces, and the application answers."""
        self.lab.wait_rolled_out(DAEMON_SETS, "speaker")
        # What a DaemonSet's status says of a node that died comes late: ask the speakers themselves.
        wait_until(self._speakers_ready, _READY_SECONDS, "every speaker is ready", retry_on=(OSError,))
        for vip in self.vips.values():
            self.announcer(address=vip)
        self.serves()

    def _served(self, url: str) -> bool:
        return self.lab.client().http_get(url).status == 200

    def _speakers_ready(self) -> bool:
        urls = [f"http://{node.addresses[0]}:{_MONITOR_PORT}/readyz" for node in self.lab.nodes.values()]
        return all(self.asker.http_get(url, timeout_seconds=1.0).status == 200 for url in urls)

    def isolate(self, node: Node) -> None:
        """Take the node out of every LAN, beyond its own cables: its interfaces keep their carrier."""
        for link in node.host.links.values():
            link.isolate()

    def rejoin(self, node: Node) -> float:
        """Undo `isolate`; return the instant."""
        for link in node.host.links.values():
            link.rejoin()
        return time.monotonic()

    def milliseconds_until_single(self, since: float) -> float:
        """Ask the LAN for a while; return how long after `since` an address had answers of two nodes at worst."""
        heard: dict[str, list[Answer]] = {vip: [] for vip in self.vips.values()}
        with Asking(
            self.asker,
            heard,
            every_seconds=0.01,
            on_answer=lambda answer: heard[answer.address].append(answer) if answer.address in heard else None,
        ):
            self.let_it_run(_HEARING_SECONDS)
        last_of_others = since
        for vip, answers in heard.items():
            if not answers:
                raise AssertionError(f"nobody answers for {vip}")
            last_of_others = max([last_of_others, *(one.at for one in answers if one.mac != answers[-1].mac)])
        return (last_of_others - since) * 1000

    @contextmanager
    def outages(
        self, *, rate_per_second: float = 100.0, patience_seconds: float = 1.0
    ) -> Iterator[dict[str, OutageMeter]]:
        """Ask the application through every address while the block runs; the meters by family."""
        meters = {
            family: self.lab.client().outage(
                url_of(vip),
                rate_per_second=rate_per_second,
                connect_seconds=patience_seconds,
                read_seconds=patience_seconds,
            )
            for family, vip in self.vips.items()
        }
        with ExitStack() as running:
            for meter in meters.values():
                running.enter_context(meter)
            yield meters

    def let_it_run(self, seconds: float) -> None:
        """Let a meter see undisturbed service, so that a gap has an edge on both sides."""
        threading.Event().wait(seconds)


def url_of(vip: str) -> str:
    """Return where the application answers at an address."""
    return f"http://[{vip}]/" if ":" in vip else f"http://{vip}/"


@contextmanager
def speaker_site(lab: Lab, *, dual_stack: bool = False) -> Iterator[SpeakerSite]:
    """Make a site for the block."""
    site = SpeakerSite(lab, dual_stack=dual_stack)
    try:
        yield site
    finally:
        site.close()
