"""The thread that writes BGP's status, against objects in memory: what is written, and that nothing is at rest.

The same on a real API server is in tests/cluster/test_bgp_status.py.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from allocator.bgp.command import Daemon
from allocator.bgp.desired import Announcement
from allocator.core.addresses import Address
from allocator.kube.client import AlreadyExists, ApiError, Cluster, Conflict, NotFound, Object, Unavailable
from allocator.kube.reflector import Change
from allocator.kube.resource import LEASES, Resource
from allocator.objects.names import BGP_NODE_STATUSES, SERVICE_BGP_STATUSES
from speaker.bgp.reports import DaemonState, ServiceRoutes, Snapshot
from speaker.status import bgp_writer
from speaker.status.bgp_writer import MOST_OBJECTS, BgpStatusWriter
from tests.lab.waiting import wait_until
from tests.unit.speaker.bgp.said_by_bgp import CONNECTED, TOR, SaidByBgp, prefix, session, told

SECONDS = 20.0
VIP = Address.parse("198.51.100.1")
WEB, API = "default/web", "default/api"
UP = session(TOR, established_at=1767225600.0, sent_prefixes=1, families=("IPv4",))
WITHOUT_FRR = {Daemon.BGPD: DaemonState(connected=False, error="no such file")}
DOWN = session(TOR, "Active", last_reset="Hold Timer Expired", drops=1)


class Objects:
    """An API server's objects, with versions as it gives them. Guarded by `_lock`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions = itertools.count(1)
        self._objects: dict[tuple[str, str], Object] = {}
        self.writes: list[str] = []
        self.refused: ApiError | None = None
        """What every write of a BGPNodeStatus comes to."""
        self.tries = 0
        self.on_change: Callable[[Change], None] = lambda _: None
        self._put(LEASES, "speaker-node-a", {"metadata": {"name": "speaker-node-a", "uid": "lease-uid"}})

    def get(self, kind: Resource, name: str, namespace: str) -> Object:
        del namespace
        with self._lock:
            if (kind.plural, name) not in self._objects:
                raise NotFound(404, "NotFound", name)
            return dict(self._objects[kind.plural, name])

    def create(self, kind: Resource, document: Object, namespace: str) -> Object:
        del namespace
        self._refuse(kind)
        name = document["metadata"]["name"]
        with self._lock:
            if (kind.plural, name) in self._objects:
                raise AlreadyExists(409, "AlreadyExists", name)
            stored = self._put(kind, name, document)
        self._written(f"create {kind.plural}", kind, name, stored)
        return stored

    def patch(self, kind: Resource, name: str, body: Object, namespace: str, *, subresource: str | None) -> Object:
        del namespace
        self._refuse(kind)
        assert subresource == (None if kind is SERVICE_BGP_STATUSES else "status")
        with self._lock:
            stored = self._objects.get((kind.plural, name))
            if stored is None:
                raise NotFound(404, "NotFound", name)
            version = (body.get("metadata") or {}).get("resourceVersion")
            if version not in (None, stored["metadata"]["resourceVersion"]):
                raise Conflict(409, "Conflict", name)
            merged = {**(stored.get("status") or {}), **body["status"]}
            status = {field: value for field, value in merged.items() if value is not None}
            assert "" not in status.values(), "the API server takes an empty text for null"
            stored = self._put(kind, name, {**stored, "status": status})
        self._written(f"patch {kind.plural}", kind, name, stored)
        return stored

    def delete(self, kind: Resource, name: str, namespace: str) -> None:
        del namespace
        with self._lock:
            if self._objects.pop((kind.plural, name), None) is None:
                raise NotFound(404, "NotFound", name)
        self._written(f"delete {kind.plural}", kind, name, None)

    def _refuse(self, kind: Resource) -> None:
        if self.refused is not None and kind is BGP_NODE_STATUSES:
            self.tries += 1
            raise self.refused

    def touch(self, kind: Resource, name: str) -> None:
        """Somebody else changes it."""
        with self._lock:
            self._put(kind, name, self._objects[kind.plural, name])

    def statuses(self, kind: Resource) -> list[Object]:
        with self._lock:
            return [one.get("status") or {} for (plural, _), one in self._objects.items() if plural == kind.plural]

    def _put(self, kind: Resource, name: str, document: Object) -> Object:
        metadata = {**document["metadata"], "resourceVersion": str(next(self._versions))}
        self._objects[kind.plural, name] = {**document, "metadata": metadata}
        return self._objects[kind.plural, name]

    def _written(self, what: str, kind: Resource, name: str, stored: Object | None) -> None:
        self.writes.append(what)
        if kind is SERVICE_BGP_STATUSES:
            self.on_change(Change(kind, ("metallb-system", name), None, stored, "1"))


