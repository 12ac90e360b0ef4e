"""All API calls of one admission share one deadline, whatever they wait for; then the reconciler assigns."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from allocator.allocation.allocator import Allocator
from allocator.kube.client import Cluster, Unavailable
from allocator.kube.resource import SERVICES
from allocator.objects.names import ASSIGNED_IPS_ANNOTATION
from allocator.rules.verdict import Rules
from tests.unit.allocation.stored_claims import cache_of, pool
from tests.unit.allocator.api_server import Behaviour, connect, read_request, serving
from tests.unit.webhook.reviews import SERVICE, review
from webhook.review import parse
from webhook.service_admission import DEADLINE_SECONDS, ServiceAdmission

SECONDS = 0.6


def refusal(status: str, reason: str) -> bytes:
    body = json.dumps({"reason": reason}).encode()
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status.encode(),
        len(body),
        body,
    )


def silent(connection: socket.socket, over: threading.Event) -> None:
    """Take the request and never answer."""
    read_request(connection)
    over.wait(20)


def slow_to_refuse(connection: socket.socket, over: threading.Event) -> None:
    """Answer every creation after a while that the address is taken, and that nothing is there when asked by whom."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
        if b"\r\n\r\n" not in received:
            continue
        creates = b"POST /" in received
        received = b""
        if over.wait(SECONDS / 3):
            return
        connection.sendall(refusal("409 Conflict", "AlreadyExists") if creates else refusal("404 Gone", "NotFound"))


def admission(cluster: Cluster) -> ServiceAdmission:
    cache = cache_of(cluster, pool("main", "10.0.0.0/28"), pool("six", "2001:db8::/124"))
    return ServiceAdmission(cache, Allocator(cluster, cache), rules=Rules(), deadline_seconds=SECONDS)


@pytest.mark.parametrize("behaviour", [silent, slow_to_refuse])
@pytest.mark.parametrize(
    "document",
    [
        SERVICE,
        {**SERVICE, "spec": {**SERVICE["spec"], "ipFamilyPolicy": "PreferDualStack"}},
        {
            **SERVICE,
            "metadata": {**SERVICE["metadata"], "annotations": {ASSIGNED_IPS_ANNOTATION: "10.0.0.1,10.0.0.2"}},
        },
    ],
    ids=["one family", "asks for the families first", "looks up what it shows"],
)
def test_a_service_is_admitted_pending_once_the_time_is_over(
    behaviour: Behaviour, document: dict[str, object], tmp_path: Path
) -> None:
    with serving(behaviour) as server:
        asked = parse(json.dumps(review(object=document)).encode())
        handler = admission(connect(server.address, tmp_path, timeout_seconds=30))
        started = time.monotonic()
        answer = handler.answer(asked)
        took = time.monotonic() - started
    assert answer.allowed
    assert any("no address could be reserved now" in warning for warning in answer.warnings)
    assert SECONDS * 0.9 < took < 20, "neither given up early nor one call's 30 s"


def test_one_that_waited_too_long_for_a_thread_asks_nobody(tmp_path: Path) -> None:
    """Its API server has given up; the calls would keep those waiting that may still be in time."""
    asked = replace(parse(json.dumps(review()).encode()), received_at=time.monotonic() - SECONDS)
    calls: list[bool] = []

    def counted(connection: socket.socket, over: threading.Event) -> None:
        calls.append(True)
        silent(connection, over)

    with serving(counted) as server:
        answer = admission(connect(server.address, tmp_path, timeout_seconds=30)).answer(asked)
    assert answer.allowed
    assert any("no address could be reserved now" in warning for warning in answer.warnings)
    assert not calls


def test_calls_after_the_deadline_are_not_made(tmp_path: Path) -> None:
    with serving(silent) as server:
        late = connect(server.address, tmp_path, timeout_seconds=30).until(time.monotonic() - 1)
        server.stop()
        with pytest.raises(Unavailable, match="deadline"):
            late.get(SERVICES, "web", "default")


def test_the_deadline_is_well_under_what_the_api_server_waits() -> None:
    manifest = Path(__file__).parents[3] / "manifests" / "webhook-configuration.yaml"
    configurations = [one for one in yaml.safe_load_all(manifest.read_text()) if one]
    [waits] = [
        webhook["timeoutSeconds"]
        for configuration in configurations
        for webhook in configuration["webhooks"]
        if webhook["name"] == "services.admitlb.io"
    ]
    assert waits / 2 >= DEADLINE_SECONDS
