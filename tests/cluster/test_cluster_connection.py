"""The plain-JSON connection against a real API server: verbs, preconditions, typed errors, watches."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from allocator.kube.client import (
    APPLY_PATCH,
    JSON_PATCH,
    AlreadyExists,
    ApiError,
    Cluster,
    Conflict,
    Expired,
    NotFound,
    Object,
    Unavailable,
)
from allocator.kube.resource import SERVICES, Resource
from allocator.kube.watch_stream import Interrupt
from tests.lab.control_plane import API_SERVER, ControlPlane

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
NO_SUCH_KIND = Resource("example.org", "v1", "nothings", "Nothing")


def config_map(name: str, **data: str) -> Object:
    return {"metadata": {"name": name}, "data": data}


def test_an_object_is_created_read_replaced_and_deleted(cluster: Cluster, namespace: str) -> None:
    created = cluster.create(CONFIG_MAPS, config_map("one", colour="red"), namespace)
    created["data"]["colour"] = "blue"
    cluster.replace(CONFIG_MAPS, created)
    assert cluster.get(CONFIG_MAPS, "one", namespace)["data"] == {"colour": "blue"}

    cluster.delete(CONFIG_MAPS, "one", namespace)

    with pytest.raises(NotFound):
        cluster.get(CONFIG_MAPS, "one", namespace)


def test_a_list_can_be_narrowed_by_label(cluster: Cluster, namespace: str) -> None:
    for name in ("red", "blue"):
        cluster.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": {"colour": name}}}, namespace)

    found = cluster.list(CONFIG_MAPS, namespace, label_selector="colour=red")

    assert [item["metadata"]["name"] for item in found["items"]] == ["red"]


def test_a_long_list_comes_in_pages_of_one_moment(cluster: Cluster, namespace: str) -> None:
    for number in range(5):
        cluster.create(CONFIG_MAPS, config_map(f"one-of-{number}"), namespace)

    pages = cluster.pages(CONFIG_MAPS, namespace, size=2)
    first = next(pages)
    cluster.create(CONFIG_MAPS, config_map("one-of-9-that-came-later"), namespace)
    rest = list(pages)

    found = [item["metadata"]["name"] for page in (first, *rest) for item in page["items"]]
    assert [name for name in found if name.startswith("one-of")] == [f"one-of-{number}" for number in range(5)]
    assert all(len(page["items"]) <= 2 for page in (first, *rest))
    assert len({page["metadata"]["resourceVersion"] for page in (first, *rest)}) == 1


def test_a_dry_run_creates_nothing(cluster: Cluster, namespace: str) -> None:
    cluster.create(CONFIG_MAPS, config_map("dry"), namespace, dry_run=True)

    with pytest.raises(NotFound):
        cluster.get(CONFIG_MAPS, "dry", namespace)


def test_of_many_creators_of_one_name_exactly_one_wins(cluster: Cluster, namespace: str) -> None:
    def create(number: int) -> str | None:
        try:
            cluster.create(CONFIG_MAPS, config_map("lock", holder=str(number)), namespace)
        except AlreadyExists:
            return None
        return str(number)

    with ThreadPoolExecutor(max_workers=16) as pool:
        winners = [winner for winner in pool.map(create, range(32)) if winner is not None]

    assert winners == [cluster.get(CONFIG_MAPS, "lock", namespace)["data"]["holder"]]


def test_a_replace_from_an_old_version_is_a_conflict(cluster: Cluster, namespace: str) -> None:
    old = cluster.create(CONFIG_MAPS, config_map("one"), namespace)
    cluster.patch(CONFIG_MAPS, "one", {"data": {"touched": "yes"}}, namespace)

    with pytest.raises(Conflict):
        cluster.replace(CONFIG_MAPS, old)


def test_a_delete_with_a_precondition_spares_another_object_of_that_name(cluster: Cluster, namespace: str) -> None:
    first = cluster.create(CONFIG_MAPS, config_map("one"), namespace)
    cluster.delete(CONFIG_MAPS, "one", namespace)
    cluster.create(CONFIG_MAPS, config_map("one"), namespace)

    with pytest.raises(Conflict):
        cluster.delete(CONFIG_MAPS, "one", namespace, uid=first["metadata"]["uid"])

    assert cluster.get(CONFIG_MAPS, "one", namespace)


def test_a_json_patch_applies_all_its_operations(cluster: Cluster, namespace: str) -> None:
    cluster.create(CONFIG_MAPS, config_map("one", old="1"), namespace)
    operations = [{"op": "remove", "path": "/data/old"}, {"op": "add", "path": "/data/new", "value": "2"}]

    cluster.patch(CONFIG_MAPS, "one", operations, namespace, content_type=JSON_PATCH)

    assert cluster.get(CONFIG_MAPS, "one", namespace)["data"] == {"new": "2"}


def test_server_side_apply_owns_fields_and_takes_them_only_by_force(cluster: Cluster, namespace: str) -> None:
    def apply(manager: str, value: str, *, force: bool = False) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"key": value}}
        cluster.patch(
            CONFIG_MAPS, "one", body, namespace, content_type=APPLY_PATCH, field_manager=manager, force=force
        )

    apply("first", "1")
    with pytest.raises(Conflict):
        apply("second", "2")
    apply("second", "2", force=True)

    assert cluster.get(CONFIG_MAPS, "one", namespace)["data"] == {"key": "2"}


def test_a_status_patch_leaves_the_spec_alone(cluster: Cluster, namespace: str) -> None:
    service = {"metadata": {"name": "web"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
    cluster.create(SERVICES, service, namespace)
    body = {"spec": {"sessionAffinity": "ClientIP"}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}

    after = cluster.patch(SERVICES, "web", body, namespace, subresource="status")

    assert after["spec"]["sessionAffinity"] == "None"
    assert after["status"]["loadBalancer"]["ingress"][0]["ip"] == "192.0.2.1"


def test_an_invalid_object_is_refused_with_the_servers_own_words(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(ApiError, match="must consist of lower case") as refusal:
        cluster.create(CONFIG_MAPS, config_map("Not_A_Name"), namespace)

    assert (refusal.value.status, refusal.value.reason) == (422, "Invalid")


def test_discovery_tells_what_is_served(cluster: Cluster) -> None:
    assert cluster.serves(SERVICES)
    assert not cluster.serves(NO_SUCH_KIND)


def test_a_server_that_is_not_there_is_unavailable(control_plane: ControlPlane, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(control_plane.kubeconfig().read_text().replace(control_plane.url, "https://127.0.0.1:1"))

    with pytest.raises(Unavailable):
        Cluster.from_environment(str(path)).list(SERVICES)


def test_a_watch_tells_what_happens_in_order(cluster: Cluster, namespace: str) -> None:
    start = cluster.list(CONFIG_MAPS, namespace)["metadata"]["resourceVersion"]
    cluster.create(CONFIG_MAPS, config_map("one"), namespace)
    cluster.patch(CONFIG_MAPS, "one", {"data": {"touched": "yes"}}, namespace)
    cluster.delete(CONFIG_MAPS, "one", namespace)

    seen = []
    for kind, obj in cluster.watch(CONFIG_MAPS, namespace, resource_version=start, timeout_seconds=60):
        if obj["metadata"].get("name") == "one":
            seen.append(kind)
        if kind == "DELETED":
            break

    assert seen == ["ADDED", "MODIFIED", "DELETED"]


def test_a_watch_ends_by_itself_at_its_timeout(cluster: Cluster, namespace: str) -> None:
    start = cluster.list(SERVICES, namespace)["metadata"]["resourceVersion"]

    kinds = {kind for kind, _ in cluster.watch(SERVICES, namespace, resource_version=start, timeout_seconds=1)}

    assert kinds <= {"BOOKMARK"}


def test_a_watch_is_ended_from_another_thread(cluster: Cluster, namespace: str) -> None:
    start = cluster.list(CONFIG_MAPS, namespace)["metadata"]["resourceVersion"]
    cluster.create(CONFIG_MAPS, config_map("first"), namespace)
    interrupt = Interrupt()
    begun = threading.Event()

    def follow() -> None:
        for _ in cluster.watch(CONFIG_MAPS, namespace, resource_version=start, interrupt=interrupt):
            begun.set()

    with ThreadPoolExecutor(max_workers=1) as pool:
        ended = pool.submit(follow)
        assert begun.wait(10)
        interrupt.request()
        ended.result(timeout=5)


def test_a_watch_that_was_ended_before_it_began_does_not_begin(cluster: Cluster, namespace: str) -> None:
    start = cluster.list(CONFIG_MAPS, namespace)["metadata"]["resourceVersion"]
    interrupt = Interrupt()
    interrupt.request()

    with ThreadPoolExecutor(max_workers=1) as pool:
        watch = cluster.watch(CONFIG_MAPS, namespace, resource_version=start, interrupt=interrupt)
        assert pool.submit(list, watch).result(timeout=5) == []


def test_a_watch_from_too_long_ago_is_expired(control_plane: ControlPlane, cluster: Cluster, namespace: str) -> None:
    # A server that has just started remembers nothing from before; one that ran all along might.
    control_plane.kill(API_SERVER)
    control_plane.start_api()
    with pytest.raises(Expired):
        list(cluster.watch(CONFIG_MAPS, namespace, resource_version="1", timeout_seconds=5))