class Rig:
    def __init__(self, *, node_count: int = 1) -> None:
        self.objects = Objects()
        self.said = SaidByBgp(Snapshot(node="node-a"))
        self.writer = BgpStatusWriter(
            cast(Cluster, self.objects),
            self.said,
            node="node-a",
            namespace="metallb-system",
            node_count=lambda: node_count,
        )
        self.objects.on_change = self.writer.on_change

    def say(self, *states: Any, **fields: Any) -> None:
        given = {"daemons": CONNECTED, "sessions": {TOR.name: TOR}, "prefix_count": 1, **fields}
        self.said.now = Snapshot(node="node-a", states={each.peer: each for each in states}, **given)
        self.writer.on_snapshot(self.said.now)

    def announce(self, *services: str) -> None:
        before = self.said.services()
        self.said.announced = {prefix("198.51.100.1/32"): told()} if services else {}
        routes = ServiceRoutes({VIP: Announcement({prefix("198.51.100.1/32"): ("all",)})}, frozenset({TOR.name}))
        self.said.routes = dict.fromkeys(services, routes)
        self.writer.on_services(frozenset({*before, *services}))

    @property
    def node(self) -> Object:
        found = self.objects.statuses(BGP_NODE_STATUSES)
        return found[0] if found else {}

    @property
    def services(self) -> dict[str, tuple[list[str], list[str]]]:
        return {
            f"{one['serviceNamespace']}/{one['serviceName']}": (one["peers"], one["sentTo"])
            for one in self.objects.statuses(SERVICE_BGP_STATUSES)
            if one
        }

    def rests(self, seconds: float = 1.0) -> bool:
        before = len(self.objects.writes)
        time.sleep(seconds)
        return len(self.objects.writes) == before


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (
        ("CHANGE_SECONDS", 0.05),
        ("COUNTERS_SECONDS", 0.2),
        ("SESSIONS_SECONDS", 0.2),
        ("START_SECONDS", 0.2),
    ):
        monkeypatch.setattr(bgp_writer, name, seconds)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.writer.start()
    yield rig
    assert rig.writer.alive
    rig.writer.stop()
    assert not rig.writer.alive


def test_node_and_services_follow_what_is_said_and_nothing_is_written_at_rest(rig: Rig) -> None:
    rig.say(DOWN)
    wait_until(lambda: rig.node.get("established") == "0/1", SECONDS, "the session is down")
    rig.announce(WEB)
    rig.say(UP)
    wait_until(lambda: rig.node.get("established") == "1/1", SECONDS, "it is up")
    wait_until(lambda: rig.services == {WEB: (["tor"], ["tor"])}, SECONDS, "the Service has it")
    wait_until(rig.rests, SECONDS, "nothing more is written")
    for number in range(3):
        rig.say(session(TOR, **{**_fields(UP), "message_counts": {"keepalivesSent": number}}))
        assert rig.rests(0.4)
    rig.say(DOWN)
    wait_until(lambda: rig.services == {WEB: (["tor"], [])}, SECONDS, "the Service has lost it")
    assert rig.node["sessions"][0]["since"]
    rig.announce()
    wait_until(lambda: rig.services == {}, SECONDS, "it goes nowhere")


