"""A host of the LAN that already has the address a Service is given: what the cluster does, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from allocator.kube.client import Conflict, NotFound, Object
from allocator.kube.resource import EVENTS, SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from tests.lab.client import Client
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until
from tests.lab.who_has import who_has

APPLICATION = "taken"


@dataclass(frozen=True, slots=True)
class Place:
    """The lab with a pool of a few addresses for one test: the address of another's host is not free for a while."""

    lab: Lab
    name: str
    first: int

    @property
    def vip(self) -> str:
        """The address that comes first, which the host has."""
        return f"203.0.113.{self.first}"

    @property
    def next(self) -> str:
        return f"203.0.113.{self.first + 1}"

    def open(self) -> None:
        """Make the pool and its advertisement."""
        spec = {"addresses": [f"{self.vip}-203.0.113.{self.first + 3}"], "reuseDelaySeconds": 0}
        self.lab.cluster().create(IP_ADDRESS_POOLS, self._ours(IP_ADDRESS_POOLS, spec), DEFAULT_NAMESPACE)
        spec = {"ipAddressPools": [self.name], "interfaces": ["eth0"]}
        self.lab.cluster().create(L2_ADVERTISEMENTS, self._ours(L2_ADVERTISEMENTS, spec), DEFAULT_NAMESPACE)

    def wait_next(self) -> None:
        """Wait until the first address would be given next."""
        wait_until(lambda: self.pool_status().get("nextAddresses", [""])[0] == self.vip, 60, f"{self.vip} comes next")

    def close(self) -> None:
        self.lab.cluster().delete(L2_ADVERTISEMENTS, self.name, DEFAULT_NAMESPACE)
        wait_until(self._pool_deleted, 20, "the pool is free to go", retry_on=(Conflict,))

    def create_service(self, name: str, *, pinned: bool = False) -> None:
        """Create a Service of the application that takes an address from the pool, or asks for the first one."""
        ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
        spec = {"type": "LoadBalancer", "selector": {"app": APPLICATION}, "ports": ports}
        asked = {"metallb.io/loadBalancerIPs": self.vip} if pinned else {"metallb.io/address-pool": self.name}
        document = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": asked}}
        self.lab.cluster().create(SERVICES, document | {"spec": spec}, "default")

    def pool_status(self) -> Object:
        return dict(self.lab.cluster().get(IP_ADDRESS_POOLS, self.name, DEFAULT_NAMESPACE).get("status") or {})

    def states(self) -> dict[str, str]:
        """The states of the pool's claims, by address."""
        claims = [item["spec"] for item in self.lab.cluster().list(IP_ALLOCATIONS)["items"]]
        return {claim["address"]: claim["state"] for claim in claims if claim["pool"] == self.name}

    def conflict_lines(self, pod: str) -> list[str]:
        lines = self.lab.logs(pod, "speaker").splitlines()
        return [line for line in lines if "event=address.conflict " in line and f"ip={self.vip}" in line]

    def squat(self) -> Client:
        """Have a client's kernel take the address, and say nothing of it unless it is asked; return the client."""
        self.lab.client().host.run_ip(f"address add {self.vip}/32 dev eth0")
        return self.lab.client()

    def give_way(self) -> None:
        """Undo `squat`, if that was done."""
        self.lab.client().host.run("ip", "address", "delete", f"{self.vip}/32", "dev", "eth0", check=False)

    def _pool_deleted(self) -> bool:
        """Delete the pool; refused as long as a claim of a deleted Service is there."""
        self.lab.cluster().delete(IP_ADDRESS_POOLS, self.name, DEFAULT_NAMESPACE)
        return True

    def _ours(self, resource: Resource, spec: Object) -> Object:
        metadata = {"name": self.name, "namespace": DEFAULT_NAMESPACE}
        return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def places(lab: Lab) -> Iterator[dict[str, Place]]:
    """The lab with AdmitLB, an application, and a pool for each test.

    One host has its address before there is a pool. Another comes to an address that was free, which is asked about
    twice a minute: it comes at once, for the last test.
    """
    lab.install()
    lab.deploy_http(APPLICATION)
    places = {name: Place(lab, name, first) for name, first in (("asked-for", 50), ("late", 54), ("given", 58))}
    places["given"].open()
    places["given"].wait_next()
    places["given"].squat()
    places["late"].open()
    places["late"].wait_next()
    places["asked-for"].squat()
    places["asked-for"].open()
    yield places
    for place in places.values():
        place.give_way()
        place.close()
    # What was reported as taken goes with its pool: nobody asks about it any more.
    wait_until(lambda: not lab.cluster().list(IP_ALLOCATIONS)["items"], 90, "no claim is left")
    lab.kubectl("delete", "deployment", APPLICATION)


