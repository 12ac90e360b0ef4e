"""The controller keeps to the strictest Pod Security level; the speaker departs from it only where it must."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.hardening.pod_security import against_baseline, against_restricted
from tests.unit.manifests.documents import named, shipped


def pod(kind: str, name: str) -> dict[str, Any]:
    template: dict[str, Any] = named(kind, name)["spec"]["template"]["spec"]
    return template


def test_the_controller_is_restricted() -> None:
    assert against_restricted(pod("Deployment", "controller")) == []


def test_the_speaker_departs_from_restricted_in_what_docs_security_says_and_in_nothing_else() -> None:
    assert against_restricted(pod("DaemonSet", "speaker")) == [
        "hostNetwork",
        "pod: runAsUser 0",
        "speaker: capability NET_RAW",
        "speaker: hostPort 7946",
        "speaker: hostPort 9122",
        "speaker: runAsNonRoot",
    ]


def test_the_namespace_is_labelled_for_the_level_its_pods_need() -> None:
    (namespace,) = shipped("Namespace")

    assert against_baseline(pod("DaemonSet", "speaker")) != []
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"hostPID": True}, "hostPID"),
        ({"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}, "volume root: hostPath"),
        ({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}}, "sysctl kernel.msgmax"),
        ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "pod: seccompProfile"),
        ({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}, "pod: appArmorProfile"),
        ({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}}, "pod: seLinuxOptions"),
        ({"containers": [{"name": "a", "securityContext": {"privileged": True}}]}, "a: privileged"),
        ({"containers": [{"name": "a", "securityContext": {"procMount": "Unmasked"}}]}, "a: procMount"),
        ({"containers": [{"name": "a", "ports": [{"containerPort": 1, "hostPort": 1}]}]}, "a: hostPort 1"),
        (
            {"containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}]},
            "a: capability",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_the_check_finds_what_baseline_forbids(change: dict[str, Any], found: str) -> None:
    assert any(line.startswith(found) for line in against_baseline({**pod("Deployment", "controller"), **change}))


@pytest.mark.parametrize(
    "lost", ["allowPrivilegeEscalation", "capabilities"], ids=["privilege escalation", "capabilities"]
)
def test_the_check_finds_what_restricted_demands_of_a_container(lost: str) -> None:
    spec = pod("Deployment", "controller")
    del spec["containers"][0]["securityContext"][lost]

    assert len(against_restricted(spec)) == 1


@pytest.mark.parametrize("lost", ["runAsNonRoot", "seccompProfile"])
def test_the_check_finds_what_restricted_demands_of_a_pod(lost: str) -> None:
    spec = pod("Deployment", "controller")
    del spec["securityContext"][lost]

    assert against_restricted(spec) == [f"reconciler: {lost}", f"webhook: {lost}"]


def test_only_our_own_pods_get_the_token_of_a_service_account() -> None:
    assert [account["automountServiceAccountToken"] for account in shipped("ServiceAccount")] == [False, False]
    for kind, name in (("Deployment", "controller"), ("DaemonSet", "speaker")):
        assert pod(kind, name)["automountServiceAccountToken"] is True


def test_what_the_cluster_depends_on_is_not_evicted_first() -> None:
    assert pod("Deployment", "controller")["priorityClassName"] == "system-cluster-critical"
    assert pod("DaemonSet", "speaker")["priorityClassName"] == "system-node-critical"


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "controller"), ("DaemonSet", "speaker")])
def test_every_container_says_what_it_needs_and_no_processor_limit_delays_it(kind: str, name: str) -> None:
    for container in pod(kind, name)["containers"]:
        resources = container["resources"]
        assert {"cpu", "memory"} == resources["requests"].keys()
        # A limit on processor time would hold heartbeats and admissions back when they matter most.
        assert resources["limits"].keys() == {"memory"}
