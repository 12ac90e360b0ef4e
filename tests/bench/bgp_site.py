"""A whole cluster with BGP, two routers and a client behind them, for what is judged by the client's requests."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE
from tests.cluster.installation import service
from tests.lab.container import PROJECT
from tests.lab.frr_image import NAME, find_frr_image
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.outage import OutageMeter
from tests.lab.routers import BIRD, FRR, Routers
from tests.lab.waiting import wait_until
from tests.lab.workloads import DAEMON_SETS

ADDRESSES = ("198.51.100.10", "2001:db8:100::10")
REQUESTS_PER_SECOND = 200.0
ROUTERS = {"BIRD": BIRD, "FRR": FRR}
SECONDS = 90.0
_OVERLAY = "kustomize/overlays/bgp"
_CONFIGURATION = PROJECT / "tests" / "endtoend" / "bgp" / "configuration.yaml"
_PEERS = ("router-bird", "router-frr")


@dataclass(frozen=True, slots=True)
class BgpSite:
    """The lab with AdmitLB; `node-1` has no endpoint of the Service, so that it can go without one going."""

    lab: Lab
    routers: Routers

    @property
    def leaver(self) -> Node:
        """The node that leaves or is cut off."""
        return self.lab.node("node-1")

    def outage(self, address: str = ADDRESSES[0]) -> OutageMeter:
        """Requests from the client beyond while the block runs."""
        shown = f"[{address}]" if ":" in address else address
        return self.routers.outage(f"http://{shown}/", rate_per_second=REQUESTS_PER_SECOND)

    def wait_routes(self, *, without_leaver: bool) -> None:
        """Wait until both routers send what is for the addresses to all nodes, or to all others."""
        count = len(self.lab.nodes) - without_leaver
        for router in ROUTERS.values():
            for address, bits in zip(ADDRESSES, (32, 128), strict=True):
                wait_until(
                    lambda r=router, p=f"{address}/{bits}": len(self.routers.next_hops(r, p)) == count,  # type: ignore[misc]
                    SECONDS,
                    f"{router} sends {address} to {count} nodes",
                )

    def set_bfd(self, milliseconds: int | None) -> None:
        """Have all peers with BFD of that interval, three times, or without; wait until all sessions are up."""
        name = None
        if milliseconds is not None:
            name = f"every-{milliseconds}"
            intervals = {"receiveInterval": milliseconds, "transmitInterval": milliseconds, "detectMultiplier": 3}
            document = {
                "apiVersion": "metallb.io/v1beta1",
                "kind": "BFDProfile",
                "metadata": {"name": name, "namespace": DEFAULT_NAMESPACE},
                "spec": intervals,
            }
            self.lab.kubectl("apply", "-f", "-", stdin=json.dumps(document))
        for peer in _PEERS:
            patch = json.dumps({"spec": {"bfdProfile": name}})
            self.lab.kubectl("patch", "bgppeer", peer, "-n", DEFAULT_NAMESPACE, "--type=merge", "-p", patch)
        self.wait_routes(without_leaver=False)


@contextmanager
def bgp_site() -> Iterator[Lab]:
    """A lab with AdmitLB, BGP configured, an application and its Service. Raises RuntimeError without FRR's image."""
    with tempfile.TemporaryDirectory(prefix="admitlb-frr-image-") as folder:
        image = find_frr_image(Path(folder))
        if image is None:
            raise RuntimeError("FRR's image is not here; `python -m tests.lab.frr_programs` fetches it from Debian")
        with Lab(images={NAME: image}) as lab:
            lab.install(_OVERLAY)
            lab.wait_rolled_out(DAEMON_SETS, "frr")
            wait_until(
                lambda: lab.kubectl("apply", "-f", str(_CONFIGURATION), check=False).returncode == 0,
                SECONDS,
                "the configuration is admitted",
                interval_seconds=0.5,
            )
            for node in [*lab.nodes][1:]:
                lab.deploy_http(f"far-{node}", node=node, labels={"tier": "far"})
            document = service(
                "far",
                {"metallb.io/loadBalancerIPs": ",".join(ADDRESSES)},
                ports=[{"port": 80, "protocol": "TCP", "targetPort": 8080}],
                selector={"tier": "far"},
                ipFamilyPolicy="PreferDualStack",
            )
            lab.cluster().create(SERVICES, document, "default")
            yield lab
