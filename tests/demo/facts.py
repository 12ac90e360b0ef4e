"""What the demo finds out, from the API server and from the wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import yaml
from scapy.layers.l2 import ARP

from allocator.kube import resource
from allocator.kube.client import NotFound, Object
from allocator.kube.resource import Resource
from allocator.objects import names
from tests.demo.narration import expect
from tests.lab.capture import Frame
from tests.lab.lab import Lab
from tests.lab.node import Node

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A Service of the demo: the address it must get, from which pool, and where that is announced."""

    namespace: str
    name: str
    address: str
    pool: str
    interface: str

    @property
    def url(self) -> str:
        """Where a client finds the application."""
        return f"http://{self.address}/"


def find(lab: Lab, resource: Resource, name: str, namespace: str | None = None) -> Object | None:
    """Return the object, or None when there is none."""
    try:
        return lab.cluster().get(resource, name, namespace)
    except NotFound:
        return None


def external_ips(lab: Lab, namespace: str, name: str) -> list[str]:
    """Return the addresses the Service's status lists."""
    status = lab.cluster().get(resource.SERVICES, name, namespace)["status"]["loadBalancer"]
    return [entry["ip"] for entry in status.get("ingress") or []]


def holders(lab: Lab, address: str) -> list[tuple[str, str]]:
    """Return the Services on an address as (namespace, name), none when it is free or only kept back."""
    claim = find(lab, names.IP_ALLOCATIONS, address)
    if claim is None or claim["spec"]["state"] == "Cooling":
        return []
    return [(holder["namespace"], holder["name"]) for holder in claim["spec"]["holders"]]


def announcers(lab: Lab, wanted: Wanted) -> list[tuple[Node, str]]:
    """Ask the LAN for the address; return every node that answers, with its hardware address."""
    macs = lab.client().who_has(wanted.address, wanted.interface)
    nodes = {node.mac(wanted.interface): node for node in lab.nodes.values()}
    return [(nodes[mac], mac) for mac in sorted(macs)]


def sole_announcer(lab: Lab, wanted: Wanted) -> tuple[Node, str]:
    """Return the one node that answers. Raises DoesNotHold when there are none or several."""
    found = announcers(lab, wanted)
    answering = ", ".join(node.name for node, _ in found) or "nobody"
    expect(len(found) == 1, f"{answering} answers for {wanted.address}, not exactly one node")
    return found[0]


def gratuitous(frames: Sequence[Frame], address: str, *, since: float) -> Frame | None:
    """Return the first gratuitous ARP for the address after an instant (CLOCK_MONOTONIC seconds)."""
    for frame in frames:
        packet = frame.packet()
        if frame.at > since and ARP in packet and packet[ARP].psrc == packet[ARP].pdst == address:
            return frame
    return None


def excerpt(services: Sequence[Object]) -> str:
    """Return what of `kubectl apply -o yaml` says who the Services are and what they were given."""
    shown = []
    for service in services:
        metadata = service["metadata"]
        annotations = {key: value for key, value in metadata["annotations"].items() if key != _LAST_APPLIED}
        kept = {"annotations": annotations, "name": metadata["name"], "namespace": metadata["namespace"]}
        shown.append(yaml.safe_dump({"metadata": kept, "status": service["status"]}, sort_keys=False) + "[...]")
    return "\n".join(shown)
