"""Nodes as values: what the speaker needs to know of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address, AddressError
from allocator.documents import Document, labels_of
from allocator.names import EXCLUDE_FROM_LB_LABEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node. Readiness, cordon and taints are left out: like MetalLB, a node whose kubelet is in trouble keeps
    its addresses while its speaker lives."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    network_unavailable: bool = False
    internal_ip: str | None = None

    @property
    def may_announce(self) -> bool:
        """Whether the node itself rules out announcing (MetalLB speaker/layer2_controller.go, step 3)."""
        return not self.network_unavailable and EXCLUDE_FROM_LB_LABEL not in self.labels


def node_from(document: Document) -> Node:
    """Read a Node; an InternalIP that is not an address is passed over."""
    status: Document = document.get("status") or {}
    return Node(
        name=document["metadata"]["name"],
        labels=dict(labels_of(document)),
        network_unavailable=any(
            condition.get("type") == "NetworkUnavailable" and condition.get("status") == "True"
            for condition in status.get("conditions") or ()
        ),
        internal_ip=_internal_ip(status),
    )


def _internal_ip(status: Document) -> str | None:
    for entry in status.get("addresses") or ():
        if entry.get("type") != "InternalIP":
            continue
        try:
            return str(Address.parse(entry.get("address") or ""))
        except AddressError:
            continue
    return None
