"""The lab can be trusted: what it says happens does happen, and it measures what a client would feel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from allocator.kube.client import ApiError, Object
from allocator.kube.resource import ENDPOINT_SLICES_V1, ENDPOINT_SLICES_V1BETA1, SERVICE_ACCOUNTS, SERVICES
from tests.lab import namespaces
from tests.lab.container import PROJECT
from tests.lab.lab import Lab
from tests.lab.pod_status import PODS
from tests.lab.topology import API_ADDRESS
from tests.lab.waiting import wait_until
from tests.lab.workloads import DEPLOYMENTS, HTTP_PORT

DUPLICATES = ("203.0.113.99", "2001:db8:1::99")


@pytest.fixture(scope="module")
def web(lab: Lab) -> Iterator[list[Object]]:
    """One Pod of a web application on every node."""
    yield lab.deploy_http("web", "lab-test", replicas=3)
    lab.cluster().delete(DEPLOYMENTS, "web", "lab-test")
    wait_until(lambda: not lab.pods("lab-test", "app=web"), 30, "the web application is gone")


@pytest.fixture(scope="module")
def web_addresses(lab: Lab, web: list[Object]) -> Iterator[list[str]]:
    """The application's ClusterIPs of both families, routed for the client through node-1."""
    service = lab.cluster().create(
        SERVICES,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "lab-test"},
            "spec": {
                "selector": {"app": "web"},
                "ipFamilyPolicy": "RequireDualStack",
                "ports": [{"port": 80, "targetPort": HTTP_PORT, "protocol": "TCP"}],
            },
        },
        "lab-test",
    )
    addresses = service["spec"]["clusterIPs"]
    routes = list(zip(addresses, lab.node("node-1").addresses, strict=True))
    lab.client().host.run_ip(*(f"route add {address} via {via}" for address, via in routes))
    wait_until(lambda: all(answers(lab, url_of(address)) for address in addresses), 10, "the ClusterIPs answer")
    yield addresses
    lab.client().host.run_ip(*(f"route delete {address} via {via}" for address, via in routes))
    lab.cluster().delete(SERVICES, "web", "lab-test")


def url_of(address: str, port: int = 80) -> str:
    return f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"


def url_of_pod(pod: Object) -> str:
    return url_of(pod["status"]["podIP"], HTTP_PORT)


def on_node(pods: list[Object], node: str) -> Object:
    return next(pod for pod in pods if pod["spec"]["nodeName"] == node)


def answers(lab: Lab, url: str) -> bool:
    try:
        return lab.client().http_get(url, timeout_seconds=0.3).status == 200
    except OSError:
        return False


def test_it_starts_within_a_bearable_time(lab: Lab, record_property: pytest.FixtureRequest) -> None:
    record_property("start_seconds", round(lab.start_seconds, 1))  # type: ignore[operator]
    print(f"lab started in {lab.start_seconds:.1f} s")
    assert 0 < lab.start_seconds < 60


def test_pods_are_spread_over_the_nodes_and_answer_on_both_families(lab: Lab, web: list[Object]) -> None:
    assert {pod["spec"]["nodeName"] for pod in web} == {"node-1", "node-2", "node-3"}
    for pod in web:
        for entry in pod["status"]["podIPs"]:
            answer = lab.client().http_get(url_of(entry["ip"], HTTP_PORT)).json
            assert answer["pod"] == pod["metadata"]["name"]
            assert answer["node"] == pod["spec"]["nodeName"]
            assert answer["client"] in lab.client().addresses


def test_a_cluster_ip_of_either_family_leads_to_every_pod(lab: Lab, web_addresses: list[str]) -> None:
    assert [":" in address for address in web_addresses] == [False, True]
    for address in web_addresses:
        nodes = {lab.client().http_get(url_of(address)).json["node"] for _ in range(40)}
        assert nodes == {"node-1", "node-2", "node-3"}


def test_endpoint_slices_are_made_of_the_pods(lab: Lab, web: list[Object], web_addresses: list[str]) -> None:
    resource = ENDPOINT_SLICES_V1 if lab.cluster().serves(ENDPOINT_SLICES_V1) else ENDPOINT_SLICES_V1BETA1
    slices = lab.cluster().list(resource, "lab-test", label_selector="kubernetes.io/service-name=web")["items"]
    addresses = {address for each in slices for endpoint in each["endpoints"] for address in endpoint["addresses"]}
    assert addresses == {entry["ip"] for pod in web for entry in pod["status"]["podIPs"]}


