"""Nodes report their BGP to a real API server under their real role, and a reconciler sums it up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from allocator.bgp.command import Daemon
from allocator.bgp.desired import Announcement
from allocator.core.addresses import Address
from allocator.kube.client import Cluster, Object
from allocator.kube.events import EventRecorder
from allocator.kube.reflector import Change, Reflector, identity
from allocator.kube.resource import ENDPOINT_SLICES_V1, ENDPOINT_SLICES_V1BETA1, EVENTS, LEASES, NODES, SERVICES
from allocator.kube.timestamps import write_time
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, SessionStatus, node_status_from
from allocator.objects.names import (
    BGP_ADVERTISEMENTS,
    BGP_NODE_STATUSES,
    BGP_PEERS,
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
    SERVICE_BGP_STATUSES,
)
from allocator.reconciler.speaker_leases import LOOK_SECONDS
from speaker.bgp.reports import DaemonState, ServiceRoutes, Snapshot
from speaker.membership.lease import LeaseKeeper
from speaker.status import bgp_writer
from speaker.status.bgp_events import BgpEvents
from speaker.status.bgp_writer import MOST_OBJECTS, BgpStatusWriter
from speaker.status.service_l2_status import NODE_LABEL
from tests.cluster.installation import ingress, pool, service
from tests.cluster.reconciling import Reconciling, conditions
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until
from tests.unit.commands.bgp_manifests import bgp_advertisement, peer
from tests.unit.speaker.bgp.said_by_bgp import CONNECTED, TOR, SaidByBgp, prefix, session, told

COMPONENT = Path(__file__).parents[2] / "kustomize" / "components" / "bgp"
ROLES = (COMPONENT / "rbac-speaker.yaml",)
VIP = Address.parse("198.51.100.1")
WEB, API = "default/web", "default/api"
SECONDS = 20.0
UP = session(TOR, established_at=1767225600.0, sent_prefixes=1, families=("IPv4",))
DOWN = session(TOR, "Active", last_reset="Hold Timer Expired", drops=1)


class Node:
    """What of a node's speaker reports BGP, under the speakers' role; its FRR says what a test has it say."""

    def __init__(self, control_plane: ControlPlane, name: str, *, node_count: int = 1) -> None:
        self.name = name
        self.said = SaidByBgp(Snapshot(node=name))
        cluster = Cluster.from_environment(str(control_plane.kubeconfig_for(DEFAULT_NAMESPACE, "speaker")))
        recorder = EventRecorder(cluster, component="metallb-speaker", host=name)
        self.events = BgpEvents(node=name, namespace=DEFAULT_NAMESPACE, recorder=recorder)
        self.writer = BgpStatusWriter(
            cluster, self.said, node=name, namespace=DEFAULT_NAMESPACE, node_count=lambda: node_count
        )
        lease = LeaseKeeper(cluster, node=name, namespace=DEFAULT_NAMESPACE, on_stored=lambda _: None)
        lease.serve(True, hears=1, alone=False)
        stored = Reflector(
            cluster,
            SERVICE_BGP_STATUSES,
            namespace=DEFAULT_NAMESPACE,
            label_selector=f"{NODE_LABEL}={name}",
            kept=identity,
            on_change=self.writer.on_change,
        )
        self._parts = (lease, stored, recorder, self.writer)
        for part in self._parts:
            part.start()

    def say(self, *states: Any, **fields: Any) -> None:
        """Have FRR say this from now on."""
        given = {"daemons": CONNECTED, "sessions": {TOR.name: TOR}, "prefix_count": 1, **fields}
        self.said.now = Snapshot(node=self.name, states={each.peer: each for each in states}, **given)
        self.events.on_snapshot(self.said.now)
        self.writer.on_snapshot(self.said.now)

    def announce(self, *services: str) -> None:
        """Have these Services go to the peer, and no others."""
        before = self.said.services()
        self.said.announced = {prefix("198.51.100.1/32"): told()} if services else {}
        routes = ServiceRoutes({VIP: Announcement({prefix("198.51.100.1/32"): ("all",)})}, frozenset({TOR.name}))
        self.said.routes = dict.fromkeys(services, routes)
        self.writer.on_services(frozenset({*before, *services}))

    def stop(self) -> None:
        for part in reversed(self._parts):
            assert part.alive
            part.stop()


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One of this module's own, with a reconciler that runs for all of it and two nodes."""
    with ControlPlane(find(), tmp_path_factory.mktemp("bgp-status")) as control_plane:
        reconciling = Reconciling(control_plane, tmp_path_factory.mktemp("logs"))
        control_plane.kubectl("apply", "-f", str(Path(__file__).parents[2] / "manifests" / "rbac-speaker.yaml"))
        control_plane.kubectl("apply", *(word for role in ROLES for word in ("-f", str(role))))
        for name in ("node-a", "node-b"):
            control_plane.cluster().create(NODES, {"metadata": {"name": name}})
        reconciling.start()
        yield control_plane
        reconciling.stop()


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Iterator[Cluster]:
    cluster = control_plane.cluster()
    yield cluster
    for kind in (BGP_PEERS, BGP_ADVERTISEMENTS, IP_ADDRESS_POOLS, BGP_NODE_STATUSES, SERVICE_BGP_STATUSES):
        for document in cluster.list(kind, DEFAULT_NAMESPACE)["items"]:
            cluster.delete(kind, document["metadata"]["name"], DEFAULT_NAMESPACE)


