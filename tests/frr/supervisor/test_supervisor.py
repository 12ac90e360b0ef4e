"""What the supervisor does for FRR's daemons, within the limits of the manifest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from speaker.bgp import pod_release
from speaker.frr.daemons import PLANS
from tests.frr.driver.bed import vtysh
from tests.frr.supervisor.frr_pod import NODE_ADDRESS, NODE_ASN, ROUTER_ADDRESS, ROUTER_ASN, SECONDS, Site
from tests.lab.frr_daemons import ROUTER, FrrDaemons
from tests.lab.frr_programs import find_frr
from tests.lab.network import Host
from tests.lab.privileges import can_be_anybody
from tests.lab.waiting import wait_until

PREFIX = "198.51.100.1/32"
GROUP = 70179
SHUTDOWN_COMMUNITY = "(65535,0)"
SETTINGS = tuple(
    Path("/proc/sys/net", name)
    for name in ("ipv4/ip_forward", "ipv4/conf/all/rp_filter", "ipv6/conf/all/forwarding", "ipv6/conf/all/accept_ra")
)


def test_all_daemons_answer_no_port_is_open_and_the_kernel_stays_as_it_is(here: Site) -> None:
    pod = here.pod
    before = kernel_settings(pod.host)
    pod.start_and_wait()

    assert all(pod.answers(plan.name) for plan in PLANS)
    assert pod_release.read(pod.sockets) == pod_release.RELEASE
    assert pod.host.run("ss", "-Htln").stdout == ""
    udp = {line.split()[3].rpartition(":")[2] for line in pod.host.run("ss", "-Huln").stdout.splitlines()}
    assert udp <= {"3784", "3785", "4784", "6784", "7784"}
    assert kernel_settings(pod.host) == before


@pytest.mark.skipif(not can_be_anybody(), reason="in a plain user's namespaces there is one user and one group")
def test_bgpd_has_no_capability_and_sockets_are_the_groups(here: Site) -> None:
    pod = here.pod
    pod.start_and_wait()

    (pid,) = pod.pids("bgpd")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert {fields[name] for name in ("CapEff", "CapPrm", "CapAmb")} == {"0000000000000000"}
    assert "0" not in fields["Uid"].split()
    folder = pod.sockets.stat()
    assert (folder.st_gid, folder.st_mode & 0o777) == (GROUP, 0o770)
    for plan in PLANS:
        found = (pod.sockets / f"{plan.name}.vty").stat()
        assert (found.st_gid, found.st_mode & 0o070) == (GROUP, 0o070)


def test_a_planned_leave_marks_withdraws_and_then_ends_the_session(here: Site) -> None:
    pod, bird = here.pod, here.bird
    pod.start_and_wait()
    vty = pod.connect()
    pod.configure(vty, PREFIX)
    wait_until(lambda: bird.route_count() == 1, SECONDS, "the router has the route")

    pod.container.ask_to_end()
    wait_until(
        lambda: SHUTDOWN_COMMUNITY in bird.route(PREFIX), SECONDS, "the route is marked", interval_seconds=0.01
    )
    marked_at = time.monotonic()
    assert bird.established("node")
    wait_until(lambda: bird.route_count() == 0, SECONDS, "the route is withdrawn", interval_seconds=0.01)
    withdrawn_at = time.monotonic()
    withdrawn_in_session = bird.established("node")
    code = pod.wait_end()

    assert code == 0, pod.log()
    assert withdrawn_in_session, "the route went with the session, not before it"
    assert withdrawn_at - marked_at > 1.0
    assert "planned leave of the node" in bird.ask("show protocols all node") + here.log_of_bird()


def test_a_daemon_that_is_killed_runs_again(here: Site) -> None:
    pod = here.pod
    pod.start_and_wait()

    for plan in PLANS:
        before = pod.pids(plan.name)
        pod.kill(plan.name)
        wait_until(
            lambda plan=plan, before=before: pod.answers(plan.name) and pod.pids(plan.name) != before,  # type: ignore[misc]
            SECONDS,
            f"{plan.name} runs again",
        )

    pod.configure(pod.connect(), PREFIX)
    wait_until(lambda: here.bird.route_count() == 1, SECONDS, "the router has the route")


def test_session_with_bfd_comes_back_after_zebra_was_killed(here: Site, tmp_path: Path) -> None:
    """Also where bgpd finds the new zebra later than bfdd, which is left to chance and is made to happen here."""
    pod, root = here.pod, find_frr("10.3")
    assert root is not None
    # Beside BIRD, which has the usual port, and accepts a session though BFD is down.
    daemons = {**ROUTER, "bgpd": ("-p", "1179")}
    with FrrDaemons(root, netns=here.router.name, logs=tmp_path / "router", daemons=daemons) as router:
        vtysh(
            router,
            *("configure terminal", f"router bgp {ROUTER_ASN}", "no bgp ebgp-requires-policy"),
            *(f"neighbor {NODE_ADDRESS} {each}" for each in (f"remote-as {NODE_ASN}", "passive", "bfd")),
        )
        pod.start_and_wait()
        vty = pod.connect()
        pod.configure(vty, PREFIX)
        for line in ("configure terminal", f"router bgp {NODE_ASN}", f"neighbor {ROUTER_ADDRESS} port 1179"):
            vty.run(line)
        vty.run(f"neighbor {ROUTER_ADDRESS} bfd")
        vty.run("end")

        def is_up() -> bool:
            neighbor = json.loads(vtysh(router, "show bgp neighbors json"))[NODE_ADDRESS]
            return (neighbor["bgpState"], neighbor["peerBfdInfo"]["status"]) == ("Established", "Up")

        wait_until(is_up, SECONDS, "the session is up, and BFD")
        (bgpd,) = pod.pids("bgpd")
        os.kill(bgpd, signal.SIGSTOP)
        try:
            pod.kill("zebra")
            wait_until(lambda: "zebra runs again" in pod.log(), SECONDS, "zebra runs again")
            zebra = pod.connect("zebra")
            wait_until(lambda: "\nbfd " in zebra.run("show zebra client summary").text, SECONDS, "bfdd found zebra")
            wait_until(lambda: not is_up(), SECONDS, "BFD is down")
        finally:
            os.kill(bgpd, signal.SIGCONT)
        wait_until(is_up, SECONDS, "the session is up again, and BFD")


def test_without_a_speaker_prefixes_are_withdrawn_and_sessions_stay(here: Site) -> None:
    """Also while another Pod of the node's network has a connection of its own at a path that reads the same."""
    pod, bird = here.pod, here.bird
    pod.start_and_wait(ADMITLB_FRR_ORPHAN_AFTER="3", ADMITLB_FRR_LEAVE_WAIT="0.1")
    speaker = pod.connect()
    pod.configure(speaker, PREFIX)
    wait_until(lambda: bird.route_count() == 1, SECONDS, "the router has the route")
    time.sleep(5)
    assert bird.route_count() == 1, "a speaker is there"

    with socket_of_another_pod(pod.host):
        speaker.close()
        gone_at = time.monotonic()
        wait_until(lambda: bird.route_count() == 0, SECONDS, "the prefixes are withdrawn")

    assert time.monotonic() - gone_at > 1.5
    wait_until(lambda: "all prefixes are withdrawn; sessions stay" in pod.log(), SECONDS, "that is done")
    assert "until one is there" in pod.log()
    assert bird.established("node")
    again = pod.connect()
    wait_until(
        lambda: "graceful-shutdown" not in again.run("show running-config").text, SECONDS, "the mark is taken back"
    )
    pod.configure(again, PREFIX)
    wait_until(lambda: bird.route_count() == 1, SECONDS, "the next speaker announces again")


