"""`admitlb doctor` on a real API server: what it finds in an installation, what it may read, and its bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from allocator.kube.resource import MUTATING_WEBHOOKS, SERVICES
from allocator.objects.names import (
    BGP_PEERS,
    DEFAULT_NAMESPACE,
    L2_ADVERTISEMENTS,
    WEBHOOK_CONFIGURATION,
)
from tests.cluster.installation import Installation, ingress, pool, service
from tests.lab.waiting import wait_until
from tests.unit.commands import manifests

BIN = Path(sys.executable).parent
UNRELATED = {"workloads", "announcements", "services"}
"""Here no workload runs, and so no speaker; and what waits is seen a moment later."""

Object = dict[str, Any]


@pytest.fixture(scope="module")
def admitlb(installed: Installation) -> Installation:
    """Webhooks and reconcilers, a pool and a Service."""
    installed.add_pool(pool("lan", "192.0.2.10-192.0.2.13"))
    installed.cluster.create(L2_ADVERTISEMENTS, manifests.advertisement("all"), DEFAULT_NAMESPACE)
    installed.cluster.create(SERVICES, service("web"), "default")
    installed.wait_assigned("default", "web")
    return installed


def doctor(admitlb: Installation, *words: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    chosen = kubeconfig or admitlb.control_plane.kubeconfig()
    argv: list[str | Path] = [BIN / "admitlb", "doctor", f"--kubeconfig={chosen}", *words]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)


def found(admitlb: Installation, *words: str, kubeconfig: Path | None = None) -> dict[str, list[Object]]:
    """The findings by check."""
    done = doctor(admitlb, "-o", "json", *words, kubeconfig=kubeconfig)
    assert done.stdout, done.stderr
    by_check: dict[str, list[Object]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        by_check.setdefault(finding["check"], []).append(finding)
    return by_check


def test_an_installation_that_serves_has_no_finding_but_for_what_does_not_run_here(admitlb: Installation) -> None:
    by_check = wait_until(
        lambda: by_check if "announcements" in (by_check := found(admitlb)).keys() <= UNRELATED else None,
        40,
        "every condition is written, and the address is not new any more",
    )
    assert {finding["subject"] for finding in by_check["workloads"]} >= {"Deployment controller"}
    assert [finding["subject"] for finding in by_check["announcements"]] == ["IPAllocation 192.0.2.10"]


def test_the_exit_code_is_for_pipelines(admitlb: Installation) -> None:
    assert doctor(admitlb).returncode == 1
    assert doctor(admitlb, "--check=leadership").returncode == 0
    assert doctor(admitlb, "--check=nonsense").returncode == 2
    assert doctor(admitlb, "--check=workloads", "--fail-on=error").returncode == 1


def test_text_names_the_command_that_mends(admitlb: Installation) -> None:
    done = doctor(admitlb, "--check=workloads")
    first, second, *_ = done.stdout.splitlines()
    assert first.startswith("error    ")
    assert second.strip().startswith("kubectl ")
    assert done.stdout.splitlines()[-1].startswith("1 of 1 checks made on Kubernetes v1.")


def test_a_pool_without_advertisement_and_a_webhook_that_is_not_registered_are_found(admitlb: Installation) -> None:
    cluster = admitlb.cluster
    cluster.delete(L2_ADVERTISEMENTS, "all", DEFAULT_NAMESPACE)
    try:
        (finding,) = found(admitlb, "--check=pool-coverage")["pool-coverage"]
        assert finding["subject"] == "IPAddressPool lan"
    finally:
        cluster.create(L2_ADVERTISEMENTS, manifests.advertisement("all"), DEFAULT_NAMESPACE)
    registered = cluster.get(MUTATING_WEBHOOKS, WEBHOOK_CONFIGURATION)
    assert found(admitlb, "--check=webhook-registration") == {}
    # As it is where no webhook has ever run; those that run here write it again.
    for replica in admitlb.webhooks:
        replica.stop()
    bare = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
    cluster.patch(MUTATING_WEBHOOKS, WEBHOOK_CONFIGURATION, bare, content_type="application/json-patch+json")
    try:
        messages = [one["message"] for one in found(admitlb, "--check=webhook-registration")["webhook-registration"]]
        assert any("has no caBundle" in message for message in messages)
    finally:
        bundle = registered["webhooks"][0]["clientConfig"]["caBundle"]
        again = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}]
        cluster.patch(MUTATING_WEBHOOKS, WEBHOOK_CONFIGURATION, again, content_type="application/json-patch+json")
        for number in range(len(admitlb.webhooks)):
            admitlb.restart_webhook(number)


def test_who_may_list_nothing_is_told_of_every_check(admitlb: Installation) -> None:
    by_check = found(admitlb, "--fail-on=error", kubeconfig=admitlb.control_plane.kubeconfig("stranger"))
    assert len(by_check) == json.loads(doctor(admitlb, "-o", "json").stdout)["checks"]
    assert doctor(admitlb, kubeconfig=admitlb.control_plane.kubeconfig("stranger")).returncode == 2
    assert all("was not made: " in one["message"] for findings in by_check.values() for one in findings)


def test_the_bundle_has_no_password(admitlb: Installation, tmp_path: Path) -> None:
    document = {
        "apiVersion": BGP_PEERS.api_version,
        "kind": BGP_PEERS.kind,
        "metadata": {"name": "tor", "namespace": DEFAULT_NAMESPACE},
        "spec": {"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.254", "password": "hunter2"},
    }
    admitlb.control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    bundle = tmp_path / "report.json"
    try:
        doctor(admitlb, f"--bundle={bundle}")
        written = bundle.read_text()
        report = json.loads(written)
        assert report["objects"]["bgppeers"][0]["spec"]["peerAddress"] == "192.0.2.254"
        assert ingress(report["objects"]["services"][0]) == ["192.0.2.10"]
        assert "hunter2" not in written
        assert '"path": "/mutate-v1-service/(token)"' in written
    finally:
        admitlb.cluster.delete(BGP_PEERS, "tor", DEFAULT_NAMESPACE)


def test_without_a_cluster_it_says_so(tmp_path: Path) -> None:
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "x",
                "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "x", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            }
        )
    )
    done = subprocess.run(
        [BIN / "admitlb", "doctor", f"--kubeconfig={nowhere}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "the API server does not answer" in done.stderr
