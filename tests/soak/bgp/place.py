"""Where it happens: a lab with BGP installed, two routers beside it, and the objects that change."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from allocator.kube.client import AlreadyExists, ApiError, Object
from allocator.kube.resource import SERVICES, Resource
from allocator.objects.names import (
    BFD_PROFILES,
    BGP_ADVERTISEMENTS,
    BGP_PEERS,
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
)
from tests.lab.control_plane import KubectlFailed
from tests.lab.lab import Lab
from tests.lab.processes import Process
from tests.lab.routers import BIRD, FRR, NODE_ASN, ROUTER_ASN, Routers
from tests.lab.waiting import wait_until
from tests.lab.workloads import DAEMON_SETS, DEPLOYMENTS
from tests.soak.bgp.expectation import Expectation, Scope
from tests.soak.bgp.objects import ClusterState, PoolState, ServiceState

STEADY, CHURNED = "soak-steady", "soak-churned"
RANGES = {
    STEADY: ["198.51.101.16-198.51.101.31", "2001:db8:101::10-2001:db8:101::1f"],
    CHURNED: ["198.51.101.32-198.51.101.47", "2001:db8:101::20-2001:db8:101::2f"],
}
PEERS = {"router-bird": BIRD, "router-frr": FRR}
PROFILE = "soak"
_FIRST = {STEADY: 16, CHURNED: 32}
_STEADY_SERVICES = 3
_LABEL = "soak"
_SECONDS = 60.0
_COMMUNITY = 64500


class Place:
    """The lab and what the soak has made in it. `edit` is for any thread, one at a time."""

    def __init__(self, lab: Lab, routers: Routers, *, bfd: bool, patience: float) -> None:
        self.lab = lab
        self.routers = routers
        self.bfd = bfd
        self.nodes = tuple(lab.nodes)
        self.expectation = Expectation(time.monotonic, patience)
        self._state = ClusterState(frozenset(lab.nodes), dict(PEERS))
        self._editing = threading.RLock()

    @property
    def state(self) -> ClusterState:
        """What there is."""
        with self._editing:
            return self._state

    def open(self) -> None:
        """Make what stays: endpoints on every node, peers, one pool with its advertisement, and Services of it."""
        # Nodes are cut off here, and nobody is to be without webhooks meanwhile.
        placed = (
            f'{{"spec":{{"template":{{"spec":{{"nodeSelector":{{"kubernetes.io/hostname":"{self.spared}"}}}}}}}}}}'
        )
        self.lab.kubectl("patch", "deployment/controller", "-n", DEFAULT_NAMESPACE, "-p", placed)
        self.lab.wait_rolled_out(DEPLOYMENTS, "controller")
        for node in self.nodes:
            self.lab.deploy_http(f"soak-{node}", node=node, labels={"tier": _LABEL})
        if self.bfd:
            intervals = {"receiveInterval": 300, "transmitInterval": 300, "detectMultiplier": 3}
            self._create(BFD_PROFILES, PROFILE, intervals)
        with self.edit(lambda state: state):
            for name, router in PEERS.items():
                self._create(BGP_PEERS, name, self._peer(router))
        self.add_pool(STEADY)
        for number in range(_STEADY_SERVICES):
            self.add_service(STEADY, number, ServiceState(self.addresses(STEADY, number), frozenset(self.nodes)))

    def close(self) -> None:
        """Remove the objects again."""
        for name in [*(name for pool in self.state.pools.values() for name in pool.services)]:
            self._remove(SERVICES, name, "default")
        for name in self.state.pools:
            self._remove(BGP_ADVERTISEMENTS, name)
            self._remove(IP_ADDRESS_POOLS, name)
        for name in PEERS:
            self._remove(BGP_PEERS, name)
        if self.bfd:
            self._remove(BFD_PROFILES, PROFILE)
        self.lab.kubectl("delete", "--ignore-not-found", "deployment", *(f"soak-{node}" for node in self.nodes))

    @property
    def spared(self) -> str:
        """The node that is never cut off."""
        return self.nodes[-1]

    @property
    def everything(self) -> Scope:
        """All sessions."""
        return Scope(frozenset(PEERS.values()), frozenset(self.nodes))

    def of_node(self, node: str) -> Scope:
        """A node's sessions."""
        return Scope(frozenset(PEERS.values()), frozenset({node}))

    def of_router(self, router: str) -> Scope:
        """A router's sessions."""
        return Scope(frozenset({router}), frozenset(self.nodes))

    def addresses(self, pool: str, number: int) -> tuple[str, ...]:
        """The addresses of the Service with that number."""
        part = _FIRST[pool] + number
        return (f"198.51.101.{part}", f"2001:db8:101::{part:x}")

    @contextmanager
    def edit(self, after: Callable[[ClusterState], ClusterState], *, preferences_of: str = "") -> Iterator[None]:
        """Change the cluster in the block; what is expected is taken from the state that `after` returns.

        Until every node has it, routers may prefer some nodes for the addresses of the pool `preferences_of`.
        """
        with self._editing:
            state = after(self._state)
            pool = state.pools.get(preferences_of)
            addresses = {each for service in pool.services.values() for each in service.addresses} if pool else set()
            touched = {hop for hop in state.hops() if hop.address in addresses}
            with self.expectation.changing(state.hops, touched):
                yield
            self._state = state

    def add_pool(self, name: str) -> None:
        """Create a pool and its advertisement."""
        with self.edit(lambda state: state.with_pool(name, PoolState())):
            addresses = {"addresses": RANGES[name], "reuseDelaySeconds": 0, "autoAssign": False}
            self._create(IP_ADDRESS_POOLS, name, addresses)
            self._create(BGP_ADVERTISEMENTS, name, {"ipAddressPools": [name], "communities": [self.community(name)]})

    def remove_pool(self, name: str) -> None:
        """Delete a pool without Services, and its advertisement."""
        with self.edit(lambda state: state.with_pool(name, None)):
            self._remove(BGP_ADVERTISEMENTS, name)
            self._remove(IP_ADDRESS_POOLS, name)

    def community(self, pool: str) -> str:
        """The community that a pool's prefixes have, whatever else they get."""
        return f"{_COMMUNITY}:{_FIRST[pool]}"

    def change_advertisement(
        self, pool: str, change: Callable[[PoolState], PoolState], spec: Object, *, preferences: bool = False
    ) -> None:
        """Change the pool's advertisement; `preferences` says that routers choose among nodes by what changes."""
        with self.edit(
            lambda state: state.with_pool(pool, change(state.pools[pool])), preferences_of=pool if preferences else ""
        ):
            self._patch(BGP_ADVERTISEMENTS, pool, spec)

    def change_peer(self, name: str, spec: Object) -> None:
        """Change fields of a BGPPeer."""
        self._patch(BGP_PEERS, name, spec)

    def add_service(self, pool: str, number: int, service: ServiceState) -> None:
        """Create a Service with its addresses."""
        name = f"{pool}-{number}"
        document: Object = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "annotations": {"metallb.io/loadBalancerIPs": ",".join(service.addresses)}},
            "spec": {
                "type": "LoadBalancer",
                "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}],
                "ipFamilyPolicy": "RequireDualStack" if len(service.addresses) > 1 else "SingleStack",
                "ipFamilies": ["IPv6" if ":" in each else "IPv4" for each in service.addresses],
                **self._changing(service),
            },
        }
        with self.edit(lambda state: state.with_service(pool, name, service)):
            wait_until(
                lambda: self.lab.cluster().create(SERVICES, document, "default"),
                _SECONDS,
                f"{name} is admitted",
                retry_on=(ApiError,),
            )
            wait_until(lambda: self._shown(name) == set(service.addresses), _SECONDS, f"{name} shows its addresses")

    def change_service(self, pool: str, name: str, service: ServiceState) -> None:
        """Change its policy or its endpoints."""
        with self.edit(lambda state: state.with_service(pool, name, service)):
            spec = self._changing(service)
            # A merge keeps what it does not name.
            spec["selector"].setdefault("app", None)
            self._patch(SERVICES, name, spec, "default")

    def remove_service(self, pool: str, name: str) -> None:
        """Delete a Service."""
        with self.edit(lambda state: state.with_service(pool, name, None)):
            self._remove(SERVICES, name, "default")

    def speaker(self, node: str) -> Process | None:
        """The running speaker of a node, if there is one."""
        found = self.lab.node(node).processes()
        return next((process for name, process in found.items() if name.endswith("/speaker")), None)

    def wait_speakers(self) -> None:
        """Wait until every speaker is ready."""
        self.lab.wait_rolled_out(DAEMON_SETS, "speaker")

    def established(self, scope: Scope) -> bool:
        """Whether all these sessions are up."""
        up = self.routers.established()
        return all(self.lab.node(node).addresses[0] in up[router] for router in scope.routers for node in scope.nodes)

    def families_agreed(self, router: str, *, ipv6: bool) -> bool:
        """Whether all sessions of a router are up and carry IPv6, or none of them does."""
        scope = self.of_router(router)
        nodes = {self.lab.node(node).addresses[0] for node in scope.nodes}
        return self.established(scope) and self.routers.with_ipv6()[router] & nodes == (nodes if ipv6 else set())

    def _changing(self, service: ServiceState) -> Object:
        if service.endpoints == frozenset(self.nodes):
            selector = {"tier": _LABEL}
        elif service.endpoints:
            (node,) = service.endpoints
            selector = {"tier": _LABEL, "app": f"soak-{node}"}
        else:
            selector = {"tier": _LABEL, "app": "soak-nobody"}
        return {"externalTrafficPolicy": "Local" if service.local else "Cluster", "selector": selector}

    def _peer(self, router: str) -> Object:
        spec: Object = {
            "myASN": NODE_ASN,
            "peerASN": ROUTER_ASN,
            "peerAddress": router,
            "holdTime": "9s",
            "connectTime": "1s",
            "dualStackAddressFamily": True,
        }
        return {**spec, "bfdProfile": PROFILE} if self.bfd else spec

    def _shown(self, name: str) -> set[str]:
        status = self.lab.cluster().get(SERVICES, name, "default").get("status") or {}
        return {entry["ip"] for entry in status.get("loadBalancer", {}).get("ingress") or ()}

    def _create(self, resource: Resource, name: str, spec: Object) -> None:
        document: Object = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": DEFAULT_NAMESPACE},
            "spec": spec,
        }

        def there() -> bool:
            with suppress(AlreadyExists):
                self.lab.cluster().create(resource, document, DEFAULT_NAMESPACE)
            return True

        wait_until(there, _SECONDS, f"{name} is admitted", interval_seconds=0.2, retry_on=(ApiError,))

    def _patch(self, resource: Resource, name: str, spec: Object, namespace: str = DEFAULT_NAMESPACE) -> None:
        words = ("patch", _word(resource), name, "--namespace", namespace, "--type=merge")

        def patched() -> bool:
            self.lab.kubectl(*words, "--patch", json.dumps({"spec": spec}))
            return True

        # While the API server is frozen webhooks can check nothing, and say so.
        wait_until(patched, _SECONDS, f"{name} is changed", interval_seconds=0.3, retry_on=(KubectlFailed,))

    def _remove(self, resource: Resource, name: str, namespace: str = DEFAULT_NAMESPACE) -> None:
        """Delete an object; a pool is deleted once its last claim is gone."""

        def deleted() -> bool:
            words = ("--namespace", namespace, "--ignore-not-found")
            return self.lab.kubectl("delete", _word(resource), name, *words, check=False).returncode == 0

        wait_until(deleted, _SECONDS, f"{name} is deleted", interval_seconds=0.3)


def _word(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}".rstrip(".")
