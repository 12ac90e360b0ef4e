"""The component `bgp`: FRR beside the speaker, with what it needs and nothing more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from speaker.frr.__main__ import settings
from speaker.frr.start_checks import GROUP
from speaker.frr.supervisor import Settings
from tests.lab.container_spec import expanded
from tests.lab.frr_image import copy_supervisor
from tests.unit.manifests.documents import ROOT, shipped

COMPONENT = ROOT / "kustomize" / "components" / "bgp"
DOCKERFILE = (ROOT / "Dockerfile.frr").read_text()


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((COMPONENT / name).read_text()))


def frr() -> dict[str, Any]:
    (found,) = (obj for obj in documents("frr.yaml") if obj["kind"] == "DaemonSet")
    return found


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = frr()["spec"]["template"]["spec"]
    return spec


def speaker_pod() -> dict[str, Any]:
    (patch,) = documents("speaker.yaml")
    spec: dict[str, Any] = patch["spec"]["template"]["spec"]
    return spec


def test_no_rollout_touches_a_session_unasked() -> None:
    assert frr()["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_frr_has_the_capabilities_of_its_daemons_and_of_its_start() -> None:
    (container,) = pod()["containers"]
    context = container["securityContext"]

    assert context["capabilities"] == {
        "drop": ["ALL"],
        "add": ["NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE", "SYS_ADMIN", "SETUID", "SETGID", "CHOWN"],
    }
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_frr_cannot_ask_the_api_server_anything_and_has_no_secret() -> None:
    assert pod()["automountServiceAccountToken"] is False
    assert {kind for volume in pod()["volumes"] for kind in volume if kind != "name"} == {"hostPath", "emptyDir"}


def test_the_speaker_gets_no_capability_more() -> None:
    (container,) = speaker_pod()["containers"]

    assert "securityContext" not in container
    assert set(speaker_pod()["securityContext"]) == {"supplementalGroups"}


def test_both_pods_share_one_group_with_the_image() -> None:
    (number,) = re.findall(rf"groupadd --system --gid (\d+) {GROUP}\b", DOCKERFILE)

    assert pod()["securityContext"]["supplementalGroups"] == [int(number)]
    assert speaker_pod()["securityContext"]["supplementalGroups"] == [int(number)]


def test_both_pods_see_the_sockets_at_one_path_and_the_speaker_reads_only() -> None:
    def mounted(spec: dict[str, Any]) -> tuple[str, str, bool]:
        (volume,) = (each for each in spec["volumes"] if "hostPath" in each)
        (container,) = spec["containers"]
        (mount,) = (each for each in container["volumeMounts"] if each["name"] == volume["name"])
        return volume["hostPath"]["path"], mount["mountPath"], mount.get("readOnly", False)

    assert mounted(pod()) == ("/run/admitlb", "/run/admitlb", False)
    assert mounted(speaker_pod()) == ("/run/admitlb", "/run/admitlb", True)


def test_a_variable_refers_to_those_before_it_only() -> None:
    """Kubernetes expands no others, and kustomize puts those of a patch before all that are there."""
    for spec in (pod(), speaker_pod()):
        (container,) = spec["containers"]
        known: set[str] = set()
        for entry in container.get("env", ()):
            assert set(re.findall(r"\$\((\w+)\)", entry.get("value", ""))) <= known
            known.add(entry["name"])


def test_there_is_time_for_a_planned_leave() -> None:
    (container,) = pod()["containers"]
    (wait,) = (float(entry["value"]) for entry in container["env"] if entry["name"] == "ADMITLB_FRR_LEAVE_WAIT")

    assert pod()["terminationGracePeriodSeconds"] >= wait + 15


def test_what_the_manifest_sets_is_what_the_supervisor_takes() -> None:
    (container,) = pod()["containers"]
    variables: dict[str, str] = {}
    for entry in container["env"]:
        variables[entry["name"]] = expanded(entry.get("value", "lb"), variables)

    found = settings([expanded(word, variables) for word in container["args"]], variables)

    assert found == Settings(
        sockets=Path("/run/admitlb/lb"), orphan_after_seconds=3600, leave_wait_seconds=2, allow_other_frr=False
    )


def test_frr_runs_where_the_speaker_runs() -> None:
    (speaker,) = (obj for obj in shipped("DaemonSet") if obj["metadata"]["name"] == "speaker")
    beside = speaker["spec"]["template"]["spec"]

    for field in ("nodeSelector", "tolerations", "hostNetwork", "priorityClassName"):
        assert pod()[field] == beside[field]


def test_metrics_of_bgp_are_found_by_the_label_and_the_port_name_of_all_others() -> None:
    (service,) = documents("monitoring-service.yaml")
    ports = {port["containerPort"] for container in speaker_pod()["containers"] for port in container["ports"]}

    assert service["metadata"]["labels"]["app"] == "metallb"
    assert [port["name"] for port in service["spec"]["ports"]] == ["monitoring"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports


def test_the_files_of_the_image_are_all_that_the_supervisor_imports(tmp_path: Path) -> None:
    """Run by a Python that has the standard library and what the Dockerfile copies."""
    copy_supervisor(tmp_path)

    done = subprocess.run(
        [sys.executable, "-S", "-E", "-s", "-m", "speaker.frr", "--help"],
        cwd=tmp_path / "usr/lib/admitlb",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "--frr-orphan-after" in done.stdout


def test_without_the_component_nothing_knows_of_frr() -> None:
    workloads = yaml.safe_dump_all([*shipped("DaemonSet"), *shipped("Deployment"), *shipped("Service")])
    overlays = ROOT / "kustomize" / "overlays"
    named = [path.parent.name for path in overlays.glob("*/kustomization.yaml") if "bgp" in path.read_text()]

    assert "frr" not in workloads.lower()
    assert "hostPath" not in workloads
    assert named == ["bgp"]
