"""A Secret for which the API server fails, and one that is not what a BGPPeer needs."""

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
    secret: Mapping[str, Any] = {"type": "kubernetes.io/basic-auth", "data": {"password": "aHVudGVyMg=="}}
    asked: list[str] = []


class Secrets(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.server.asked.append(name)
        status = self.server.statuses[name]
        body: dict[str, Any] = {"kind": "Status", "code": status, "message": "etcd is not there"}
        if status == 200:
            body = {"metadata": {"name": name}, **self.server.secret}
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
    told: list[tuple[Mapping[str, Password], frozenset[str], Mapping[str, str]]] = []
    watch = PasswordWatch(
        cluster, namespace=NAMESPACE, on_read=lambda *found: told.append(found), clock=lambda: now[0]
    )
    needed = frozenset({"bad", "good"})
    server.statuses = {"bad": status, "good": 200}
    for now[0] in (100.0, 110.0, 100.0 + UNREAD_SECONDS - 1):
        watch._read(needed)
    assert told == [({"good": Password("hunter2")}, frozenset({"good"}), {})]
    assert "bad" not in caplog.text
    for now[0] in (100.0 + UNREAD_SECONDS, 170.0):
        watch._read(needed)
    assert [told[1][:2], len(told)] == [({"good": Password("hunter2")}, needed), 2]
    assert "etcd is not there" in told[1][2]["bad"]
    warnings = [
        each for each in caplog.records if each.levelname == "WARNING" and f"{NAMESPACE}/bad" in str(vars(each))
    ]
    assert len(warnings) == 1
    server.statuses = {"bad": 200, "good": status}
    now[0] = 200.0
    watch._read(needed)
    assert told[2:] == [({"good": Password("hunter2"), "bad": Password("hunter2")}, needed, {})]


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


@pytest.mark.parametrize(
    ("status", "secret", "said"),
    [
        (404, {}, "is not there (yet)"),
        (403, {}, "etcd is not there"),
        (200, {"type": "Opaque"}, "type: Opaque is not kubernetes.io/basic-auth; create the Secret anew"),
        (200, {"data": {"username": "aHVudGVyMg=="}}, "data.password: is missing"),
        (
            200,
            {"data": {"password": base64.b64encode(b"hunter2\n").decode()}},
            "data.password: has a blank, a line break",
        ),
        (200, {"data": {"password": base64.b64encode(b"hunter2" * 12).decode()}}, "data.password: has 84 bytes"),
    ],
)
def test_what_is_wrong_with_a_secret_is_passed_on_and_that_it_is_not_any_more(
    server: ApiServer, cluster: Cluster, status: int, secret: dict[str, Any], said: str
) -> None:
    now = [0.0]
    told: list[tuple[Mapping[str, Password], frozenset[str], Mapping[str, str]]] = []
    watch = PasswordWatch(
        cluster, namespace=NAMESPACE, on_read=lambda *found: told.append(found), clock=lambda: now[0]
    )
    sound = server.secret
    for number, (found, answer) in enumerate([(sound, 200), ({**sound, **secret}, status), (sound, 200)]):
        now[0], server.secret, server.statuses = 100.0 * number, found, {"tor": answer}
        watch._read(frozenset({"tor"}))
    assert [passwords for passwords, _, _ in told] == [{"tor": Password("hunter2")}] * 3
    assert [problems.keys() for _, _, problems in told] == [set(), {"tor"}, set()]
    assert said in told[1][2]["tor"]
    assert "hunter2" not in str(told)