def test_a_pod_speaks_as_its_service_account_and_has_no_other_rights(lab: Lab) -> None:
    lab.ensure_namespace("lab-test")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}
    lab.cluster().create(SERVICE_ACCOUNTS, account, "lab-test")
    program = (
        "from allocator.kube.client import Cluster; from allocator.kube.resource import NODES; "
        "Cluster.from_environment().list(NODES)"
    )
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "robot"},
        "spec": {
            "serviceAccountName": "robot",
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "ask", "image": "python", "command": ["python", "-c", program]}],
        },
    }
    # The account's token Secret (up to 1.23) must be there before the API server admits the Pod.
    wait_until(lambda: lab.cluster().create(PODS, pod, "lab-test"), 10, "the Pod is admitted", retry_on=(ApiError,))
    who = 'User "system:serviceaccount:lab-test:robot" cannot list resource "nodes"'
    wait_until(
        lambda: who.replace('"', "") in lab.logs("robot", "ask", "lab-test").replace('"', ""),
        20,
        "the API server refuses the Pod by its account's name",
        retry_on=(FileNotFoundError,),
    )
    lab.kubectl("delete", "pod", "-n", "lab-test", "robot", "--wait=true", "--timeout=10s")


def test_kubectl_shows_what_a_container_wrote_and_runs_programs_in_it(lab: Lab) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "writer", "namespace": "lab-test"},
        "spec": {
            "nodeName": "node-2",
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {"name": "say", "image": "sh", "command": ["sh", "-c", "echo one; echo two; exec sleep 60"]}
            ],
        },
    }
    lab.ensure_namespace("lab-test")
    wait_until(lambda: lab.cluster().create(PODS, pod, "lab-test"), 10, "the Pod is admitted", retry_on=(ApiError,))
    wait_until(
        lambda: lab.kubectl("logs", "-n", "lab-test", "writer", "--tail=1", check=False).stdout == "two\n",
        10,
        "kubectl logs shows the last line",
    )
    assert lab.kubectl("logs", "-n", "lab-test", "writer").stdout == "one\ntwo\n"
    # Beside the container's program: its input, its output apart, its exit code.
    script = "cat; hostname; echo aside >&2; exit 3"
    done = lab.kubectl(
        "exec", "-i", "-n", "lab-test", "writer", "--", "sh", "-c", script, stdin="given\n", check=False
    )
    assert (done.returncode, done.stdout) == (3, "given\nwriter\n"), done.stderr
    assert "aside\n" in done.stderr
    lab.kubectl("delete", "pod", "-n", "lab-test", "writer", "--wait=true", "--timeout=10s")


def test_a_killed_container_is_restarted_and_seen_unready_meanwhile(lab: Lab, web: list[Object]) -> None:
    pod = on_node(web, "node-3")
    name = pod["metadata"]["name"]
    restarts = pod["status"]["containerStatuses"][0]["restartCount"]
    lab.kill_component(name, "http", "lab-test")

    def ready_again() -> bool:
        status = lab.cluster().get(PODS, name, "lab-test")["status"]["containerStatuses"][0]
        return bool(status["ready"] and status["restartCount"] == restarts + 1)

    wait_until(ready_again, 15, "the container is ready again, counted as restarted")
    assert answers(lab, url_of_pod(pod))


def test_a_killed_node_is_silent_at_once_and_comes_back_with_its_pods(lab: Lab, web: list[Object]) -> None:
    node, pod = lab.node("node-3"), on_node(web, "node-3")
    assert answers(lab, url_of_pod(pod))
    host = node.host.path
    gateway = lab.client().who_has(API_ADDRESS, listen_seconds=0.2)
    node.kill()
    assert not answers(lab, url_of_pod(pod))
    assert not answers(lab, url_of(node.addresses[0]))
    assert namespaces.kill_inside({host}) == 0
    assert not node.processes()
    assert lab.client().who_has(node.addresses[0], listen_seconds=0.2) == set()
    assert answers(lab, url_of_pod(on_node(web, "node-1")))

    node.declare_lost()
    node.revive()

    def running_again() -> bool:
        status = lab.cluster().get(PODS, pod["metadata"]["name"], "lab-test")["status"]
        container = status["containerStatuses"][0]
        return bool(
            container["ready"] and container["restartCount"] > 0 and answers(lab, url_of(status["podIP"], HTTP_PORT))
        )

    wait_until(running_again, 30, "the Pod on the revived node answers")
    assert lab.client().who_has(API_ADDRESS, listen_seconds=0.2) == gateway, "a bridge must not change its address"
    assert lab.client().who_has(node.addresses[0], listen_seconds=0.2) == {node.mac()}


def test_a_node_cut_off_keeps_running_unheard_until_healed(lab: Lab, web: list[Object]) -> None:
    node, pod = lab.node("node-2"), on_node(web, "node-2")
    before = {name: process.pid for name, process in node.processes().items()}
    node.cut()
    assert not answers(lab, url_of_pod(pod))
    assert lab.client().who_has(node.addresses[0], listen_seconds=0.2) == set()
    node.heal()
    wait_until(lambda: answers(lab, url_of_pod(pod)), 10, "the healed node's Pod answers")
    assert {name: process.pid for name, process in node.processes().items()} == before


def test_one_link_goes_down_alone(lab: Lab) -> None:
    node = lab.node("node-2")
    node.link("eth1").down()
    assert lab.client().who_has("10.10.10.202", "eth1", listen_seconds=0.2) == set()
    assert lab.client().who_has("203.0.113.202", "eth0", listen_seconds=0.2) == {node.mac("eth0")}
    node.link("eth1").up()
    wait_until(
        lambda: lab.client().who_has("10.10.10.202", "eth1", listen_seconds=0.1) == {node.mac("eth1")},
        10,
        "the link is back",
    )


