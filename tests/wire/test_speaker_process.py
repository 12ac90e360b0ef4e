"""The speaker as a process, before it knows anything of a cluster: what it says and how it ends."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.network import Host
from tests.lab.processes import Process
from tests.wire.conftest import Join

NOBODY_LISTENS = "https://127.0.0.1:1"
Start = Callable[..., Process]


@pytest.fixture
def host(join: Join) -> Host:
    (made,) = join(node=["192.0.2.1/24"])
    return made


@pytest.fixture
def start(host: Host, tmp_path: Path) -> Iterator[Start]:
    """Start a speaker on the host, pointed at an API server that is not there."""
    kubeconfig = tmp_path / "kubeconfig"
    contexts = [{"name": "x", "context": {"cluster": "x", "user": "x"}}]
    clusters = [{"name": "x", "cluster": {"server": NOBODY_LISTENS}}]
    users = [{"name": "x", "user": {"token": "x"}}]
    kubeconfig.write_text(
        json.dumps({"current-context": "x", "contexts": contexts, "clusters": clusters, "users": users})
    )
    started: list[Process] = []

    def run(*arguments: str, before: tuple[str, ...] = ()) -> Process:
        command = [*before, str(Path(sys.executable).with_name("admitlb")), "speaker", "--node-name=node-1"]
        process = Process(
            [*command, f"--kubeconfig={kubeconfig}", *arguments], log=tmp_path / "speaker.log", netns=host.name
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.sigkill()


def answer(host: Host, path: str) -> str:
    """Ask the monitoring port; the status code stands in front of the body."""
    command = (
        "import urllib.request, urllib.error\n"
        f"try: answer = urllib.request.urlopen('http://127.0.0.1:9122{path}', timeout=5)\n"
        "except urllib.error.HTTPError as error: answer = error\n"
        "print(answer.status, answer.read().decode())"
    )
    return host.run(sys.executable, "-c", command, check=False).stdout


def test_it_says_what_it_waits_for_and_is_healthy_meanwhile(host: Host, start: Start) -> None:
    speaker = start()
    speaker.wait_until(
        lambda: answer(host, "/readyz").startswith("503 waiting for the speakers' key"), 20, "it says what is missing"
    )
    assert answer(host, "/healthz").startswith("200 ok")
    assert speaker.alive


def test_it_ends_well_when_told_to_even_before_it_began(host: Host, start: Start) -> None:
    speaker = start()
    speaker.wait_until(lambda: "speaker.key" in speaker.log_tail(), 20, "it looks for the key")
    assert speaker.terminate() == 0
    assert "event=speaker.stopping signal=SIGTERM" in speaker.log_tail()


def test_without_raw_sockets_it_fails_at_once_and_names_the_capability(start: Start) -> None:
    speaker = start(before=("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"))
    assert speaker.wait(20) == 1
    assert "the speaker needs the capability NET_RAW" in speaker.log_tail()


def test_timings_that_would_give_up_living_peers_are_refused(start: Start) -> None:
    speaker = start("--heartbeat-interval=0.4", "--dead-after=0.5")
    assert speaker.wait(20) == 2
    assert "--dead-after 0.5 is too short for --heartbeat-interval 0.4" in speaker.log_tail()


def test_a_monitoring_port_that_another_program_has_stops_nothing_and_is_taken_when_it_is_free(
    host: Host, start: Start
) -> None:
    with host.inside():
        holder = socket.create_server(("0.0.0.0", 9122))
    with holder:
        speaker = start()
        speaker.wait_until(lambda: "event=speaker.key" in speaker.log_tail(), 20, "it goes on to look for the key")
        (line,) = [line for line in speaker.log_tail().splitlines() if "event=port.held" in line]
        assert 'port="TCP 9122" option=--monitor-port' in line
        assert "Address already in use" in line
        assert speaker.alive
    speaker.wait_until(lambda: answer(host, "/healthz").startswith("200 ok"), 20, "it has the port at last")
    assert 'event=port.free port="TCP 9122"' in speaker.log_tail()
