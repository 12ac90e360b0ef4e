"""Where a soak happens: four nodes, three of which announce; the fourth has all that is not to be disturbed."""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from allocator.kube.client import ApiError, Object
from allocator.kube.resource import ENDPOINT_SLICES_V1, ENDPOINT_SLICES_V1BETA1, SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
from tests.lab.client import Client
from tests.lab.lab import Lab
from tests.lab.network import run_ip
from tests.lab.node import Node
from tests.lab.processes import Process
from tests.lab.topology import LANS
from tests.lab.waiting import wait_until
from tests.lab.workloads import DEPLOYMENTS

BACKEND = "node-4"
STEADY = tuple((f"203.0.113.{30 + number}", f"2001:db8:1::{30 + number}") for number in range(5))
CHURNED = tuple((f"203.0.113.{60 + number}", f"2001:db8:1::{60 + number}") for number in range(9))
_POOLS = ("203.0.113.30-203.0.113.79", "2001:db8:1::30-2001:db8:1::79")
_LABEL = "soak"
_MONITOR_PORT = 9122
_READY_SECONDS = 60
HEARTBEAT_PORT = "7946"
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network


class Place:
    """The lab with AdmitLB and Services that stay; used by one thread at a time, but for what says otherwise."""

    def __init__(self, directory: Path) -> None:
        self.lab = Lab(nodes=4, clients=2, directory=directory)
        self.creating = threading.Lock()
        """Held by whoever creates a Service, and while none may be created."""

    def open(self) -> None:
        """Start and install everything; return when every steady address is in its Service's status."""
        self.lab.start()
        lab = self.lab
        lab.install()
        # The speakers are what is tested here, so their nodes do not take the webhooks down with them.
        placed = f'{{"spec":{{"template":{{"spec":{{"nodeSelector":{{"kubernetes.io/hostname":"{BACKEND}"}}}}}}}}}}'
        lab.kubectl("patch", "deployment/controller", "-n", DEFAULT_NAMESPACE, "-p", placed)
        lab.wait_rolled_out(DEPLOYMENTS, "controller")
        for node in self.announcing:
            lab.kubectl("label", "node", node.name, f"{_LABEL}=announces")
        self._create(IP_ADDRESS_POOLS, addresses=list(_POOLS), reuseDelaySeconds=0)
        selector = {"matchLabels": {_LABEL: "announces"}}
        self._create(L2_ADVERTISEMENTS, interfaces=["eth0"], nodeSelectors=[selector])
        lab.deploy_http("web", node=BACKEND)
        for number, pair in enumerate(STEADY):
            create = partial(self.create_service, f"steady-{number}", pair)
            wait_until(create, 20, "the Service is admitted", retry_on=(ApiError,))
        for number in range(len(STEADY)):
            wait_until(partial(self.shown, f"steady-{number}"), 60, "the Service has its addresses")
        self.wait_whole()

    def close(self) -> None:
        """End everything; the logs stay."""
        self.lab.stop()

    @property
    def announcing(self) -> list[Node]:
        """The nodes that may announce."""
        return [node for node in self.lab.nodes.values() if node.name != BACKEND]

    @property
    def asking(self) -> Client:
        """The client that asks who has an address; the other one makes requests, and learns by itself."""
        return self.lab.client("client-2")

    def speaker(self, node: Node) -> Process | None:
        """The running speaker of a node, if there is one."""
        for name, process in node.processes().items():
            if name.endswith("/speaker"):
                return process
        return None

    def wait_whole(self, timeout_seconds: float = _READY_SECONDS) -> None:
        """Wait until every speaker is ready, and hears all others."""
        for node in self.lab.nodes.values():
            url = f"http://{node.addresses[0]}:{_MONITOR_PORT}"
            wait_until(partial(self._is_whole, url), timeout_seconds, f"{url} hears all", retry_on=(OSError,))

    def _is_whole(self, url: str) -> bool:
        if self.asking.http_get(f"{url}/readyz", timeout_seconds=1.0).status != 200:
            return False
        lines = self.asking.http_get(f"{url}/metrics", timeout_seconds=1.0).text.splitlines()
        heard = {f"admitlb_speakers_alive {len(self.lab.nodes)}.0", "admitlb_speakers_alive_by_lease_only 0.0"}
        return heard <= set(lines)

    def isolate(self, node: Node, *lans: str) -> None:
        """Take the node out of these LANs, or all, beyond its own cables: its interfaces keep their carrier."""
        for name, link in node.host.links.items():
            if not lans or name in lans:
                link.isolate()

    def rejoin(self, node: Node) -> None:
        """Undo `isolate`."""
        for link in node.host.links.values():
            link.rejoin()

    def deafen(self, nodes: list[Node], *, deaf: bool) -> None:
        """Let nothing pass between these nodes, while all others hear them; or undo that."""
        state = "on" if deaf else "off"
        links = [link for node in nodes for link in node.host.links.values()]
        run_ip(*(f"link set dev {link.port} type bridge_slave isolated {state}" for link in links))

    def block_heartbeats(self, node: Node, rules: Sequence[tuple[str, ...]], *, blocked: bool) -> None:
        """Drop the node's heartbeats by these rules, each a chain and matches of one or of both families; or undo."""
        for chain, *match in rules:
            for program in ("iptables", "ip6tables"):
                if match and (":" in match[-1]) != (program == "ip6tables"):
                    continue
                operation = "-I" if blocked else "-D"
                port = ("-p", "udp", "--dport", HEARTBEAT_PORT)
                node.host.run(program, "-w", operation, chain, *port, *match, "-j", "DROP")

    def place_speakers(self, names: list[str]) -> None:
        """Have speakers on exactly these nodes. Raises ApiError."""
        on = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": names}]}]
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": on}}}
        patch = json.dumps({"spec": {"template": {"spec": {"affinity": affinity}}}})
        self.lab.kubectl("patch", "daemonset/speaker", "-n", DEFAULT_NAMESPACE, "--type=merge", "-p", patch)

    @property
    def lan_subnets(self) -> tuple[Subnet, Subnet]:
        """The subnets of the LAN that announces, IPv4 first."""
        v4, v6 = LANS[0].subnets
        return ipaddress.ip_network(v4), ipaddress.ip_network(v6)

    def create_service(self, name: str, addresses: tuple[str, ...]) -> bool:
        """Create a Service with exactly these addresses. Raises ApiError. May be called by any thread."""
        families = {4: "IPv4", 6: "IPv6"}
        spec: Object = {
            "type": "LoadBalancer",
            "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}],
            "ipFamilies": [families[6 if ":" in address else 4] for address in addresses],
            "ipFamilyPolicy": "RequireDualStack" if len(addresses) > 1 else "SingleStack",
        }
        annotations = {"metallb.io/loadBalancerIPs": ",".join(addresses)}
        metadata = {"name": name, "annotations": annotations}
        document = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
        with self.creating:
            self.lab.cluster().create(SERVICES, document, "default")
        return True

    def shown(self, name: str) -> list[str]:
        """Return the addresses a Service shows. Raises ApiError. May be called by any thread."""
        status = self.lab.cluster().get(SERVICES, name, "default").get("status") or {}
        return [entry["ip"] for entry in status.get("loadBalancer", {}).get("ingress") or ()]

    def has_endpoints(self, name: str) -> bool:
        """Tell whether Kubernetes says who serves a Service. Raises ApiError. May be called by any thread.

        Its own controllers see little while the API server is away, and take up to half a minute to look again.
        """
        cluster = self.lab.cluster()
        slices = ENDPOINT_SLICES_V1 if cluster.serves(ENDPOINT_SLICES_V1) else ENDPOINT_SLICES_V1BETA1
        found = cluster.list(slices, "default", label_selector=f"kubernetes.io/service-name={name}")["items"]
        return any(one.get("endpoints") for one in found)

    def _create(self, resource: Resource, **spec: object) -> None:
        document: Object = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": "soak", "namespace": DEFAULT_NAMESPACE},
            "spec": spec,
        }
        self.lab.cluster().create(resource, document, DEFAULT_NAMESPACE)