@contextmanager
def duplicate_addresses(lab: Lab) -> Iterator[None]:
    owners = [lab.node("node-1").host, lab.node("node-2").host]
    for host in owners:
        host.run_ip(*(f"address add {address}/{length_of(address)} dev eth0" for address in DUPLICATES))
    try:
        yield
    finally:
        for host in owners:
            host.run_ip(*(f"address delete {address}/{length_of(address)} dev eth0" for address in DUPLICATES))


def length_of(address: str) -> int:
    return 128 if ":" in address else 32


def test_who_has_hears_every_answerer(lab: Lab) -> None:
    client = lab.client()
    expected = {lab.node("node-1").mac(), lab.node("node-2").mac()}
    with duplicate_addresses(lab):
        for address in DUPLICATES:
            assert client.who_has(address) == expected
    for address in DUPLICATES:
        assert client.who_has(address, listen_seconds=0.2) == set()


def test_the_neighbour_table_shows_who_the_client_talks_to(lab: Lab) -> None:
    client, node = lab.client(), lab.node("node-1")
    client.forget_neighbours()
    for address in node.addresses:
        answers(lab, url_of(address))
        assert client.neighbours()[address] == node.mac()


def test_a_capture_shows_frames_with_their_times(lab: Lab) -> None:
    client = lab.client()
    before = time.monotonic()
    with client.capture() as capture:
        client.who_has("203.0.113.201", listen_seconds=0.2)
        wait_until(lambda: len(capture.frames) >= 2, 5, "question and answer are captured")
    after = time.monotonic()
    arps = [frame for frame in capture.frames if frame.packet().type == 0x0806]
    assert [frame.outgoing for frame in arps[:2]] == [True, False]
    assert before <= arps[0].at <= arps[1].at <= after


def test_the_outage_meter_finds_nothing_where_there_is_nothing(lab: Lab, web: list[Object]) -> None:
    with lab.client().outage(url_of_pod(on_node(web, "node-1")), rate_per_second=100) as meter:
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() - begun > 1.0, 5, "a second of requests has passed")
    report = meter.report
    assert report.failures == ()
    assert report.requests > 60
    assert report.longest_gap_ms < 250


def test_the_outage_meter_measures_an_outage_of_known_length(lab: Lab, web: list[Object]) -> None:
    node = lab.node("node-2")
    url = url_of_pod(on_node(web, "node-2"))
    with lab.client().outage(url, rate_per_second=100, connect_seconds=0.3) as meter:
        first = time.monotonic()
        wait_until(lambda: time.monotonic() - first > 0.3, 5, "requests succeed for a while")
        cut = node.cut()
        wait_until(
            lambda: time.monotonic() - cut >= 0.5, 5, "the outage has lasted half a second", interval_seconds=0.005
        )
        healed = node.heal()
        wait_until(lambda: time.monotonic() - healed > 1.7, 5, "requests succeed again")
    report = meter.report
    gap = report.longest_gap
    assert gap.begun <= cut + 0.05
    assert gap.ended >= healed
    # Nothing can succeed while the cable is out; afterwards the next request on schedule does, unless the client's
    # kernel had begun to ask for the node's address meanwhile: it asks again a second after it last did.
    assert (healed - cut) * 1000 - 50 <= gap.milliseconds <= (healed - cut) * 1000 + 1250
    assert {failure.reason for failure in report.failures} <= {"connect timed out", "read timed out"}
    assert len(report.failures) >= 20


def test_nothing_is_left_of_a_lab_whose_owner_is_killed() -> None:
    script = (
        "import time\n"
        "from tests.lab.network import Network\n"
        "from tests.lab.processes import Process\n"
        "from pathlib import Path\n"
        "network = Network(); host = network.host('inner'); host.plug(network.lan('inner'), 'eth0')\n"
        "Process(['sleep', '1000'], log=Path('/run/sleep.log'), netns='inner')\n"
        "print('up', flush=True); time.sleep(1000)\n"
    )
    # A second, inner set of namespaces, so that this test can watch it from outside.
    environment = {name: value for name, value in os.environ.items() if name != namespaces.INSIDE}
    owner = subprocess.Popen(
        [sys.executable, "-m", "tests.lab.enter", "--", sys.executable, "-c", script],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"
    inside = processes_of_other_pid_namespaces()
    assert len(inside) >= 3, "init, the owner and its program"
    owner.send_signal(signal.SIGKILL)
    owner.wait(timeout=10)
    wait_until(lambda: not processes_of_other_pid_namespaces(), 10, "every process of the killed lab is gone")
    owner.stdout.close()


def processes_of_other_pid_namespaces() -> list[int]:
    own = Path("/proc/self/ns/pid").stat().st_ino
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "ns/pid").stat().st_ino != own:
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found
