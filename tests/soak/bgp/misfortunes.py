"""What befalls routers, cables, FRR's daemons and speakers, one at a time, each kind before any a second time."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from allocator.objects.names import DEFAULT_NAMESPACE, EXCLUDE_FROM_LB_LABEL, OUT_OF_SERVICE_TAINT
from tests.lab.pod_status import PODS
from tests.lab.routers import BIRD, FRR
from tests.lab.waiting import wait_until
from tests.lab.workloads import DAEMON_SETS
from tests.soak.bgp.place import Place
from tests.soak.random_acts import RandomActs, in_turn

_BACK_SECONDS = 120.0


class Misfortunes(RandomActs):
    """One after the other."""

    def __init__(self, place: Place, *, seed: int, kinds: tuple[str, ...] = (), rest_seconds: float = 4.0) -> None:
        super().__init__("bgp-misfortunes", chance=random.Random(seed + 1), pause_seconds=(0.5, rest_seconds))
        self._place = place
        self._kinds = in_turn(self.chance, kinds or KINDS)

    def _act(self) -> None:
        kind = next(self._kinds)
        _HAPPENS[kind](self)
        self.counts[kind] += 1

    def _restart_bird(self) -> None:
        scope = self._place.of_router(BIRD)
        with self._place.expectation.befalling(scope):
            self._place.routers.bird.stop()
            self._wait(0.2, 3)
            self._place.routers.bird.start()
            self._wait_established(BIRD)

    def _restart_router_frr(self) -> None:
        with self._place.expectation.befalling(self._place.of_router(FRR)):
            self._place.routers.frr.kill("bgpd")
            self._wait(0.2, 3)
            self._place.routers.start_frr()
            self._wait_established(FRR)

    def _cut_router(self) -> None:
        router = self.chance.choice([BIRD, FRR])
        link = self._place.routers.hosts[router].links["eth0"]
        with self._place.expectation.befalling(self._place.of_router(router)):
            link.down()
            self._wait(0.1, 12)
            link.up()
            self._wait_established(router)

    def _cut_node(self) -> None:
        name = self.chance.choice([node for node in self._place.nodes if node != self._place.spared])
        node = self._place.lab.node(name)
        with self._place.expectation.befalling(self._place.of_node(name)):
            node.cut()
            self._wait(0.1, 12)
            node.heal()
            self._wait_established(BIRD, FRR)

    def _kill_daemon(self) -> None:
        name = self.chance.choice(self._place.nodes)
        daemon = self.chance.choice(("bgpd", "zebra", "bfdd"))
        with self._place.expectation.befalling(self._place.of_node(name)):
            self._sigkill(name, daemon)
            self._wait(2, 3)
            self._wait_established(BIRD, FRR)

    def _kill_mgmtd(self) -> None:
        """It has a part in configuring zebra alone."""
        self._sigkill(self.chance.choice(self._place.nodes), "mgmtd")

    def _renew_frr(self) -> None:
        name = self.chance.choice(self._place.nodes)
        pods = self._place.lab.pods(DEFAULT_NAMESPACE, "app=metallb,component=frr")
        (pod,) = (each for each in pods if each["spec"]["nodeName"] == name)
        with self._place.expectation.befalling(self._place.of_node(name)):
            self._place.lab.cluster().delete(PODS, pod["metadata"]["name"], DEFAULT_NAMESPACE)
            self._wait(5, 6)
            self._place.lab.wait_rolled_out(DAEMON_SETS, "frr", timeout_seconds=_BACK_SECONDS)
            self._wait_established(BIRD, FRR)

    def _kill_speaker(self) -> None:
        self._kill_speakers(self.chance.choice(self._place.nodes))

    def _kill_all_speakers(self) -> None:
        self._kill_speakers(*self._place.nodes)

    def _kill_speakers(self, *names: str) -> None:
        scope = replace(self._place.everything, nodes=frozenset(names))
        with self._place.expectation.slow(scope):
            for name in names:
                if (speaker := self._place.speaker(name)) is not None:
                    speaker.sigkill()
            self._wait(2, 3)
            self._place.wait_speakers()

    def _exclude_node(self) -> None:
        name = self.chance.choice(self._place.nodes)
        kubectl = self._place.lab.kubectl
        with self._place.edit(lambda state: replace(state, leaving=state.leaving | {name})):
            kubectl("label", "node", name, f"{EXCLUDE_FROM_LB_LABEL}=")
        self._wait(0, 12)
        with self._place.edit(lambda state: replace(state, leaving=state.leaving - {name})):
            kubectl("label", "node", name, f"{EXCLUDE_FROM_LB_LABEL}-")

    def _taint_node(self) -> None:
        name = self.chance.choice(self._place.nodes)
        kubectl = self._place.lab.kubectl
        with self._place.edit(lambda state: replace(state, leaving=state.leaving | {name})):
            kubectl("taint", "node", name, f"{OUT_OF_SERVICE_TAINT}=nodeshutdown:NoSchedule")
        self._wait(0, 12)
        with self._place.edit(lambda state: replace(state, leaving=state.leaving - {name})):
            kubectl("taint", "node", name, f"{OUT_OF_SERVICE_TAINT}:NoSchedule-")

    def _freeze_api(self) -> None:
        plane = self._place.lab.control_plane
        with self._place.expectation.slow(self._place.everything):
            plane.pause_api()
            try:
                self._wait(1, 5)
            finally:
                plane.resume_api()

    def _sigkill(self, node: str, daemon: str) -> None:
        host = self._place.lab.node(node).host
        for pid in host.run("ip", "netns", "pids", host.name).stdout.split():
            with suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == daemon:
                    os.kill(int(pid), signal.SIGKILL)

    def _wait(self, least_seconds: float, most_seconds: float) -> None:
        threading.Event().wait(self.chance.uniform(least_seconds, most_seconds))

    def _wait_established(self, *routers: str) -> None:
        scope = replace(self._place.everything, routers=frozenset(routers))
        wait_until(
            lambda: self._place.established(scope),
            _BACK_SECONDS,
            f"all sessions of {', '.join(routers)} are up",
            interval_seconds=0.5,
            retry_on=(OSError,),
        )


_HAPPENS: dict[str, Callable[[Misfortunes], None]] = {
    "BIRD restarted": Misfortunes._restart_bird,
    "FRR router restarted": Misfortunes._restart_router_frr,
    "router's cable pulled": Misfortunes._cut_router,
    "node's cables pulled": Misfortunes._cut_node,
    "daemon of a node's FRR killed": Misfortunes._kill_daemon,
    "mgmtd of a node's FRR killed": Misfortunes._kill_mgmtd,
    "FRR of a node renewed": Misfortunes._renew_frr,
    "speaker killed": Misfortunes._kill_speaker,
    "all speakers killed": Misfortunes._kill_all_speakers,
    "node excluded": Misfortunes._exclude_node,
    "node out of service": Misfortunes._taint_node,
    "API server frozen": Misfortunes._freeze_api,
}
KINDS = tuple(_HAPPENS)
