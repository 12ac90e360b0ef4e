"""The part of a speaker that announces by BGP, as far as it needs no FRR: what it waits for and what it reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allocator.bgp.command import Daemon
from allocator.bgp.inputs import Password, Service
from allocator.core.addresses import Address
from allocator.kube.reflector import Change
from allocator.kube.resource import NODES, Resource
from allocator.objects.names import BGP_ADVERTISEMENTS, BGP_PEERS, IP_ADDRESS_POOLS
from speaker.bgp import announcer as announcer_module
from speaker.bgp.announcer import BgpAnnouncer
from speaker.bgp.events import Event
from speaker.bgp.reports import Snapshot
from speaker.bgp.settings import LISTED, BgpSettings
from tests.lab.waiting import wait_until
from tests.unit.speaker.bgp.vty_daemons import VtyDaemons, vty_daemons
from tests.unit.speaker.objects import node

VIP, MORE = Address.parse("198.51.100.1"), Address.parse("198.51.100.3")
SECONDS = 10.0


class Notes:
    """A listener that writes down what it is called with."""

    def __init__(self) -> None:
        self.services: list[frozenset[str] | None] = []
        self.snapshots: list[Snapshot] = []
        self.events: list[Event] = []

    def on_services(self, keys: frozenset[str] | None) -> None:
        self.services.append(keys)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    def on_event(self, event: Event) -> None:
        self.events.append(event)


def change(resource: Resource, name: str, spec: dict[str, Any] | None, **metadata: Any) -> Change:
    document = {"metadata": {"name": name, "namespace": "metallb-system", **metadata}, "spec": spec}
    return Change(resource, ("metallb-system", name), None, document if spec is not None else None, "1")


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def secrets() -> list[frozenset[str]]:
    return []


@pytest.fixture
def frr(tmp_path: Path) -> Iterator[VtyDaemons]:
    """For those that need it, before `announcer`."""
    with vty_daemons(tmp_path) as daemons:
        yield daemons


@pytest.fixture
def announcer(tmp_path: Path, notes: Notes, secrets: list[frozenset[str]]) -> Iterator[BgpAnnouncer]:
    settings = BgpSettings(node="node-a", sockets=tmp_path, kube_proxy_url="", marked_seconds=0.1)
    part = BgpAnnouncer(settings, on_secrets=secrets.append)
    part.report_to(notes)
    part.start()
    yield part
    part.stop()
    assert not part.alive


def put_cluster(part: BgpAnnouncer) -> None:
    part.on_change(Change(NODES, ("", "node-a"), None, node("node-a"), "1"))
    part.on_change(change(IP_ADDRESS_POOLS, "public", {}))
    part.on_change(change(BGP_ADVERTISEMENTS, "all", {}))
    part.on_change(change(BGP_PEERS, "tor", {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"}))
    part.follow({("default", "web"): Service(addresses={VIP: ("public",)}, has_endpoints=True)})


def put_lists(part: BgpAnnouncer) -> None:
    part.on_known()
    for resource in LISTED:
        part.on_listed(resource)


def test_nothing_is_sent_before_all_is_known_and_the_snapshot_says_what_is_missing(
    frr: VtyDaemons, announcer: BgpAnnouncer
) -> None:
    put_cluster(announcer)
    wait_until(lambda: announcer.snapshot().prefix_count == 1, SECONDS, "the Service is decided about")
    waiting_for = announcer.snapshot().waiting_for
    assert all(kind.kind in waiting_for for kind in LISTED)
    assert "Service" in waiting_for
    put_lists(announcer)
    wait_until(lambda: announcer.snapshot().waiting_for == "", SECONDS, "all is known")
    assert set(announcer.snapshot().sessions) == {"tor"}


def test_what_bgpd_runs_is_read_before_anything_is_changed(announcer: BgpAnnouncer) -> None:
    put_cluster(announcer)
    put_lists(announcer)
    wait_until(lambda: "bgpd" in announcer.snapshot().waiting_for, SECONDS, "the lists are known")


def test_services_and_their_peers_are_read_from_any_thread(announcer: BgpAnnouncer, notes: Notes) -> None:
    put_cluster(announcer)
    wait_until(lambda: announcer.snapshot().prefix_count == 1, SECONDS, "the Service is decided about")
    found = announcer.service("default/web")
    assert [str(prefix) for prefix in found.announcements[VIP].prefixes] == ["198.51.100.1/32"]
    assert found.peers == {"tor"}
    assert announcer.services() == ("default/web",)
    assert announcer.wanted() == {"tor": 1}
    wait_until(lambda: len(notes.services) > 0, SECONDS, "it is reported")
    announcer.follow({("default", "web"): None})
    wait_until(lambda: notes.services[-1] == frozenset({"default/web"}), SECONDS, "that it is gone is reported")
    assert announcer.service("default/web").announcements == {}


def test_secret_of_a_peer_is_asked_for_and_waited_for(
    frr: VtyDaemons, announcer: BgpAnnouncer, secrets: list[frozenset[str]]
) -> None:
    put_cluster(announcer)
    spec = {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.2", "passwordSecret": {"name": "tor-2"}}
    announcer.on_change(change(BGP_PEERS, "tor-2", spec))
    put_lists(announcer)
    wait_until(lambda: secrets == [frozenset({"tor-2"})], SECONDS, "it is asked for")
    wait_until(lambda: announcer.snapshot().waiting_for.endswith("of Secret"), SECONDS, "it is waited for")
    announcer.set_passwords({}, frozenset({"tor-2"}), {"tor-2": "type: Opaque"})
    wait_until(lambda: announcer.snapshot().password_problems != {}, SECONDS, "what is wrong with it is reported")
    assert announcer.snapshot().password_problems == {"tor-2": "Secret tor-2: type: Opaque"}
    assert set(announcer.snapshot().sessions) == {"tor"}
    announcer.set_passwords({"tor-2": Password("hunter2")}, frozenset({"tor-2"}), {})
    wait_until(lambda: set(announcer.snapshot().sessions) == {"tor", "tor-2"}, SECONDS, "the session is wanted")
    wait_until(lambda: announcer.snapshot().waiting_for == "", SECONDS, "bgpd has been read as well")
    assert "hunter2" not in repr(announcer.snapshot())
    assert announcer.snapshot().password_problems == {}


def test_only_secrets_of_peers_that_select_this_node_are_asked_for(
    frr: VtyDaemons, announcer: BgpAnnouncer, secrets: list[frozenset[str]]
) -> None:
    for rack in ("a", "b"):
        spec = {"myASN": 64512, "peerASN": 64513, "peerAddress": f"192.0.2.{ord(rack)}"}
        chosen = {"passwordSecret": {"name": f"tor-{rack}"}, "nodeSelectors": [{"matchLabels": {"rack": rack}}]}
        announcer.on_change(change(BGP_PEERS, f"tor-{rack}", spec | chosen))
    announcer.on_change(Change(NODES, ("", "node-a"), None, node("node-a", labels={"rack": "a"}), "1"))
    put_lists(announcer)
    wait_until(lambda: announcer.snapshot().waiting_for.endswith("of Secret"), SECONDS, "it is waited for")
    assert secrets == [frozenset({"tor-a"})]
    announcer.on_change(Change(NODES, ("", "node-a"), None, node("node-a", labels={"rack": "b"}), "2"))
    wait_until(lambda: secrets[1:] == [frozenset({"tor-b"})], SECONDS, "the other is asked for instead")


def test_frr_that_is_not_there_is_reported(announcer: BgpAnnouncer, notes: Notes) -> None:
    wait_until(lambda: Daemon.BGPD in announcer.snapshot().daemons, SECONDS, "the driver has tried")
    state = announcer.snapshot().daemons[Daemon.BGPD]
    assert not state.connected
    assert state.error


def test_node_with_the_exclude_label_announces_nothing_and_says_why(frr: VtyDaemons, announcer: BgpAnnouncer) -> None:
    put_cluster(announcer)
    put_lists(announcer)
    label = "node.kubernetes.io/exclude-from-external-load-balancers"
    announcer.on_change(Change(NODES, ("", "node-a"), None, node("node-a", labels={label: ""}), "2"))
    wait_until(lambda: label in announcer.snapshot().leave_reason, SECONDS, "it leaves")
    assert announcer.snapshot().prefix_count == 0


def test_what_nobody_foresaw_ends_nothing(
    announcer: BgpAnnouncer, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("nobody foresaw this")

    monkeypatch.setattr(announcer_module, "_AGAIN_SECONDS", 0.0)
    put_cluster(announcer)
    wait_until(lambda: announcer.snapshot().prefix_count == 1, SECONDS, "the Service is decided about")
    with monkeypatch.context() as patch:
        patch.setattr(notes, "on_snapshot", fail)
        announcer.follow({("default", "other"): "no Service"})  # type: ignore[dict-item]
        announcer.follow({("default", "more"): Service(addresses={MORE: ("public",)}, has_endpoints=True)})
        wait_until(lambda: announcer.wanted() == {"tor": 2}, SECONDS, "what comes after it is decided about")
    assert announcer.alive
