"""What befalls the nodes that announce: one after another, at random, while another one at least stays sound."""

from __future__ import annotations

from collections.abc import Callable

from allocator.objects.names import DEFAULT_NAMESPACE
from tests.lab.control_plane import API_SERVER
from tests.lab.node import Node
from tests.lab.waiting import wait_until
from tests.lab.workloads import DAEMON_SETS
from tests.soak.network_misfortunes import NetworkMisfortunes
from tests.soak.place import Place
from tests.soak.random_acts import RandomActs, in_turn
from tests.soak.witness import Witness

_HANDED_OVER_SECONDS = 20.0
_ROLLED_OUT_SECONDS = 120.0


class Misfortunes(NetworkMisfortunes, RandomActs):
    """Has something happen every few seconds, each kind before any kind a second time."""

    def __init__(
        self, place: Place, witness: Witness, *, seed: int, kinds: tuple[str, ...] = (), rest_seconds: float = 2.0
    ) -> None:
        NetworkMisfortunes.__init__(self, place, witness, seed=seed)
        RandomActs.__init__(self, "misfortunes", chance=self.chance, pause_seconds=(0.2, rest_seconds))
        self._kinds = in_turn(self.chance, kinds or KINDS)

    def _act(self) -> None:
        kind = next(self._kinds)
        _HAPPENS[kind](self)
        self.counts[kind] += 1
        # Who was hurt must be whole again before another is: somebody has to be left to answer. And heard by all:
        # until a kernel has learned where a node is, which takes up to a second, two that have lost each other anew
        # do not find each other sooner.
        self.place.wait_whole()

    def _kill(self) -> None:
        node = self.victim()
        self.lose(node)
        self.happened(f"{node.name} killed", node.kill())
        self.wait(0.5, 3)
        self._boot(node)

    def _kill_without_api(self) -> None:
        plane = self.place.lab.control_plane
        node = self.victim()
        self.happened("API server frozen", api=False)
        plane.pause_api()
        try:
            self.wait(0, 2)
            self.lose(node)
            self.happened(f"{node.name} killed", node.kill())
            self.wait(1, 3)
        finally:
            plane.resume_api()
            self.happened("API server thawed", api=True)
        self._boot(node)

    def _cut(self) -> None:
        node = self.victim()
        self.lose(node)
        self.happened(f"{node.name} cut off by its cables", node.cut())
        self.wait(0.1, 5)
        self.find(node)
        self.happened(f"{node.name} plugged in again", node.heal())

    def _partition(self) -> None:
        node = self.victim()
        self.lose(node)
        self.place.isolate(node)
        self.happened(f"{node.name} partitioned off")
        self.wait(0.1, 5)
        self.find(node)
        self.happened(f"{node.name} joined again")
        self.place.rejoin(node)

    def _cut_lan(self) -> None:
        node = self.victim()
        self.lose(node)
        self.place.isolate(node, "eth0")
        self.happened(f"{node.name} partitioned off on eth0 alone")
        self.wait(2, 6)
        self.find(node)
        self.happened(f"{node.name} joined again")
        self.place.rejoin(node)

    def _deafen(self) -> None:
        pair = self.chance.sample(self.place.announcing, 2)
        names = " and ".join(node.name for node in pair)
        self.place.deafen(pair, deaf=True)
        self.happened(f"{names} deaf to each other")
        self.wait(0.5, 6)
        self.happened(f"{names} hear each other again")
        self.place.deafen(pair, deaf=False)

    def _lose_carrier(self) -> None:
        node = self.victim()
        self.lose(node)
        node.link("eth0").down()
        self.happened(f"{node.name} without carrier")
        self.wait(0.1, 4)
        self.find(node)
        self.happened(f"{node.name} with carrier")
        node.link("eth0").up()

    def _flap(self) -> None:
        node = self.victim()
        for _ in range(self.chance.randint(2, 4)):
            self.lose(node)
            node.link("eth0").down()
            self.happened(f"{node.name} without carrier")
            self.wait(0.05, 0.5)
            self.find(node)
            self.happened(f"{node.name} with carrier")
            node.link("eth0").up()
            self.wait(0.05, 0.5)

    def _drain(self) -> None:
        node = self.victim()
        self.happened(f"{node.name} cordoned")
        self.place.lab.kubectl("cordon", node.name)
        try:
            self.wait(0.2, 1)
            self.happened(f"{node.name}'s speaker told to end")
            speaker = self.place.speaker(node)
            if speaker is not None:
                speaker.terminate(_HANDED_OVER_SECONDS)
            if self.chance.random() < 0.5:
                self.lose(node)
                self.happened(f"{node.name} switched off", node.kill())
                self.wait(0.5, 2)
                self._boot(node)
        finally:
            self.happened(f"{node.name} uncordoned")
            self.place.lab.kubectl("uncordon", node.name)

    def _kill_speaker(self) -> None:
        node = self.victim()
        self.happened(f"{node.name}'s speaker killed")
        if (speaker := self.place.speaker(node)) is not None:
            speaker.sigkill()

    def _freeze_speaker(self) -> None:
        node = self.victim()
        self.happened(f"{node.name}'s speaker frozen")
        if (speaker := self.place.speaker(node)) is not None:
            speaker.sigstop()
            self.wait(0.2, 4)
            self.happened(f"{node.name}'s speaker thawed")
            speaker.sigcont()

    def _roll_out(self) -> None:
        self.happened("rollout of the speakers begins")
        self.place.lab.kubectl("rollout", "restart", "daemonset/speaker", "-n", DEFAULT_NAMESPACE)
        self.place.lab.wait_rolled_out(DAEMON_SETS, "speaker", timeout_seconds=_ROLLED_OUT_SECONDS)
        self.happened("rollout of the speakers done")

    def _freeze_api(self) -> None:
        self.happened("API server frozen", api=False)
        self.place.lab.control_plane.pause_api()
        self.wait(1, 5)
        self.place.lab.control_plane.resume_api()
        self.happened("API server thawed", api=True)

    def _kill_api(self) -> None:
        self.happened("API server killed", api=False)
        self.place.lab.control_plane.kill(API_SERVER)
        self.wait(0, 2)
        # An API server (of 1.20 at least) falls at its start when somebody creates Services meanwhile.
        with self.place.creating:
            self.place.lab.control_plane.start_api()
        self.happened("API server back", api=True)
        wait_until(lambda: not self.place.lab.problems(), 30, "the lab is sound again")

    def _boot(self, node: Node) -> None:
        self.happened(f"{node.name} boots")
        self.find(node)
        node.revive()
        self.happened(f"{node.name} has booted")


