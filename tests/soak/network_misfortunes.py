"""What befalls the network between nodes that are sound, and the objects that their speakers go by."""

from __future__ import annotations

from collections.abc import Sequence

from allocator.kube.client import ApiError, NotFound
from allocator.kube.resource import LEASES
from allocator.objects.names import DEFAULT_NAMESPACE, SPEAKER_LEASE_PREFIX
from tests.lab.node import Node
from tests.lab.waiting import wait_until
from tests.lab.workloads import DAEMON_SETS
from tests.soak.befalling import Befalling

_ROLLED_OUT_SECONDS = 120.0
_BRIDGE = "br-soak"


class NetworkMisfortunes(Befalling):
    """Each method is one kind, and leaves everything whole."""

    def pause_lan(self) -> None:
        """Nothing passes for anybody, carriers stay, and the ports come back one after the other."""
        nodes = list(self.place.lab.nodes.values())
        for node in nodes:
            self.lose(node)
            self.place.isolate(node)
        self.happened("LAN paused")
        self.wait(0.5, 3)
        self.chance.shuffle(nodes)
        for node in nodes:
            self.find(node)
            self.happened(f"{node.name}'s ports pass again")
            self.place.rejoin(node)
            self.wait(0, 0.4)

    def lose_one_way(self) -> None:
        """One node hears nothing of another, which hears it."""
        deaf, unheard = self.chance.sample(self.place.announcing, 2)
        rules = [("INPUT", "-s", address) for address in unheard.addresses]
        self._block(deaf, f"{deaf.name} deaf to {unheard.name}", rules)

    def block_one_way(self) -> None:
        """No heartbeat reaches one node, or none leaves it."""
        node = self.victim()
        chain = self.chance.choice(["INPUT", "OUTPUT"])
        self._block(node, f"UDP 7946 blocked at {node.name} ({chain})", [(chain,)])

    def block_both_ways(self) -> None:
        """No heartbeat reaches one node, and none leaves it."""
        node = self.victim()
        self._block(node, f"UDP 7946 blocked at {node.name}", [("INPUT",), ("OUTPUT",)])

    def flap_unrelated(self) -> None:
        """An interface that cannot carry any address comes, loses its carrier now and then, and goes."""
        node = self.victim()
        node.host.run_ip(
            f"link add {_BRIDGE} type bridge",
            f"link add soak0 type veth peer name soak1 master {_BRIDGE}",
            f"address add 172.30.0.1/16 dev {_BRIDGE}",
            f"link set {_BRIDGE} up",
            "link set soak1 up",
        )
        try:
            for _ in range(self.chance.randint(2, 4)):
                node.host.run_ip("link set soak0 up")
                self.happened(f"{node.name}'s bridge with carrier")
                self.wait(0.1, 0.7)
                node.host.run_ip("link set soak0 down")
                self.happened(f"{node.name}'s bridge without carrier")
                self.wait(0.1, 0.7)
        finally:
            node.host.run_ip("link delete soak0", f"link delete {_BRIDGE}")

    def delete_leases(self) -> None:
        """Somebody deletes every speaker's Lease."""
        cluster = self.place.lab.cluster()
        self.happened("Leases deleted")
        for lease in cluster.list(LEASES, DEFAULT_NAMESPACE)["items"]:
            name = lease["metadata"]["name"]
            if name.startswith(SPEAKER_LEASE_PREFIX):
                try:
                    cluster.delete(LEASES, name, DEFAULT_NAMESPACE)
                except NotFound:
                    continue

    def narrow_daemon_set(self) -> None:
        """One node is to have no speaker any more, for some time."""
        node = self.victim()
        others = [other.name for other in self.place.lab.nodes.values() if other is not node]
        self.happened(f"{node.name} left out of the DaemonSet")
        self._place_speakers(others)
        self.wait(1, 4)
        self.happened(f"{node.name} in the DaemonSet again")
        self._place_speakers([*others, node.name])

    def move_to_other_subnet(self) -> None:
        """A node has no subnet with the addresses in it any more, while its own addresses stay, and gets it again."""
        node = self.victim()
        self.happened(f"{node.name} without the subnet")
        self._set_prefixes(node, whole=False)
        self.wait(1, 5)
        self.happened(f"{node.name} with the subnet again")
        self._set_prefixes(node, whole=True)

    def _block(self, node: Node, what: str, rules: Sequence[tuple[str, ...]]) -> None:
        self.place.block_heartbeats(node, rules, blocked=True)
        self.happened(what, by_lease=True)
        try:
            self.wait(1, 20)
        finally:
            self.place.block_heartbeats(node, rules, blocked=False)
            self.happened(f"no more {what}")

    def _place_speakers(self, names: list[str]) -> None:
        def patched() -> bool:
            self.place.place_speakers(names)
            return True

        wait_until(patched, 30, "the DaemonSet is changed", retry_on=(ApiError,))
        self.place.lab.wait_rolled_out(DAEMON_SETS, "speaker", timeout_seconds=_ROLLED_OUT_SECONDS)

    def _set_prefixes(self, node: Node, *, whole: bool) -> None:
        v4, v6 = node.addresses
        (subnet4, subnet6) = self.place.lan_subnets
        if whole:
            node.host.run_ip(
                f"address add {v4}/{subnet4.prefixlen} dev eth0",
                f"address del {v4}/32 dev eth0",
                f"route del {subnet4} dev eth0 proto boot",
                f"address del {v6}/128 dev eth0",
                f"address add {v6}/{subnet6.prefixlen} dev eth0 nodad",
                f"route del {subnet6} dev eth0 proto boot",
            )
        else:
            node.host.run_ip(
                f"address add {v4}/32 dev eth0",
                f"route append {subnet4} dev eth0 proto boot",
                f"address del {v4}/{subnet4.prefixlen} dev eth0",
                f"route append {subnet6} dev eth0 proto boot",
                f"address del {v6}/{subnet6.prefixlen} dev eth0",
                f"address add {v6}/128 dev eth0 nodad",
            )