def _fields(state: Any) -> dict[str, Any]:
    names = ("established_at", "sent_prefixes", "families")
    return {name: getattr(state, name) for name in names}


def test_object_of_the_node_is_owned_by_its_lease_and_made_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bgp_writer, "RECHECK_SECONDS", 0.2)
    rig.say(UP)
    wait_until(lambda: bool(rig.node), SECONDS, "it is there")
    stored = rig.objects.get(BGP_NODE_STATUSES, "node-a", "metallb-system")
    assert [owner["uid"] for owner in stored["metadata"]["ownerReferences"]] == ["lease-uid"]
    rig.objects.delete(BGP_NODE_STATUSES, "node-a", "metallb-system")
    wait_until(lambda: bool(rig.node), SECONDS, "it is there again")


def test_write_that_met_another_is_made_on_what_that_one_wrote(rig: Rig) -> None:
    rig.say(DOWN)
    wait_until(lambda: rig.node.get("established") == "0/1", SECONDS, "the session is down")
    rig.objects.touch(BGP_NODE_STATUSES, "node-a")
    rig.say(UP)
    wait_until(lambda: rig.node.get("established") == "1/1", SECONDS, "it is up all the same")


@pytest.mark.parametrize(
    "error",
    [
        Conflict(409, "Conflict", "written all the time"),
        Unavailable(503, "ServiceUnavailable", "its webhook is away"),
    ],
    ids=["written by others", "answered for now"],
)
def test_object_of_the_node_that_cannot_be_written_keeps_no_service_waiting(rig: Rig, error: ApiError) -> None:
    wait_until(lambda: rig.node != {}, SECONDS, "it is there")
    rig.objects.refused = error
    services = [f"default/web-{number}" for number in range(10)]
    rig.announce(*services)
    rig.say(UP)
    wait_until(lambda: rig.services.keys() == set(services), SECONDS, "the Services have their status")
    wait_until(lambda: rig.objects.tries > 1, SECONDS, "it is tried again")
    assert rig.node["established"] == "0/0"
    rig.objects.refused = None
    wait_until(lambda: rig.node.get("established") == "1/1", SECONDS, "the node has it as soon as it can be written")


def test_nothing_is_said_of_services_while_the_cluster_is_not_known(rig: Rig) -> None:
    rig.announce(WEB)
    rig.say(UP)
    wait_until(lambda: WEB in rig.services, SECONDS, "the Service has a status")
    rig.said.routes = {}
    waits: list[dict[str, Any]] = [{"known": False}, {"known": False, "daemons": WITHOUT_FRR}, {"known": True}]
    for waiting in waits:
        rig.say(waiting_for="the Services and Nodes", **waiting)
        rig.writer.on_services(None)
        time.sleep(0.6)
        assert WEB in rig.services, waiting
    rig.say(UP)
    wait_until(lambda: rig.services == {}, SECONDS, "now it is known to go nowhere")


def test_node_whose_frr_is_not_there_says_of_services_that_nobody_has_them(rig: Rig) -> None:
    rig.announce(WEB)
    rig.say(UP)
    wait_until(lambda: WEB in rig.services, SECONDS, "the Service has a status")
    rig.said.routes = {}
    rig.say(waiting_for="bgpd", daemons=WITHOUT_FRR)
    wait_until(lambda: rig.services == {}, SECONDS, "what was so before does not stay")


def test_beyond_the_limit_there_are_no_statuses_of_services() -> None:
    rig = Rig(node_count=MOST_OBJECTS // 2)
    rig.writer.start()
    try:
        rig.announce(WEB, API)
        rig.say(UP)
        wait_until(lambda: len(rig.services) == 2, SECONDS, "at the limit they are there")
        rig.announce(WEB, API, "default/third")
        wait_until(lambda: rig.services == {}, SECONDS, "beyond it there are none")
        rig.announce(WEB)
        wait_until(lambda: list(rig.services) == [WEB], SECONDS, "below it they are back")
    finally:
        rig.writer.stop()
