"""What is known of a cluster when it is looked at: objects as the API server has them. Pure values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from allocator.kube import resource
from allocator.kube.resource import Resource
from allocator.kube.timestamps import read_time
from allocator.objects.document import Document

PODS: Final = Resource("", "v1", "pods", "Pod")
STATIC_PODS: Final = Resource("", "v1", "pods", "static Pod")
"""Pods that a kubelet runs from a file, as far as kube-system shows them; read, and refused, apart from PODS."""
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
DAEMON_SETS: Final = Resource("apps", "v1", "daemonsets", "DaemonSet")
CILIUM_POOLS: Final = Resource(
    "cilium.io", "v2alpha1", "ciliumloadbalancerippools", "CiliumLoadBalancerIPPool", namespaced=False
)

_WRONG_CLOCK = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One look at a cluster. `namespace` is the one AdmitLB is installed in, `at` the moment by the local clock.

    A kind that is missing in `objects` could not be read; `unread` says why. Of ConfigMaps only those that a check
    names are there. `service_cidrs` is empty where they are not known.
    """

    namespace: str
    at: datetime
    objects: Mapping[Resource, Sequence[Document]]
    unread: Mapping[Resource, str] = field(default_factory=dict)
    service_cidrs: Sequence[str] = ()
    kubernetes: str = ""
    lb_class: str = ""
    take_over_foreign: bool = False

    def all(self, kind: Resource) -> Sequence[Document]:
        """Return every object of a kind; nothing where they could not be read."""
        return self.objects.get(kind, ())

    def installed(self, kind: Resource) -> list[Document]:
        """Return those in the installation's namespace."""
        return [one for one in self.all(kind) if one["metadata"].get("namespace") == self.namespace]

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
        """The cluster's time: the latest renewal of a Lease, unless that is long ago by the local clock.

        The clock of the machine that asks may be wrong by more than a Lease lasts.
        """
        renewed = [moment for one in self.installed(resource.LEASES) if (moment := renewal(one)) is not None]
        latest = max(renewed, default=self.at)
        return latest if self.at - latest < _WRONG_CLOCK else self.at


def renewal(lease: Document) -> datetime | None:
    """Return when a Lease was renewed last; None where it does not say."""
    text = (lease.get("spec") or {}).get("renewTime")
    try:
        return read_time(text) if text else None
    except (TypeError, ValueError):
        return None


def name_of(document: Document) -> str:
    """Return `namespace/name`, or the name of what has no namespace."""
    metadata = document["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])
