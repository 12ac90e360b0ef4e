"""What is known of a cluster when it is looked at: objects as the API server has them. Pure values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from allocator.kube import resource
from allocator.kube.resource import Resource
from allocator.objects.document import Document, labels_of
from allocator.objects.lease import cluster_time

PODS: Final = Resource("", "v1", "pods", "Pod")
STATIC_PODS: Final = Resource("", "v1", "pods", "static Pod")
"""Pods that a kubelet runs from a file, as far as kube-system shows them; read, and refused, apart from PODS."""
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
DAEMON_SETS: Final = Resource("apps", "v1", "daemonsets", "DaemonSet")
CRDS: Final = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
CILIUM_POOLS: Final = Resource(
    "cilium.io", "v2alpha1", "ciliumloadbalancerippools", "CiliumLoadBalancerIPPool", namespaced=False
)

_APP = "metallb"
_ENDED = ("Failed", "Succeeded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One look at a cluster. `namespace` is the one AdmitLB is installed in, `at` the moment by the local clock.

    A kind that is missing in `objects` could not be read; `unread` says why. Of ConfigMaps and CRDs only those that
    a check names are there. `service_cidrs` is empty where they are not known.
    """

    namespace: str
    at: datetime
    objects: Mapping[Resource, Sequence[Document]]
    unread: Mapping[Resource, str] = field(default_factory=dict)
    service_cidrs: Sequence[str] = ()
    kubernetes: str = ""
    lb_class: str = ""
    take_over_foreign: bool = False
    changing: frozenset[str] = frozenset()
    """Services that changed, came or went while the facts were read: what is held for them is not known."""

    def all(self, kind: Resource) -> Sequence[Document]:
        """Return every object of a kind; nothing where they could not be read."""
        return self.objects.get(kind, ())

    def installed(self, kind: Resource) -> list[Document]:
        """Return those in the installation's namespace."""
        return [one for one in self.all(kind) if one["metadata"].get("namespace") == self.namespace]

    def pods(self, component: str | None = None) -> list[Document]:
        """Return the installation's Pods that have not ended: an evicted one is listed until it is collected."""
        return [
            one
            for one in self.installed(PODS)
            if labels_of(one).get("app") == _APP
            and component in (None, labels_of(one).get("component"))
            and (one.get("status") or {}).get("phase") not in _ENDED
        ]

    def named(self, kind: Resource, name: str, namespace: str | None = None) -> Document | None:
        """Return one object, of the installation's namespace where none is named."""
        within = self.namespace if namespace is None and kind.namespaced else namespace or None
        return next(
            (
                one
                for one in self.all(kind)
                if one["metadata"]["name"] == name and one["metadata"].get("namespace") == within
            ),
            None,
        )

    @property
    def now(self) -> datetime:
        """The cluster's time, by its Leases."""
        return cluster_time(self.installed(resource.LEASES), self.at)


TRUE: Final = frozenset(("1", "t", "T", "true", "TRUE", "True"))
"""What Go's strconv.ParseBool takes for true."""


def containers_of(workload: Document) -> Sequence[dict[str, Any]]:
    """Return the containers of a Pod, or of a workload's Pods."""
    own: Document = workload.get("spec") or {}
    # A Pod has no template: its spec is what that of others holds.
    spec = (own["template"] or {}).get("spec") or {} if "template" in own else own
    return spec.get("containers") or ()


def argument(container: Document, name: str) -> str | None:
    """Return the value of an option of a container's command line: the last one's, `true` for one without a value."""
    words = (*(container.get("command") or ()), *(container.get("args") or ()))
    pairs = [str(word).partition("=") for word in words]
    values = [value if equals else "true" for option, equals, value in pairs if option == name]
    return values[-1] if values else None


def name_of(document: Document) -> str:
    """Return `namespace/name`, or the name of what has no namespace."""
    metadata = document["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])