@pytest.fixture
def services(lab: Lab, places: dict[str, Place]) -> Iterator[None]:
    """Those that a test creates are gone after it."""
    yield
    for name in (*places, "second"):
        with suppress(NotFound):
            lab.cluster().delete(SERVICES, name, "default")


@pytest.mark.usefixtures("services")
def test_whoever_asks_for_an_address_that_a_host_has_gets_it_and_the_host_keeps_it_until_it_is_gone(
    lab: Lab, places: dict[str, Place]
) -> None:
    place = places["asked-for"]
    nodes = {node.mac("eth0"): node.name for node in lab.nodes.values()}
    asker, squatter = lab.host("node-1"), lab.client()
    wait_until(lambda: place.states() == {place.vip: "Conflicted"}, 60, "the address is marked")
    place.create_service(place.name, pinned=True)
    wait_until(lambda: _shown(lab, place.name) == [place.vip], 10, "it is assigned as asked for")
    said = wait_until(
        lambda: [line for pod in _speakers(lab) for line in place.conflict_lines(pod)],
        20,
        "a speaker says that the address is taken",
    )
    assert squatter.host.mac("eth0") in said[0]
    assert who_has(asker, place.vip, listen_seconds=0.3) == {squatter.host.mac("eth0")}
    # Nor does the host lose it when the speaker dies that left it the address.
    (yielding,) = {pod for pod in _speakers(lab) if place.conflict_lines(pod)}
    others = _speakers(lab) - {yielding}
    lab.kill_component(yielding, "speaker")
    wait_until(lambda: any(place.conflict_lines(pod) for pod in others), 20, "its successor finds the host")
    assert who_has(asker, place.vip, listen_seconds=0.3) == {squatter.host.mac("eth0")}
    place.give_way()
    # Asked again ten seconds later.
    wait_until(lambda: squatter.who_has(place.vip, listen_seconds=0.2) & nodes.keys(), 20, "a node answers")
    _wait_serves(squatter, place.vip)


@pytest.mark.usefixtures("services")
def test_a_host_that_comes_between_the_look_and_the_announcement_is_reported_at_once(
    lab: Lab, places: dict[str, Place]
) -> None:
    place = places["late"]
    # What nobody answers for is known within seconds of becoming the next address.
    wait_until(lambda: lab.client().who_has(place.vip, listen_seconds=2.0) == set(), 20, "nobody has the address")
    place.squat()
    place.create_service(place.name)
    wait_until(lambda: _shown(lab, place.name), 10, "an address is given")
    if _shown(lab, place.name) == [place.vip]:
        wait_until(lambda: _event(lab, "addressConflict", of=place.name), 10, "the Service's author is told")
    place.give_way()


@pytest.mark.usefixtures("services")
def test_an_address_that_a_host_has_is_not_given_until_it_is_gone(lab: Lab, places: dict[str, Place]) -> None:
    """Takes longest, half a minute in which the addresses of the other tests become free as well."""
    place = places["given"]
    squatter = lab.client()
    wait_until(lambda: place.states() == {place.vip: "Conflicted"}, 60, "the address is marked")
    allocation = lab.cluster().get(IP_ALLOCATIONS, place.vip)
    assert allocation["spec"]["foreignHost"]["hardwareAddress"] == squatter.host.mac("eth0")
    wait_until(lambda: place.pool_status().get("conflictedIPv4") == 1, 10, "the pool counts it")
    place.create_service(place.name)
    wait_until(lambda: _shown(lab, place.name) == [place.next], 10, "the next address is given")
    _wait_serves(squatter, place.next)
    place.give_way()
    wait_until(lambda: place.vip not in place.states(), 90, "the address is free again")
    place.create_service("second")
    wait_until(lambda: _shown(lab, "second") == [place.vip], 10, "it is given")


def _wait_serves(client: Client, address: str) -> None:
    wait_until(
        lambda: client.http_get(f"http://{address}/").status == 200, 20, f"{address} serves", retry_on=(OSError,)
    )


def _speakers(lab: Lab) -> set[str]:
    return {pod["metadata"]["name"] for pod in lab.pods(DEFAULT_NAMESPACE, "component=speaker")}


def _shown(lab: Lab, name: str) -> list[str]:
    load_balancer = lab.cluster().get(SERVICES, name, "default")["status"].get("loadBalancer") or {}
    return [entry["ip"] for entry in load_balancer.get("ingress") or ()]


def _event(lab: Lab, reason: str, *, of: str) -> list[str]:
    items = lab.cluster().list(EVENTS, "default")["items"]
    return [one["message"] for one in items if one["reason"] == reason and one["involvedObject"]["name"] == of]
