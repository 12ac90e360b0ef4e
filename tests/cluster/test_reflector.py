"""The local mirror of one resource follows a real API server through restarts, expiry and silence."""

from __future__ import annotations

import json
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from allocator.kube.client import Cluster, Object
from allocator.kube.reflector import Change, Reflector, identity
from allocator.kube.resource import Resource
from tests.lab.control_plane import API_SERVER, ControlPlane
from tests.lab.waiting import wait_until

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")


@pytest.fixture
def whole(control_plane: ControlPlane, namespace: str) -> Iterator[ControlPlane]:
    """For tests that break the control plane: whole again before the namespace goes, also when the test fails."""
    yield control_plane
    control_plane.resume_api()
    if not control_plane.processes[API_SERVER].alive:
        control_plane.start_api()


class Mirror:
    """A running reflector of one namespace's ConfigMaps, and the changes it told of."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.changes: list[Change] = []
        self.reflector = Reflector(cluster, CONFIG_MAPS, namespace=namespace, on_change=self.changes.append)

    def values(self) -> dict[str, str]:
        """What the mirror holds: the `key` of each of our objects."""
        return {obj["metadata"]["name"]: obj["data"]["key"] for obj in self.reflector.items() if _ours(obj)}

    def told(self) -> list[tuple[str, str]]:
        """What the listener was told of our objects, in order."""
        kinds = {(False, True): "appeared", (True, True): "changed", (True, False): "went"}
        return [
            (change.key[1], kinds[change.old is not None, change.new is not None])
            for change in self.changes
            if _ours(change.new or change.old or {})
        ]


def _ours(obj: Object) -> bool:
    # The namespace's controllers put a ConfigMap of their own there.
    return "key" in (obj.get("data") or {})


def config_map(name: str, value: str) -> Object:
    return {"metadata": {"name": name}, "data": {"key": value}}


@pytest.fixture
def mirror(cluster: Cluster, namespace: str) -> Iterator[Mirror]:
    """A mirror that has taken in what was there."""
    mirror = Mirror(cluster, namespace)
    mirror.reflector.start()
    assert mirror.reflector.wait_synced(10)
    yield mirror
    mirror.reflector.stop()
    assert not mirror.reflector.alive


def test_what_was_there_is_known_and_told_before_it_counts_as_synced(cluster: Cluster, namespace: str) -> None:
    cluster.create(CONFIG_MAPS, config_map("old", "1"), namespace)
    mirror = Mirror(cluster, namespace)

    mirror.reflector.start()
    assert mirror.reflector.wait_synced(10)

    assert mirror.values() == {"old": "1"}
    assert mirror.told() == [("old", "appeared")]
    mirror.reflector.stop()


def test_changes_arrive_in_order_with_before_and_after(cluster: Cluster, namespace: str, mirror: Mirror) -> None:
    cluster.create(CONFIG_MAPS, config_map("one", "1"), namespace)
    cluster.patch(CONFIG_MAPS, "one", {"data": {"key": "2"}}, namespace)
    cluster.delete(CONFIG_MAPS, "one", namespace)

    wait_until(lambda: len(mirror.told()) == 3, 10, "three changes were told of")

    assert mirror.told() == [("one", "appeared"), ("one", "changed"), ("one", "went")]
    changed = next(change for change in mirror.changes if change.key[1] == "one" and change.old and change.new)
    assert changed.old is not None
    assert changed.new is not None
    assert (changed.old["data"]["key"], changed.new["data"]["key"]) == ("1", "2")
    assert mirror.values() == {}


def test_a_listener_that_fails_on_one_object_hears_of_the_next(cluster: Cluster, namespace: str) -> None:
    heard: list[str] = []

    def listen(change: Change) -> None:
        if change.key[1] == "bad":
            raise ValueError("cannot digest this one")
        heard.append(change.key[1])

    reflector = Reflector(cluster, CONFIG_MAPS, namespace=namespace, on_change=listen)
    reflector.start()
    cluster.create(CONFIG_MAPS, config_map("bad", "1"), namespace)
    cluster.create(CONFIG_MAPS, config_map("good", "1"), namespace)

    wait_until(lambda: "good" in heard, 10, "the good object was heard of")
    reflector.stop()


def test_of_what_a_listener_keeps_by_itself_nothing_is_kept_but_which_version_it_is(
    cluster: Cluster, namespace: str
) -> None:
    for number in range(250):
        cluster.create(CONFIG_MAPS, config_map(f"map-{number:03}", "1"), namespace)
    heard: dict[str, list[Object | None]] = {}

    def listen(change: Change) -> None:
        heard.setdefault(change.key[1], []).append(change.new)

    reflector = Reflector(cluster, CONFIG_MAPS, namespace=namespace, kept=identity, on_change=listen)
    reflector.start()
    assert reflector.wait_synced(10)
    assert sorted(name for name in heard if name.startswith("map-")) == [f"map-{number:03}" for number in range(250)]
    cluster.patch(CONFIG_MAPS, "map-000", {"data": {"key": "2"}}, namespace)
    cluster.delete(CONFIG_MAPS, "map-001", namespace)
    wait_until(lambda: len(heard["map-000"]) == len(heard["map-001"]) == 2, 10, "both changes were told of")
    reflector.relist()
    cluster.create(CONFIG_MAPS, config_map("later", "1"), namespace)
    wait_until(lambda: "later" in heard, 10, "it follows on after another list")

    assert [obj and obj["data"] for obj in heard["map-000"]] == [{"key": "1"}, {"key": "2"}], "the whole object"
    assert heard["map-001"][1] is None
    assert all(len(told) == 1 for name, told in heard.items() if name not in ("map-000", "map-001")), "told once"
    assert all(obj.keys() == {"metadata"} and "uid" not in obj["metadata"] for obj in reflector.items())
    reflector.stop()


def test_it_follows_on_after_the_api_server_was_killed(
    whole: ControlPlane, cluster: Cluster, namespace: str, mirror: Mirror
) -> None:
    cluster.create(CONFIG_MAPS, config_map("before", "1"), namespace)
    wait_until(lambda: mirror.values() == {"before": "1"}, 10, "the mirror has the first object")

    whole.kill(API_SERVER)
    whole.start_api()
    cluster.create(CONFIG_MAPS, config_map("after", "2"), namespace)

    wait_until(lambda: mirror.values() == {"before": "1", "after": "2"}, 15, "the mirror has both objects")
    assert mirror.told() == [("before", "appeared"), ("after", "appeared")]


def test_a_refreshed_watch_goes_on_where_it_was(cluster: Cluster, namespace: str, mirror: Mirror) -> None:
    names = [f"number-{number:02}" for number in range(30)]
    for name in names:
        cluster.create(CONFIG_MAPS, config_map(name, "1"), namespace)
        mirror.reflector.refresh()

    wait_until(lambda: len(mirror.values()) == len(names), 10, "the mirror has all objects")
    assert mirror.told() == [(name, "appeared") for name in names]


def test_while_the_api_server_is_down_the_last_copy_stays(
    whole: ControlPlane, cluster: Cluster, namespace: str, mirror: Mirror
) -> None:
    cluster.create(CONFIG_MAPS, config_map("kept", "1"), namespace)
    wait_until(lambda: mirror.values() == {"kept": "1"}, 10, "the mirror has the object")
    whole.kill(API_SERVER)

    wait_until(lambda: mirror.reflector.silent_seconds() > 1, 10, "the mirror has heard nothing for a while")

    assert mirror.values() == {"kept": "1"}
    assert mirror.reflector.alive


def test_what_went_unseen_is_told_after_a_watch_expired(
    whole: ControlPlane, cluster: Cluster, namespace: str, mirror: Mirror
) -> None:
    cluster.create(CONFIG_MAPS, config_map("goes", "1"), namespace)
    cluster.create(CONFIG_MAPS, config_map("stays", "1"), namespace)
    wait_until(lambda: len(mirror.values()) == 2, 10, "the mirror has both objects")
    whole.pause_api()
    wait_until(lambda: mirror.reflector.silent_seconds() > 0.2, 10, "the watch is silent")
    # Behind the API server's back, so that no watch can ever tell of it; then the history is cut off.
    version = _delete_in_etcd(whole, f"/registry/configmaps/{namespace}/goes")
    _etcd(whole, "kv/compaction", {"revision": version, "physical": True})
    whole.kill(API_SERVER)

    whole.start_api()

    wait_until(lambda: mirror.values() == {"stays": "1"}, 15, "the mirror knows that the object is gone")
    assert mirror.told()[-1] == ("goes", "went")
    assert mirror.told().count(("stays", "appeared")) == 1


def test_it_stops_at_once_while_its_watch_is_silent(cluster: Cluster, namespace: str, mirror: Mirror) -> None:
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(mirror.reflector.stop).result(timeout=2)

    assert not mirror.reflector.alive


def test_it_stops_while_the_api_server_is_down(whole: ControlPlane, mirror: Mirror) -> None:
    whole.kill(API_SERVER)

    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(mirror.reflector.stop).result(timeout=2)

    assert not mirror.reflector.alive


def test_it_stops_when_told_so_right_after_its_start(cluster: Cluster, namespace: str) -> None:
    for _ in range(20):
        reflector = Reflector(cluster, CONFIG_MAPS, namespace=namespace)
        reflector.start()
        with ThreadPoolExecutor(max_workers=1) as pool:
            pool.submit(reflector.stop).result(timeout=2)
        assert not reflector.alive


def _delete_in_etcd(control_plane: ControlPlane, key: str) -> int:
    answer = _etcd(control_plane, "kv/deleterange", {"key": b64encode(key.encode()).decode()})
    assert answer["deleted"] == "1"
    return int(answer["header"]["revision"])


def _etcd(control_plane: ControlPlane, call: str, body: Object) -> Object:
    request = urllib.request.Request(f"{control_plane.etcd_url}/v3/{call}", data=json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        result: Object = json.load(answer)
    return result
