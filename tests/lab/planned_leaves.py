"""Every way in which a node leaves as planned, and how it comes back: BGP's routers move away before it goes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from allocator.kube.client import Object
from allocator.kube.resource import NODES
from allocator.objects.names import DEFAULT_NAMESPACE, EXCLUDE_FROM_LB_LABEL, OUT_OF_SERVICE_TAINT
from tests.lab.kubelet import write_node_status
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.pod_status import PODS, timestamp
from tests.lab.workloads import DAEMON_SETS

_ROLL_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class PlannedLeave:
    """`begin` has the node leave, `end` has it come back; where that needs nothing, it comes by itself."""

    begin: Callable[[Lab, Node], None]
    end: Callable[[Lab, Node], None] = lambda _, __: None


def leave_on_cordon(lab: Lab) -> None:
    """Have cordoned nodes leave, too: all speakers are replaced."""
    lab.kubectl("set", "env", "daemonset/speaker", "-n", DEFAULT_NAMESPACE, "ADMITLB_LEAVE_ON_CORDON=true")
    lab.wait_rolled_out(DAEMON_SETS, "speaker", timeout_seconds=_ROLL_SECONDS)


def roll(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `admitlb bgp roll` as an administrator."""
    program = Path(sys.prefix) / "bin" / "admitlb"
    kubeconfig = f"--kubeconfig={lab.control_plane.kubeconfig()}"
    return subprocess.run(
        [program, "bgp", "roll", kubeconfig, *arguments],
        capture_output=True,
        text=True,
        timeout=_ROLL_SECONDS,
        check=False,
    )


def delete_frr(lab: Lab, node: Node) -> str:
    """Delete FRR's Pod, which gets SIGTERM; return its name."""
    pods = lab.pods(DEFAULT_NAMESPACE, "app=metallb,component=frr")
    (name,) = (pod["metadata"]["name"] for pod in pods if pod["spec"]["nodeName"] == node.name)
    lab.cluster().delete(PODS, name, DEFAULT_NAMESPACE)
    return str(name)


def _label(lab: Lab, node: Node) -> None:
    lab.kubectl("label", "node", node.name, f"{EXCLUDE_FROM_LB_LABEL}=")


def _unlabel(lab: Lab, node: Node) -> None:
    lab.kubectl("label", "node", node.name, f"{EXCLUDE_FROM_LB_LABEL}-")


def _taint(lab: Lab, node: Node) -> None:
    # With NoExecute its Pods would go as well; here the node's own sign is looked at.
    lab.kubectl("taint", "node", node.name, f"{OUT_OF_SERVICE_TAINT}=nodeshutdown:NoSchedule")


def _untaint(lab: Lab, node: Node) -> None:
    lab.kubectl("taint", "node", node.name, f"{OUT_OF_SERVICE_TAINT}:NoSchedule-")


def _shut_down(lab: Lab, node: Node) -> None:
    """Say what a kubelet says first (kubernetes pkg/kubelet/nodeshutdown), and end nothing yet."""
    cluster = lab.cluster()
    status = cluster.get(NODES, node.name)["status"]
    others = [each for each in status["conditions"] if each["type"] != "Ready"]
    ready: Object = {
        "type": "Ready",
        "status": "False",
        "reason": "KubeletNotReady",
        "message": "node is shutting down",
        "lastTransitionTime": timestamp(),
    }
    cluster.patch(NODES, node.name, {"status": {"conditions": [*others, ready]}}, subresource="status")


def _boot(lab: Lab, node: Node) -> None:
    write_node_status(lab.cluster(), node.name, addresses=node.addresses, ready=True)


def _cordon(lab: Lab, node: Node) -> None:
    lab.kubectl("cordon", node.name)


def _uncordon(lab: Lab, node: Node) -> None:
    lab.kubectl("uncordon", node.name)


def _delete(lab: Lab, node: Node) -> None:
    delete_frr(lab, node)


def _roll(lab: Lab, node: Node) -> None:
    done = roll(lab, "--apply", "--all", f"--node={node.name}")
    assert done.returncode == 0, done.stdout + done.stderr


BY_SIGN = {
    "the exclude label": PlannedLeave(_label, _unlabel),
    "the out-of-service taint": PlannedLeave(_taint, _untaint),
    "node shutdown": PlannedLeave(_shut_down, _boot),
}
"""Those in which FRR stays, and its sessions with it."""

CORDONED = {"cordon, with --leave-on-cordon": PlannedLeave(_cordon, _uncordon)}
"""After `leave_on_cordon`."""

OF_FRR = {"SIGTERM of FRR's Pod": PlannedLeave(_delete), "admitlb bgp roll": PlannedLeave(_roll)}
"""Those in which FRR ends and another one starts."""