@pytest.fixture
def node(control_plane: ControlPlane, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """One of the two nodes; it looks at numbers, and at Services after a change of sessions, sooner than others."""
    del cluster
    monkeypatch.setattr(bgp_writer, "COUNTERS_SECONDS", 1.0)
    monkeypatch.setattr(bgp_writer, "SESSIONS_SECONDS", 1.0)
    monkeypatch.setattr(bgp_writer, "START_SECONDS", 0.5)
    node = Node(control_plane, "node-a")
    yield node
    node.stop()


def reported(cluster: Cluster, name: str = "node-a") -> BgpNodeStatus | None:
    found = cluster.list(BGP_NODE_STATUSES, DEFAULT_NAMESPACE)["items"]
    return next((node_status_from(one) for one in found if one["metadata"]["name"] == name), None)


def wait_reported(cluster: Cluster, right: Callable[[BgpNodeStatus], bool], what: str) -> BgpNodeStatus:
    def found() -> BgpNodeStatus | None:
        status = reported(cluster)
        return status if status is not None and right(status) else None

    return wait_until(found, SECONDS, what)


def service_statuses(cluster: Cluster) -> dict[str, tuple[list[str], list[str]]]:
    """By Service, what its objects say."""
    return {
        f"{status['serviceNamespace']}/{status['serviceName']}": (status["peers"], status["sentTo"])
        for one in cluster.list(SERVICE_BGP_STATUSES, DEFAULT_NAMESPACE)["items"]
        if (status := one.get("status"))
    }


def versions(cluster: Cluster) -> set[tuple[str, str]]:
    return {
        (one["metadata"]["name"], one["metadata"]["resourceVersion"])
        for kind in (BGP_NODE_STATUSES, SERVICE_BGP_STATUSES, BGP_PEERS)
        for one in cluster.list(kind, DEFAULT_NAMESPACE)["items"]
    }


def ready(cluster: Cluster, name: str = "tor") -> Object:
    return conditions(cluster.get(BGP_PEERS, name, DEFAULT_NAMESPACE)).get("Ready") or {}


def test_node_reports_its_sessions_as_they_change_and_nothing_at_rest(cluster: Cluster, node: Node) -> None:
    node.say(DOWN)
    status = wait_reported(cluster, lambda one: bool(one.sessions), "the session is reported")
    assert (status.established, status.frr_version, status.sessions[0].state) == ("0/1", "10.3", SessionStatus.DOWN)
    node.announce(WEB)
    node.say(UP)
    status = wait_reported(cluster, lambda one: one.established == "1/1", "it is up")
    wait_until(lambda: service_statuses(cluster) == {WEB: (["tor"], ["tor"])}, SECONDS, "the Service has a status")
    wait_reported(cluster, lambda one: one.sessions[0].sent == one.sessions[0].wanted == 1, "numbers are there")
    assert status.sessions[0].since == "2026-01-01T00:00:00Z"
    before = versions(cluster)
    for state in ("Keepalives", "are", "counted"):
        node.say(replace(UP, message_counts={state: 1}))
        time.sleep(1.0)
    assert versions(cluster) == before, "nothing is written while nothing changes"
    node.say(DOWN)
    status = wait_reported(cluster, lambda one: one.established == "0/1", "it has ended")
    assert "Hold Timer Expired" in status.sessions[0].message
    assert status.sessions[0].since
    wait_until(lambda: service_statuses(cluster) == {WEB: (["tor"], [])}, SECONDS, "the Service has lost the peer")
    node.announce()
    wait_until(lambda: service_statuses(cluster) == {}, SECONDS, "a Service that goes nowhere has none")


def test_object_goes_with_the_nodes_lease_and_comes_back_after_somebody_deletes_it(
    cluster: Cluster, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bgp_writer, "RECHECK_SECONDS", 1.0)
    node.say(UP)
    wait_reported(cluster, lambda one: bool(one.sessions), "the session is reported")
    (owner,) = cluster.get(BGP_NODE_STATUSES, "node-a", DEFAULT_NAMESPACE)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("Lease", "speaker-node-a")
    cluster.delete(BGP_NODE_STATUSES, "node-a", DEFAULT_NAMESPACE)
    wait_reported(cluster, lambda one: bool(one.sessions), "it is made again")


def test_what_a_node_reported_counts_no_more_once_its_speaker_renews_no_lease(cluster: Cluster, node: Node) -> None:
    renewed = write_time(datetime.now(UTC) - timedelta(minutes=5))
    lease = {"metadata": {"name": "speaker-node-b"}, "spec": {"holderIdentity": "node-b", "renewTime": renewed}}
    cluster.create(LEASES, lease, DEFAULT_NAMESPACE)
    kind = {"apiVersion": BGP_NODE_STATUSES.api_version, "kind": BGP_NODE_STATUSES.kind}
    cluster.create(BGP_NODE_STATUSES, {**kind, "metadata": {"name": "node-b"}}, DEFAULT_NAMESPACE)
    stale = BgpNodeStatus(node="node-b", sessions=(SessionEntry(peer="tor", state=SessionStatus.ESTABLISHED),))
    body = {"status": stale.as_status()}
    cluster.patch(BGP_NODE_STATUSES, "node-b", body, DEFAULT_NAMESPACE, subresource="status")
    cluster.create(BGP_PEERS, peer("tor"), DEFAULT_NAMESPACE)
    try:
        node.say(UP)
        right = "up on 1 of 1 nodes; no speaker reports BGP on node-b"
        # The Leases may have been read just before node-b's was there.
        wait_until(lambda: ready(cluster).get("message") == right, LOOK_SECONDS + SECONDS, "node-b does not count")
    finally:
        cluster.delete(LEASES, "speaker-node-b", DEFAULT_NAMESPACE)


def test_definition_of_an_older_release_that_drops_a_field_costs_no_write_at_rest(
    control_plane: ControlPlane, cluster: Cluster, node: Node
) -> None:
    definition = f"{BGP_NODE_STATUSES.plural}.{BGP_NODE_STATUSES.group}"
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/sessions/items/properties/rejected"
    older = json.dumps([{"op": "remove", "path": path}])
    control_plane.kubectl("patch", "crd", definition, "--type=json", "-p", older)
    try:
        node.say(UP)
        wait_reported(cluster, lambda one: bool(one.sessions), "the session is reported")
        # The API server takes a moment to follow its definitions.
        wait_until(lambda: _rests(cluster), SECONDS, "nothing is written any more")
    finally:
        control_plane.kubectl("apply", "-f", str(Path(__file__).parents[2] / "manifests" / "crds"))


def _rests(cluster: Cluster) -> bool:
    before = versions(cluster)
    time.sleep(3.0)
    return versions(cluster) == before


def test_speaker_that_starts_anew_leaves_statuses_of_services_until_it_knows_them(
    control_plane: ControlPlane, cluster: Cluster, node: Node
) -> None:
    node.announce(WEB, API)
    node.say(UP)
    both = {WEB: (["tor"], ["tor"]), API: (["tor"], ["tor"])}
    wait_until(lambda: service_statuses(cluster) == both, SECONDS, "both have a status")
    before = versions(cluster)
    node.writer.stop()
    second = Node(control_plane, "node-a")
    try:
        second.say(waiting_for="the Services and Nodes", daemons={})
        time.sleep(2.0)
        assert service_statuses(cluster) == both
        second.announce(WEB)
        second.say(UP)
        wait_until(lambda: service_statuses(cluster) == {WEB: both[WEB]}, SECONDS, "the one that went has none")
        names = {name for name, _ in versions(cluster)}
        assert names <= {name for name, _ in before}, "the other one's was not made anew"
    finally:
        second.stop()
        node.writer = BgpStatusWriter(
            cluster, node.said, node="node-a", namespace=DEFAULT_NAMESPACE, node_count=lambda: 1
        )
        node._parts = (*node._parts[:-1], node.writer)
        node.writer.start()


def test_beyond_the_limit_services_have_no_statuses(
    control_plane: ControlPlane, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bgp_writer, "COUNTERS_SECONDS", 1.0)
    monkeypatch.setattr(bgp_writer, "START_SECONDS", 0.5)
    crowded = Node(control_plane, "node-b", node_count=MOST_OBJECTS // 2)
    try:
        crowded.announce(WEB, API)
        crowded.say(UP)
        wait_until(lambda: len(service_statuses(cluster)) == 2, SECONDS, "at the limit they are there")
        crowded.announce(WEB, API, "default/third")
        wait_until(lambda: service_statuses(cluster) == {}, SECONDS, "beyond it there are none")
        assert reported(cluster, "node-b") is not None
    finally:
        crowded.stop()


def test_conditions_of_a_peer_sum_up_all_nodes(control_plane: ControlPlane, cluster: Cluster, node: Node) -> None:
    cluster.create(IP_ADDRESS_POOLS, pool("main", "198.51.100.0/28"), DEFAULT_NAMESPACE)
    cluster.create(BGP_PEERS, peer(), DEFAULT_NAMESPACE)
    cluster.create(BGP_ADVERTISEMENTS, bgp_advertisement(), DEFAULT_NAMESPACE)
    wait_until(lambda: ready(cluster).get("reason") == "NoBGP", SECONDS, "no node speaks BGP")
    other = Node(control_plane, "node-b")
    try:
        node.say(UP)
        other.say(DOWN)
        said = "up on 1 of 2 nodes; node-b (not connected; Hold Timer Expired)"
        wait_until(lambda: ready(cluster).get("message") == said, SECONDS, "one of two is up")
        other.say(UP)
        wait_until(lambda: ready(cluster).get("status") == "True", SECONDS, "both are up")
        assert ready(cluster)["message"] == "up on 2 of 2 nodes"
        shown = cluster.get(BGP_ADVERTISEMENTS, "all", DEFAULT_NAMESPACE)
        assert conditions(shown)["Ready"]["reason"] == "Announced"
        time.sleep(1.0)
        before = versions(cluster)
        time.sleep(3.0)
        assert versions(cluster) == before
        other.say(daemons={Daemon.BGPD: DaemonState(connected=False, error="no such file")})
        wait_until(
            lambda: "FRR does not have it yet" in ready(cluster).get("message", ""), SECONDS, "FRR of one is gone"
        )
    finally:
        other.stop()


def test_events_are_on_the_peer(cluster: Cluster, node: Node) -> None:
    stored = cluster.create(BGP_PEERS, peer(), DEFAULT_NAMESPACE)
    node.events.on_peer(Change(BGP_PEERS, (DEFAULT_NAMESPACE, "tor"), None, stored, "1"))
    node.say(DOWN)
    node.say(UP)
    node.say(DOWN)

    def reasons() -> set[str]:
        events = cluster.list(EVENTS, DEFAULT_NAMESPACE)["items"]
        uid = stored["metadata"]["uid"]
        return {one["reason"] for one in events if one["involvedObject"].get("uid") == uid}

    wait_until(lambda: {"SessionUp", "SessionDown"} <= reasons(), SECONDS, "both are told")


def admitlb(control_plane: ControlPlane, *argv: str) -> Any:
    """What a command prints as JSON, run as a person would."""
    environment = {**os.environ, "KUBECONFIG": str(control_plane.kubeconfig())}
    command = [str(Path(sys.executable).with_name("admitlb")), *argv, "-o", "json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_explain_and_bgp_say_what_becomes_of_an_address(
    control_plane: ControlPlane, cluster: Cluster, node: Node
) -> None:
    cluster.create(IP_ADDRESS_POOLS, pool("main", "198.51.100.1"), DEFAULT_NAMESPACE)
    cluster.create(BGP_PEERS, peer(), DEFAULT_NAMESPACE)
    cluster.create(BGP_ADVERTISEMENTS, bgp_advertisement(med=5), DEFAULT_NAMESPACE)
    cluster.create(SERVICES, service("web"), "default")
    try:
        wait_until(lambda: ingress(cluster.get(SERVICES, "web", "default")), SECONDS, "it has an address")
        node.say(replace(UP, sent_prefixes=0))
        node.announce(WEB)

        def outcomes() -> dict[str, tuple[bool, str]]:
            (address,) = admitlb(control_plane, "explain", WEB)["addresses"]
            assert address["layer2"] is False
            return {one["node"]: (one["advertised"], one["step"]) for one in address["bgp"]}

        assert outcomes() == {"node-a": (False, "endpoints"), "node-b": (False, "endpoints")}
        endpoints = {
            "metadata": {"name": "web", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
            "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
        }
        served = cluster.serves(ENDPOINT_SLICES_V1)
        cluster.create(ENDPOINT_SLICES_V1 if served else ENDPOINT_SLICES_V1BETA1, endpoints, "default")
        wait_reported(
            cluster, lambda one: one.sessions[0].wanted == 1 and one.sessions[0].sent == 0, "it is not sent"
        )
        assert outcomes() == {"node-a": (False, "sent"), "node-b": (False, "speaker")}
        node.say(UP)
        wait_reported(cluster, lambda one: one.sessions[0].sent == 1, "it is sent")
        assert outcomes()["node-a"] == (True, "")
        told = admitlb(control_plane, "bgp", "--prefixes")
        assert [(one["node"], one["peer"], one["state"]) for one in told["sessions"]] == [
            ("node-a", "tor", "Established")
        ]
        (route,) = told["routes"]
        assert (route["prefix"], route["attributes"], route["nodes"]) == ("198.51.100.1/32", "MED 5", ["node-a"])
        assert [(one["node"], one["step"]) for one in route["heldUp"]] == [("node-b", "speaker")]
    finally:
        cluster.delete(SERVICES, "web", "default")
