"""`admitlb doctor` as it is run: what it prints, and its exit code, with and without rights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from allocator.doctor.catalogue import CHECKS
from tests.unit.commands.lists_api import EVERYTHING, NOTHING, Lists, run


def kube_vip(name: str, **annotations: str) -> dict[str, Any]:
    container = {"name": "x", "image": "ghcr.io/kube-vip/kube-vip:v0.8", "args": ["manager", "--services"]}
    annotated = {f"kubernetes.io/config.{key}": value for key, value in annotations.items()}
    metadata = {"name": name, "namespace": "kube-system", "annotations": annotated}
    return {"metadata": metadata, "spec": {"containers": [container]}}


def doctor(rights: str, folder: Path, *words: str, **api: Any) -> Result:
    return run(rights, folder, "doctor", *words, **api)


@pytest.mark.parametrize("fail_on", ["error", "warning", "note"])
def test_where_no_check_can_be_made_the_exit_code_is_that_of_a_cluster_that_cannot_be_asked(
    fail_on: str, tmp_path: Path
) -> None:
    done = doctor(NOTHING, tmp_path, f"--fail-on={fail_on}")
    assert done.exit_code == 2
    assert done.stdout.count("was not made") == len(CHECKS)
    last = done.stdout.splitlines()[-1]
    assert last == f"0 of {len(CHECKS)} checks made on Kubernetes v1.31.0: {len(CHECKS)} warnings"
    answer = json.loads(doctor(NOTHING, tmp_path, "-o", "json").stdout)
    assert (answer["checks"], answer["made"]) == (len(CHECKS), 0)


def test_how_many_checks_were_made_is_said(tmp_path: Path) -> None:
    done = doctor(EVERYTHING, tmp_path, "--check=foreign-hosts", "--check=kube-proxy")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "2 of 2 checks made on Kubernetes v1.31.0: nothing found"


def test_findings_are_shown_though_the_bundle_cannot_be_written(tmp_path: Path) -> None:
    bundle = tmp_path / "missing" / "report.json"
    done = doctor(EVERYTHING, tmp_path, f"--bundle={bundle}")
    assert done.exit_code == 2
    assert "Deployment controller" in done.stdout
    assert done.stderr == f"Error: --bundle {bundle} cannot be written: No such file or directory\n"
    written = tmp_path / "report.json"
    assert doctor(EVERYTHING, tmp_path, f"--bundle={written}").exit_code == 1
    assert json.loads(written.read_text())["kubernetes"] == "v1.31.0"


def test_of_the_pods_of_kube_system_those_that_a_kubelet_runs_from_a_file_are_looked_at(tmp_path: Path) -> None:
    pods = [kube_vip("kube-vip-cp-1", mirror="1"), kube_vip("kube-vip-of-a-daemonset")]
    done = doctor(EVERYTHING, tmp_path, "--check=load-balancers", "-o", "json", system_pods=pods)
    assert [one["subject"] for one in json.loads(done.stdout)["findings"]] == ["static Pod kube-system/kube-vip-cp-1"]


def _service(version: str) -> dict[str, Any]:
    """One that shows an address of the pool, which no IPAllocation holds."""
    return {
        "metadata": {"name": "web", "namespace": "prod", "resourceVersion": version},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.10"}]}},
    }


@pytest.mark.parametrize(
    ("lists", "judged"),
    [([[_service("1")]], True), ([[_service("1")], [_service("2")]], False), ([[_service("1")], []], False)],
    ids=["stays as it is", "is changed", "is deleted"],
)
def test_only_a_service_that_stays_as_it_is_while_claims_are_read_is_judged_by_them(
    lists: list[Sequence[dict[str, Any]]], judged: bool, tmp_path: Path
) -> None:
    pool: dict[str, Any] = {
        "metadata": {"name": "lan", "namespace": "metallb-system"},
        "spec": {"addresses": ["192.0.2.0/24"]},
    }
    objects: Lists = {"/api/v1/services": lists, "/apis/metallb.io/v1beta1/ipaddresspools": [[pool]]}
    done = doctor(EVERYTHING, tmp_path, "--check", "services", objects=objects)
    assert ("shows 192.0.2.10, which no IPAllocation holds for it" in done.output) is judged
    assert done.exit_code == int(judged)
