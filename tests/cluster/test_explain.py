"""`admitlb explain` and `admitlb pools`, as a person at a terminal uses them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, SERVICE_L2_STATUSES
from tests.cluster.installation import Installation, ingress, pool, service
from tests.lab.waiting import wait_until

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def admitlb(installed: Installation) -> Iterator[Installation]:
    """AdmitLB with a pool of two addresses, both held, and one that is used on request alone."""
    cluster = installed.cluster
    cluster.create(IP_ADDRESS_POOLS, pool("small", "192.0.2.10-192.0.2.11"), DEFAULT_NAMESPACE)
    installed.add_pool(pool("reserved", "198.51.100.0/30", autoAssign=False))
    cluster.create(SERVICES, service("web"), "default")
    shared = {"metallb.io/allow-shared-ip": "k", "metallb.io/loadBalancerIPs": "192.0.2.11"}
    cluster.create(SERVICES, service("http", shared), "default")
    cluster.create(SERVICES, service("https", shared, ports=[{"port": 443, "protocol": "TCP"}]), "default")
    for name in ("web", "http", "https"):
        installed.wait_assigned("default", name)
    cluster.create(SERVICES, service("late"), "default")
    yield installed
    # The last test ended the reconcilers.
    for number in range(2):
        installed.restart_reconciler(number)


def run(admitlb: Installation, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KUBECONFIG": str(admitlb.control_plane.kubeconfig()), "PATH": f"{BIN}:{os.defpath}"}
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60, env=environment)


def on_terminal(admitlb: Installation, *argv: str) -> str:
    """Run a command on a terminal of 150 columns and return what is on it, without colours."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 150, 0, 0))
    environment = {**os.environ, "KUBECONFIG": str(admitlb.control_plane.kubeconfig()), "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    subprocess.run([BIN / argv[0], *argv[1:]], check=True, stdin=slave, stdout=slave, timeout=60, env=environment)
    os.close(slave)
    printed = b""
    # What was written before the last writer closed is still there; then reading fails.
    with suppress(OSError):
        while chunk := os.read(master, 65536):
            printed += chunk
    os.close(master)
    return re.sub(r"\x1b\[[0-9;]*m", "", printed.decode()).replace("\r\n", "\n")


def explained(admitlb: Installation, name: str) -> dict[str, Any]:
    done = run(admitlb, "admitlb", "explain", f"default/{name}", "-o", "json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_pending_service_is_told_every_pool_considered_and_why_each_said_no(admitlb: Installation) -> None:
    told = explained(admitlb, "late")
    assert (told["state"], told["addresses"]) == ("Pending", [])
    assert told["considered"] == [
        {"pool": "reserved", "reason": "only on request (autoAssign: false)"},
        {"pool": "small", "reason": "full"},
    ]
    assert "no IPv4 address left" in told["message"]
    wait_until(
        lambda: "AllocationFailed" in [event["reason"] for event in explained(admitlb, "late")["events"]],
        10,
        "the Event that says so is shown",
    )
    text = run(admitlb, "admitlb", "explain", "default/late").stdout
    assert text.count("no IPv4 address left") == 1, text


def test_the_pool_of_an_address_that_another_service_holds_is_called_eligible(admitlb: Installation) -> None:
    admitlb.cluster.create(SERVICES, service("second", {"metallb.io/loadBalancerIPs": "192.0.2.10"}), "default")
    told = explained(admitlb, "second")
    assert "192.0.2.10 is held by default/web" in told["message"]
    assert {"pool": "small", "reason": "eligible, it has 192.0.2.10"} in told["considered"]


def test_a_holder_is_told_address_pool_state_and_since_when(admitlb: Installation) -> None:
    told = explained(admitlb, "web")
    (held,) = told["addresses"]
    assert (told["state"], told["message"], told["considered"]) == ("Assigned", "", [])
    assert (held["ip"], held["pool"], held["state"], held["sharedWith"]) == ("192.0.2.10", "small", "Bound", [])
    assert held["since"].startswith("20")
    assert (held["node"], held["interfaces"]) == ("", [])


def test_sharers_are_told_of_one_another(admitlb: Installation) -> None:
    assert explained(admitlb, "http")["addresses"][0]["sharedWith"] == ["default/https"]


def test_who_announces_is_read_from_the_allocation(admitlb: Installation) -> None:
    announced = {"node": "node-2", "interfaces": ["eth0"], "since": "2026-01-01T00:00:00Z"}
    admitlb.cluster.patch(IP_ALLOCATIONS, "192.0.2.10", {"status": {"announcedBy": announced}}, subresource="status")
    (held,) = explained(admitlb, "web")["addresses"]
    assert (held["node"], held["interfaces"], held["announcedSince"]) == ("node-2", ["eth0"], "2026-01-01T00:00:00Z")
    text = run(admitlb, "admitlb", "explain", "default/web").stdout
    assert "announced by node-2 on eth0 since 2026-01-01T00:00:00Z" in text


def test_who_announces_is_read_from_the_service_l2_status_where_the_allocation_does_not_say(
    admitlb: Installation,
) -> None:
    labels = {"metallb.io/service-name": "http", "metallb.io/service-namespace": "default"}
    written = {
        "apiVersion": SERVICE_L2_STATUSES.api_version,
        "kind": SERVICE_L2_STATUSES.kind,
        "metadata": {"name": "l2-test", "namespace": DEFAULT_NAMESPACE, "labels": labels},
    }
    admitlb.cluster.create(SERVICE_L2_STATUSES, written, DEFAULT_NAMESPACE)
    status = {
        "node": "node-3",
        "serviceName": "http",
        "serviceNamespace": "default",
        "interfaces": [{"name": "eth1"}],
    }
    admitlb.cluster.patch(SERVICE_L2_STATUSES, "l2-test", {"status": status}, DEFAULT_NAMESPACE)
    (held,) = explained(admitlb, "http")["addresses"]
    assert (held["node"], held["interfaces"]) == ("node-3", ["eth1"])


def test_a_service_of_another_type_is_none_of_ours(admitlb: Installation) -> None:
    told = run(admitlb, "admitlb", "explain", "default/kubernetes")
    assert "default/kubernetes: Ignored\n  type ClusterIP needs no load balancer address" in told.stdout


def test_pools_shows_the_live_use_as_the_pools_own_status_does(admitlb: Installation) -> None:
    done = run(admitlb, "admitlb", "pools", "-o", "json")
    assert json.loads(done.stdout) == {
        "pools": [
            {"name": "reserved", "assignedIPv4": 0, "assignedIPv6": 0, "availableIPv4": 4, "availableIPv6": 0},
            {"name": "small", "assignedIPv4": 2, "assignedIPv6": 0, "availableIPv4": 0, "availableIPv6": 0},
        ],
        "conflicts": [],
    }
    assert (
        "small     IPv4    2         0          ████████████████████  100%" in run(admitlb, "admitlb", "pools").stdout
    )


def test_on_a_terminal_an_explanation_is_a_frame_of_tables(admitlb: Installation) -> None:
    shown = on_terminal(admitlb, "admitlb", "explain", "default/late")
    assert shown.startswith("╭─ default/late  Pending ─")
    assert re.search(r"│ POOL CONSIDERED +OUTCOME +│", shown)
    assert re.search(r"│ small +full +│", shown)


def test_on_a_terminal_pools_have_bars_of_use(admitlb: Installation) -> None:
    assert re.search(r"^small +IPv4 +2 +0 +█{20} +100%", on_terminal(admitlb, "admitlb", "pools"), re.M)


def test_what_is_missing_or_out_of_reach_is_said_in_one_line(admitlb: Installation, tmp_path: Path) -> None:
    missing = run(admitlb, "admitlb", "explain", "default/nobody")
    assert (missing.returncode, missing.stdout, missing.stderr) == (
        1,
        "",
        "Error: there is no Service default/nobody\n",
    )
    config = yaml.safe_load(admitlb.control_plane.kubeconfig().read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    stray = tmp_path / "kubeconfig"
    stray.write_text(yaml.safe_dump(config))
    away = run(admitlb, "admitlb", "pools", f"--kubeconfig={stray}")
    assert (away.returncode, away.stdout) == (2, "")
    assert away.stderr.startswith("Error: the API server")
    assert len(away.stderr.splitlines()) == 1


def test_kubectl_finds_the_same_as_its_plugin_and_completes_services(admitlb: Installation) -> None:
    kubectl = str(admitlb.control_plane.binaries.kubectl)
    plugin = run(admitlb, kubectl, "admitlb", "explain", "default/web", "-o", "json")
    assert json.loads(plugin.stdout)["addresses"][0]["ip"] == "192.0.2.10"
    completed = run(admitlb, "kubectl_complete-admitlb", "explain", "default/ht")
    assert completed.stdout.splitlines() == ["default/http", "default/https", ":4"]


def test_the_namespace_is_given_as_kubectl_takes_it(admitlb: Installation, tmp_path: Path) -> None:
    kubectl = str(admitlb.control_plane.binaries.kubectl)
    shown = run(admitlb, kubectl, "admitlb", "explain", "-n", "default", "web", "-o", "json")
    assert json.loads(shown.stdout)["addresses"] == explained(admitlb, "web")["addresses"]
    completed = run(admitlb, "kubectl_complete-admitlb", "explain", "-n", "default", "ht")
    assert completed.stdout.splitlines() == ["http", "https", ":4"]

    config = yaml.safe_load(admitlb.control_plane.kubeconfig().read_text())
    config["contexts"][0]["context"]["namespace"] = "kube-public"
    elsewhere = tmp_path / "kubeconfig"
    elsewhere.write_text(yaml.safe_dump(config))
    missing = run(admitlb, "admitlb", "explain", "web", f"--kubeconfig={elsewhere}")
    assert missing.stderr == "Error: there is no Service kube-public/web\n"
    twice = run(admitlb, "admitlb", "explain", "default/web", "-n", "kube-public")
    assert "default/web is not in namespace kube-public: leave one of the two out" in twice.stderr


def test_a_service_that_no_reconciler_has_seen_is_told_what_is_due_to_it(admitlb: Installation) -> None:
    """The last test of the module: it ends the reconcilers."""
    for process in admitlb.reconcilers:
        # Asked to end, it gives up its lease: nobody waits for that after this module.
        process.terminate()
    request = {"metallb.io/address-pool": "reserved"}
    admitlb.cluster.create(SERVICES, service("orphan", request), "default")
    admitlb.cluster.delete(IP_ALLOCATIONS, "198.51.100.0")
    told = explained(admitlb, "orphan")
    assert not ingress(admitlb.service("default", "orphan"))
    assert told["state"] == "Pending"
    assert "198.51.100.0 from pool reserved is free for it" in told["message"]
