"""Binds Pods to nodes: to the one they name or select, else to the one with the fewest siblings."""

from __future__ import annotations

import threading
from collections import Counter

from allocator.kube.client import ApiError, Cluster, Object
from allocator.kube.reflector import Reflector
from allocator.kube.resource import NODES
from allocator.process.logs import EventLog
from tests.lab.pod_status import PODS

log = EventLog("lab.scheduler")
_RETRY_SECONDS = 0.25


class Scheduler:
    """A thread that binds what is unbound whenever `poke` says that Pods changed.

    `_chosen`, the thread's own, remembers by uid what it bound until the mirror shows it too: a round that
    starts before would else put the next sibling on the same node.
    """

    def __init__(self, cluster: Cluster, pods: Reflector) -> None:
        self._cluster = cluster
        self._pods = pods
        self._chosen: dict[str, str] = {}
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lab-scheduler", daemon=True)

    def start(self) -> None:
        """Begin binding."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._changed.set()
        self._thread.join(timeout=10)

    def poke(self) -> None:
        """Say that a Pod changed."""
        self._changed.set()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        failed = False
        while True:
            self._changed.wait(_RETRY_SECONDS if failed else None)
            if self._stopping.is_set():
                return
            self._changed.clear()
            try:
                failed = not self._bind_all()
            except ApiError as error:
                log.debug("bind.refused", error=error)
                failed = True

    def _bind_all(self) -> bool:
        """Bind every unbound Pod; tell whether all found a node."""
        pods = [pod for pod in self._pods.items() if not _ending(pod)]
        unbound = [pod for pod in pods if not self._node_of(pod)]
        self._chosen = {
            uid: self._chosen[uid]
            for uid in (pod["metadata"]["uid"] for pod in pods if not pod["spec"].get("nodeName"))
            if uid in self._chosen
        }
        if not unbound:
            return True
        nodes = [node for node in self._cluster.list(NODES)["items"] if not node["spec"].get("unschedulable")]
        siblings = Counter((_owner(pod), self._node_of(pod)) for pod in pods)
        everyone = Counter(self._node_of(pod) for pod in pods)
        all_bound = True
        for pod in sorted(
            unbound, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"])
        ):
            owner = _owner(pod)
            fitting = [node["metadata"]["name"] for node in nodes if _fits(pod, node)]
            if not fitting:
                all_bound = False
                continue
            chosen = min(fitting, key=lambda name: (siblings[owner, name], everyone[name], name))
            siblings[owner, chosen] += 1
            everyone[chosen] += 1
            self._bind(pod, chosen)
        return all_bound

    def _node_of(self, pod: Object) -> str | None:
        return pod["spec"].get("nodeName") or self._chosen.get(pod["metadata"]["uid"])

    def _bind(self, pod: Object, node: str) -> None:
        metadata = pod["metadata"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            self._cluster.create_subresource(PODS, metadata["name"], "binding", binding, metadata["namespace"])
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            # Deleted, or bound by somebody else, before the mirror told.
            log.debug("bind.too_late", pod=metadata["name"], error=error)
        self._chosen[metadata["uid"]] = node


def _ending(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _owner(pod: Object) -> str:
    owners = pod["metadata"].get("ownerReferences") or []
    return str(owners[0]["uid"]) if owners else ""


def _fits(pod: Object, node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    selector = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if affinity:
        # A Pod of a DaemonSet belongs on its node whatever state that is in.
        return any(_matches(term, node) for term in affinity["nodeSelectorTerms"])
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _matches(term: Object, node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    requirements = [(each, {"metadata.name": node["metadata"]["name"]}) for each in term.get("matchFields") or []]
    requirements += [(each, labels) for each in term.get("matchExpressions") or []]
    return bool(requirements) and all(_holds(requirement, values) for requirement, values in requirements)


def _holds(requirement: Object, values: dict[str, str]) -> bool:
    key, operator, wanted = requirement["key"], requirement["operator"], requirement.get("values") or []
    return {
        "In": values.get(key) in wanted,
        "NotIn": values.get(key) not in wanted,
        "Exists": key in values,
        "DoesNotExist": key not in values,
    }[operator]
