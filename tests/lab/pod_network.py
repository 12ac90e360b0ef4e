"""A Pod's network: a namespace of its own, joined to its node by a routed cable (no bridge, no NAT)."""

from __future__ import annotations

import ipaddress
import itertools
from dataclasses import dataclass

from tests.lab.network import Host, new_port_name


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """Where a Pod's processes run and which addresses they have."""

    netns: str
    addresses: tuple[str, ...]
    host: Host | None = None

    def close(self) -> None:
        """Remove the Pod's namespace; a Pod in its node's own network leaves nothing behind."""
        if self.host is not None:
            self.host.close()


class PodNetworks:
    """Gives the Pods of one node their networks, with addresses from the node's Pod CIDRs.

    Thread-safe: the only shared state is the counter, and taking its next value is one step.
    """

    def __init__(self, node: Host, pod_cidrs: tuple[str, ...]) -> None:
        self._node = node
        self._cidrs = [ipaddress.ip_network(cidr) for cidr in pod_cidrs]
        # .1 is the node's end of every cable.
        self._next = itertools.count(2)

    def attach(self, uid: str) -> PodNetwork:
        """Make the network of the Pod with this uid."""
        index = next(self._next)
        pod = Host(f"pod-{uid}", router=False)
        # Named as CNI plugins name theirs: speakers are told by name to leave these alone.
        port = new_port_name("veth")
        addresses = [str(cidr[2 + (index - 2) % 250]) for cidr in self._cidrs]
        node_side = [f"link add {port} type veth peer name eth0 netns {pod.name}", f"link set {port} up"]
        pod_side = ["link set eth0 up"]
        for cidr, address in zip(self._cidrs, addresses, strict=True):
            length = cidr.max_prefixlen
            nodad = " nodad" if cidr.version == 6 else ""
            gateway = cidr[1]
            node_side.append(f"address add {gateway}/{length} dev {port}{nodad}")
            node_side.append(f"route add {address}/{length} dev {port}")
            pod_side.append(f"address add {address}/{length} dev eth0{nodad}")
            pod_side.append(f"route add {gateway}/{length} dev eth0")
            pod_side.append(f"route add default via {gateway} dev eth0")
        self._node.run_ip(*node_side)
        pod.run_ip(*pod_side)
        return PodNetwork(pod.name, tuple(addresses), pod)
