"""A Secret for which the API server fails."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from allocator.bgp.inputs import Password
from allocator.kube.client import Cluster
from speaker.bgp.passwords import UNREAD_SECONDS, PasswordWatch

NAMESPACE = "metallb-system"


class ApiServer(ThreadingHTTPServer):
    """Answers with the status set for the Secret that is asked for; 200 comes with a password."""

    statuses: Mapping[str, int] = {}
    asked: list[str] = []


class Secrets(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.server.asked.append(name)
        status = self.server.statuses[name]
        body: dict[str, Any] = {"kind": "Status", "code": status, "message": "etcd is not there"}
        if status == 200:
            password = base64.b64encode(b"hunter2").decode()
            body = {"metadata": {"name": name}, "type": "kubernetes.io/basic-auth", "data": {"password": password}}
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(("127.0.0.1", 0), Secrets) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path) -> Cluster:
    path = tmp_path / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "a",
                "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [{"name": "a", "user": {}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            }
        )
    )
    return Cluster.from_environment(str(path))


@pytest.mark.parametrize("status", [500, 503])
def test_secret_that_cannot_be_read_holds_nothing_up_for_longer_than_half_a_minute(
    server: ApiServer, cluster: Cluster, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    now = [100.0]
    told: list[tuple[Mapping[str, Password], frozenset[str]]] = []
    watch = PasswordWatch(
        cluster, namespace=NAMESPACE, on_read=lambda *found: told.append(found), clock=lambda: now[0]
    )
    needed = frozenset({"bad", "good"})
    server.statuses = {"bad": status, "good": 200}
    for now[0] in (100.0, 110.0, 100.0 + UNREAD_SECONDS - 1):
        watch._read(needed)
    assert told == [({"good": Password("hunter2")}, frozenset({"good"}))]
    assert "bad" not in caplog.text
    for now[0] in (100.0 + UNREAD_SECONDS, 170.0):
        watch._read(needed)
    assert told[1:] == [({"good": Password("hunter2")}, needed)]
    warnings = [
        each for each in caplog.records if each.levelname == "WARNING" and f"{NAMESPACE}/bad" in str(vars(each))
    ]
    assert len(warnings) == 1
    server.statuses = {"bad": 200, "good": status}
    now[0] = 200.0
    watch._read(needed)
    assert told[2:] == [({"good": Password("hunter2"), "bad": Password("hunter2")}, needed)]


def test_a_secret_that_was_read_costs_two_requests_a_minute_and_a_missing_one_six(
    server: ApiServer, cluster: Cluster
) -> None:
    now = [0.0]
    watch = PasswordWatch(cluster, namespace=NAMESPACE, on_read=lambda *_: None, clock=lambda: now[0])
    server.statuses = {"there": 200, "missing": 404}
    server.asked = []
    for second in range(120):
        now[0] = float(second)
        watch._read(frozenset({"there", "missing"}))
    assert (server.asked.count("there"), server.asked.count("missing")) == (4, 12)
    # Named by a BGPPeer only now: at once.
    server.statuses = {**server.statuses, "new": 200}
    watch._read(frozenset({"there", "missing", "new"}))
    assert server.asked[-1] == "new"