_HAPPENS: dict[str, Callable[[Misfortunes], None]] = {
    "node killed": Misfortunes._kill,
    "node killed without API server": Misfortunes._kill_without_api,
    "cables cut": Misfortunes._cut,
    "node partitioned off": Misfortunes._partition,
    "two nodes deaf to each other": Misfortunes._deafen,
    "carrier lost": Misfortunes._lose_carrier,
    "carrier flapping": Misfortunes._flap,
    "node drained": Misfortunes._drain,
    "speaker killed": Misfortunes._kill_speaker,
    "speaker frozen": Misfortunes._freeze_speaker,
    "speakers rolled out": Misfortunes._roll_out,
    "API server frozen": Misfortunes._freeze_api,
    "API server killed": Misfortunes._kill_api,
    "announcing LAN cut": Misfortunes._cut_lan,
    "LAN paused": Misfortunes.pause_lan,
    "one-way loss between two nodes": Misfortunes.lose_one_way,
    "UDP 7946 blocked one way": Misfortunes.block_one_way,
    "UDP 7946 blocked both ways": Misfortunes.block_both_ways,
    "unrelated interface flapping": Misfortunes.flap_unrelated,
    "Leases deleted": Misfortunes.delete_leases,
    "DaemonSet narrowed": Misfortunes.narrow_daemon_set,
    "node in another subnet": Misfortunes.move_to_other_subnet,
}
KINDS = tuple(_HAPPENS)
