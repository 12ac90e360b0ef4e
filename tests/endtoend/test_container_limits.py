"""What runs in the lab runs under the limits that its manifests set, enforced by the kernel as on any node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allocator.kube.client import Object
from allocator.objects.names import DEFAULT_NAMESPACE
from tests.lab.lab import Lab
from tests.lab.pod_status import PODS
from tests.lab.privileges import can_be_anybody
from tests.lab.processes import Process
from tests.lab.waiting import wait_until

NOBODY = 65534
NET_RAW = 1 << 13
PROBE = """
import json, os, pathlib, time
def writes(path):
    try:
        pathlib.Path(path, f"probe-{os.getpid()}").write_text("x")
    except OSError as error:
        return error.strerror
    return "written"
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "user": os.getuid(), "group": os.getgid(), "groups": os.getgroups(),
    "capabilities": int(status["CapEff"], 16), "bounds": int(status["CapBnd"], 16),
    "no_new_privileges": int(status["NoNewPrivs"]),
    "root": writes("/"), "var": writes("/var/tmp"), "volume": writes("/mnt/data"),
    "shared memory": writes("/dev/shm"),
}), flush=True)
time.sleep(3600)
"""
CONTEXTS: dict[str, Object] = {
    "free": {},
    "restricted": {
        "runAsNonRoot": True,
        "runAsUser": NOBODY,
        "runAsGroup": NOBODY,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
    "root-with-net-raw": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]},
    },
}

pytestmark = pytest.mark.skipif(
    not can_be_anybody(), reason="only root may start a container as another user; nothing here is shown"
)


@pytest.fixture(scope="module")
def found(lab: Lab) -> Iterator[dict[str, dict[str, Any]]]:
    """What containers under different limits found out about themselves."""
    containers = [
        {
            "name": name,
            "image": "probe",
            "command": ["python", "-c", PROBE],
            "securityContext": context,
            "volumeMounts": [{"name": "data", "mountPath": "/mnt/data"}],
        }
        for name, context in CONTEXTS.items()
    ]
    pod = {
        "metadata": {"name": "limits"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"fsGroup": 4321},
            "containers": containers,
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }
    lab.cluster().create(PODS, pod, "default")
    yield {name: _told(lab, name) for name in CONTEXTS}
    lab.kubectl("delete", "pod", "limits", "--grace-period=0", "--force")


def _told(lab: Lab, name: str) -> dict[str, Any]:
    return wait_until(
        lambda: dict(json.loads(lab.logs("limits", name, "default").splitlines()[0])),
        20,
        f"{name} has told",
        retry_on=(OSError, IndexError, ValueError),
    )


def test_a_restricted_container_is_nobody_and_stays_nobody(found: dict[str, dict[str, Any]]) -> None:
    restricted = found["restricted"]

    assert (restricted["user"], restricted["group"], restricted["groups"]) == (NOBODY, NOBODY, [4321])
    assert (restricted["capabilities"], restricted["bounds"]) == (0, 0)
    assert restricted["no_new_privileges"] == 1


def test_a_read_only_root_leaves_volumes_and_shared_memory_writable(found: dict[str, dict[str, Any]]) -> None:
    restricted = found["restricted"]

    assert {restricted["root"], restricted["var"]} == {"Read-only file system"}
    assert {restricted["volume"], restricted["shared memory"]} == {"written"}


def test_root_keeps_the_one_capability_it_asked_for(found: dict[str, dict[str, Any]]) -> None:
    root = found["root-with-net-raw"]

    assert (root["user"], root["capabilities"], root["bounds"]) == (0, NET_RAW, NET_RAW)


def test_a_container_without_limits_has_none_of_them(found: dict[str, dict[str, Any]]) -> None:
    free = found["free"]

    assert (free["user"], free["no_new_privileges"]) == (0, 0)
    assert free["capabilities"] & NET_RAW


def test_the_components_run_under_the_limits_of_their_manifests(lab: Lab) -> None:
    lab.install()
    processes = {
        name.rsplit("/", maxsplit=1)[-1]: process
        for name, process in lab.processes().items()
        if name.startswith(f"{DEFAULT_NAMESPACE}/")
    }

    assert status(processes["webhook"]) == (NOBODY, 0, 0, 1)
    assert status(processes["reconciler"]) == (NOBODY, 0, 0, 1)
    assert status(processes["speaker"]) == (0, NET_RAW, NET_RAW, 1)


def status(process: Process) -> tuple[int, int, int, int]:
    """Return a process's user, effective capabilities, capability bounds, and whether it can gain no privileges."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return (
        int(fields["Uid"].split()[1]),
        int(fields["CapEff"], 16),
        int(fields["CapBnd"], 16),
        int(fields["NoNewPrivs"]),
    )
