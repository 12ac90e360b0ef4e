"""Events on Services, written to a real API server that is away now and then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from allocator.kube.client import Cluster, Object
from allocator.kube.events import EventRecorder
from allocator.kube.resource import EVENTS, SERVICES
from speaker.status.rate_limit import WritePace
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until


@contextmanager
def recorder(
    cluster: Cluster, *, pace: WritePace | None = None, repeat_after_seconds: float = 0.0
) -> Iterator[EventRecorder]:
    """A running recorder that has ended, and posted what it could, after the block."""
    running = EventRecorder(
        cluster,
        component="metallb-test",
        host="node-1",
        pace=pace,
        backlog=5,
        repeat_after_seconds=repeat_after_seconds,
    )
    running.start()
    try:
        yield running
    finally:
        running.stop()
        assert not running.alive


def service(cluster: Cluster, namespace: str) -> Object:
    """A Service that Events can be about."""
    spec = {"ports": [{"port": 80}]}
    return cluster.create(SERVICES, {"metadata": {"name": "web"}, "spec": spec}, namespace)


def told(cluster: Cluster, namespace: str) -> set[tuple[str, str]]:
    """Type and message of every Event there is."""
    return {(event["type"], event["message"]) for event in cluster.list(EVENTS, namespace)["items"]}


def test_what_is_recorded_is_there_when_the_recorder_has_stopped(cluster: Cluster, namespace: str) -> None:
    web = service(cluster, namespace)
    with recorder(cluster) as events:
        events.record(web, reason="nodeAssigned", message="announcing")
        events.record(web, reason="addressConflict", message="x" * 5000, normal=False)
    assert told(cluster, namespace) == {("Normal", "announcing"), ("Warning", "x" * 1024)}
    about = cluster.list(EVENTS, namespace)["items"][0]
    assert about["involvedObject"]["uid"] == web["metadata"]["uid"]
    assert about["source"] == {"component": "metallb-test", "host": "node-1"}


def test_an_event_that_is_refused_does_not_keep_the_next_from_being_written(cluster: Cluster, namespace: str) -> None:
    web = service(cluster, namespace)
    elsewhere = {"metadata": {**web["metadata"], "namespace": "no-such-namespace"}}
    with recorder(cluster) as events:
        events.record(elsewhere, reason="nodeAssigned", message="nowhere")
        events.record(web, reason="nodeAssigned", message="here")
    assert told(cluster, namespace) == {("Normal", "here")}


def test_events_wait_for_an_api_server_that_is_away_and_the_latest_are_dropped(
    control_plane: ControlPlane, cluster: Cluster, namespace: str
) -> None:
    web = service(cluster, namespace)
    with recorder(cluster) as events:
        control_plane.pause_api()
        try:
            for number in range(10):
                events.record(web, reason="nodeAssigned", message=f"number {number}")
        finally:
            control_plane.resume_api()
        wait_until(lambda: len(told(cluster, namespace)) >= 5, 20, "what waited was written")
    written = told(cluster, namespace)
    assert written >= {("Normal", f"number {number}") for number in range(5)}, "the first ones"
    assert len(written) <= 6, "one under way, and as many as may wait"


def test_the_same_said_again_soon_is_written_once(cluster: Cluster, namespace: str) -> None:
    web = service(cluster, namespace)
    with recorder(cluster, repeat_after_seconds=60.0) as events:
        for message in ("none free", "none free", "one free"):
            events.record(web, reason="AllocationFailed", message=message)
    assert len(cluster.list(EVENTS, namespace)["items"]) == 2


def test_who_stops_does_not_wait_for_turns(cluster: Cluster, namespace: str) -> None:
    web = service(cluster, namespace)
    with recorder(cluster, pace=WritePace(per_second=0.001, at_once=1.0)) as events:
        for number in range(3):
            events.record(web, reason="nodeAssigned", message=f"number {number}")
        wait_until(lambda: told(cluster, namespace), 10, "the first Event is written")
    assert told(cluster, namespace) == {("Normal", "number 0")}
