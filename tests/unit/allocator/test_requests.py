"""What a call sends: the JSON it was given, the credentials of the moment, and nothing looked for in between."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from pathlib import Path

import pytest

from allocator.kube.client import JSON_PATCH, Cluster, Unavailable
from allocator.kube.package import ApiClient, Configuration
from allocator.kube.resource import SERVICES
from tests.lab.certificates import Authority
from tests.unit.allocator.api_server import connect, serving

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Recording:
    """Answers every request of a connection, and keeps what it was."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        stream = connection.makefile("rb")
        while not over.is_set() and (line := stream.readline()):
            headers: dict[str, str] = {}
            while field := stream.readline().strip():
                name, _, value = field.decode().partition(":")
                headers[name.lower()] = value.strip()
            body = stream.read(int(headers.get("content-length", 0)))
            self.requests.append((line.decode().rpartition(" ")[0], headers, body))
            connection.sendall(ANSWER)


def test_a_body_goes_out_as_it_is_with_nothing_looked_for_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(ApiClient, "sanitize_for_serialization")
    recording = Recording()
    operations = [{"op": "add", "path": "/status", "value": {"node": "n", "interfaces": [], "since": None}}]
    with serving(recording) as server:
        cluster = connect(server.address, tmp_path, timeout_seconds=10)
        cluster.patch(SERVICES, "web", operations, "default", subresource="status", content_type=JSON_PATCH)
        cluster.list(SERVICES, "default", label_selector="a=b c,d in (e,f)")
    (patch, headers, body), (listed, get_headers, nothing) = recording.requests
    assert patch == "PATCH /api/v1/namespaces/default/services/web/status"
    assert (headers["content-type"], json.loads(body)) == (JSON_PATCH, operations)
    assert listed == "GET /api/v1/namespaces/default/services?labelSelector=a%3Db%20c%2Cd%20in%20%28e%2Cf%29"
    assert (nothing, get_headers["accept"], "content-type" in get_headers) == (b"", "application/json", False)


def test_a_token_that_is_renewed_is_used_from_then_on() -> None:
    recording = Recording()
    tokens = iter(["first", "second"])

    def renew(configuration: Configuration) -> None:
        configuration.api_key["authorization"] = f"Bearer {next(tokens)}"

    with serving(recording) as server:
        configuration = Configuration(host=f"http://{server.address}")
        configuration.api_key["authorization"] = ""
        configuration.refresh_api_key_hook = renew
        cluster = Cluster(ApiClient(configuration))
        for _ in range(2):
            cluster.get(SERVICES, "web", "default")
    assert [headers["authorization"] for _, headers, _ in recording.requests] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("authority", "host", "why"),
    [
        ("its own", "127.0.0.1", None),
        ("another", "127.0.0.1", "unable to get local issuer certificate"),
        ("its own", "127.0.0.2", "IP address mismatch"),
    ],
)
def test_nothing_is_sent_to_a_server_whose_certificate_is_not_right(
    authority: str, host: str, why: str | None, tmp_path: Path
) -> None:
    authorities = {name: Authority(tmp_path / name, name=name) for name in ("its own", "another")}
    pair = authorities["its own"].server("api", [host])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    recording = Recording()

    def over_tls(connection: socket.socket, over: threading.Event) -> None:
        with tls.wrap_socket(connection, server_side=True) as secured:
            recording(secured, over)

    with serving(over_tls) as server:
        configuration = Configuration(host=f"https://{server.address}")
        configuration.ssl_ca_cert = str(authorities[authority].certificate)
        configuration.api_key["authorization"] = "Bearer secret"
        configuration.retries = False
        cluster = Cluster(ApiClient(configuration), timeout_seconds=10)
        if why is None:
            cluster.get(SERVICES, "web", "default")
        else:
            with pytest.raises(Unavailable, match=why):
                cluster.get(SERVICES, "web", "default")
    assert [headers["authorization"] for _, headers, _ in recording.requests] == ["Bearer secret"] * (why is None)
