"""Nodes as values: what decides whether one may announce."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address, AddressError
from allocator.objects.document import Document, labels_of
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL, OUT_OF_SERVICE_TAINT


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node. A cordoned one announces like any other, as with MetalLB."""

    name: str
    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    network_unavailable: bool = False
    out_of_service: bool = False
    deleted: bool = False
    ready: bool = True
    shutting_down: bool = False
    """Its machine shuts down, as kubelet says beforehand (KEP-2000)."""
    cordoned: bool = False
    internal_ip: str | None = None

    @property
    def ruled_out(self) -> str:
        """Why it may announce nothing, whatever selects it; empty where it may.

        MetalLB speaker/layer2_controller.go, and two signs more.
        """
        signs = (
            (EXCLUDE_FROM_LB_LABEL in self.labels, f"has the label {EXCLUDE_FROM_LB_LABEL}"),
            (self.network_unavailable, "has the condition NetworkUnavailable"),
            (self.out_of_service, f"has the taint {OUT_OF_SERVICE_TAINT}"),
            (self.deleted, "is being deleted"),
        )
        return next((why for given, why in signs if given), "")

    @property
    def may_announce(self) -> bool:
        """Whether nothing about the node itself rules out announcing."""
        return not self.ruled_out

    @property
    def stays(self) -> bool:
        """Whether nothing says that the node is about to go, or has gone."""
        return self.may_announce and self.ready and not self.cordoned


def node_from(document: Document) -> Node:
    """Read a Node; an InternalIP that is not an address is passed over."""
    status: Document = document.get("status") or {}
    listed = status.get("conditions") or ()
    conditions = {each.get("type"): each.get("status") for each in listed}
    taints = (document.get("spec") or {}).get("taints") or ()
    return Node(
        name=document["metadata"]["name"],
        uid=document["metadata"].get("uid") or "",
        labels=dict(labels_of(document)),
        network_unavailable=conditions.get("NetworkUnavailable") == "True",
        out_of_service=any(taint.get("key") == OUT_OF_SERVICE_TAINT for taint in taints),
        deleted="deletionTimestamp" in document["metadata"],
        cordoned=bool((document.get("spec") or {}).get("unschedulable")),
        ready=conditions.get("Ready", "True") == "True",
        shutting_down=any(
            each.get("type") == "Ready"
            and each.get("status") == "False"
            and _SHUTTING_DOWN in (each.get("message") or "")
            for each in listed
        ),
        internal_ip=_internal_ip(status),
    )


_SHUTTING_DOWN = "node is shutting down"
"""What kubelet says in the condition Ready (kubernetes pkg/kubelet/nodeshutdown)."""


def _internal_ip(status: Document) -> str | None:
    for entry in status.get("addresses") or ():
        if entry.get("type") != "InternalIP":
            continue
        try:
            return str(Address.parse(entry.get("address") or ""))
        except AddressError:
            continue
    return None