def test_routes_of_an_frr_keep_zebra_from_starting_unless_allowed(here: Site) -> None:
    pod = here.pod
    pod.host.run_ip("route add 192.0.2.0/24 via 10.0.1.2 proto 186")

    pod.start()

    assert pod.wait_end() == 1
    assert "192.0.2.0/24" in pod.log()
    assert "--allow-other-frr" in pod.log()
    assert "192.0.2.0/24" in pod.host.run("ip", "route", "show", "proto", "186").stdout
    pod.start_and_wait(ADMITLB_ALLOW_OTHER_FRR="true")


def test_another_frr_on_the_node_keeps_ours_from_starting(here: Site) -> None:
    pod = here.pod
    root = find_frr("10.3")
    assert root is not None
    with FrrDaemons(root, netns=pod.host.name, logs=pod.folder / "other", daemons={"mgmtd": (), "zebra": ()}):
        pod.start()

        assert pod.wait_end() == 1
        assert "another FRR runs on this node: /run/frr/zebra.vty" in pod.log()
    pod.start_and_wait()


def test_a_pod_without_the_images_group_is_told_which(here: Site) -> None:
    if not can_be_anybody():
        pytest.skip("in a plain user's namespaces there is one group")
    pod = here.pod
    pod.spec["securityContext"]["supplementalGroups"] = [1234]

    pod.start()

    assert pod.wait_end() == 1
    assert f"supplementalGroups: [{GROUP}]" in pod.log()


def test_what_an_earlier_pod_left_is_used_again(here: Site) -> None:
    pod = here.pod
    pod.start_and_wait()
    inode = pod.sockets.stat().st_ino
    assert pod.ask_to_end() == 0
    assert (pod.sockets / "bgpd.vty").is_socket(), "the folder and what is in it are never removed"
    assert not pod.answers("bgpd")

    pod.start()
    wait_until(lambda: pod.answers("bgpd"), SECONDS, "bgpd answers")

    assert pod.sockets.stat().st_ino == inode


@contextmanager
def socket_of_another_pod(host: Host) -> Iterator[None]:
    """A process in the node's network, with a file system of its own, listens at bgpd's path and connects there."""
    program = """
import socket, sys
path = "/run/admitlb/metallb-system/bgpd.vty"
with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
    listener.bind(path)
    listener.listen()
    client.connect(path)
    with listener.accept()[0]:
        print("connected", flush=True)
        sys.stdin.read()
"""
    script = 'mount -t tmpfs none /run && mkdir -p /run/admitlb/metallb-system && exec "$0" -c "$1"'
    words = host.argv("unshare", "--mount", "sh", "-c", script, sys.executable, program)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        yield
        assert process.stdin is not None
        process.stdin.close()


def kernel_settings(host: Host) -> dict[str, str]:
    """What of the node's network another program may rely on: settings, addresses, routes."""
    commands = (
        ("ip", "-4", "address"),
        ("ip", "-4", "route", "show", "table", "all"),
        ("ip", "nexthop"),
    )
    found = {" ".join(words): host.run(*words).stdout for words in commands}
    with host.inside():
        return found | {str(path): path.read_text() for path in SETTINGS}
