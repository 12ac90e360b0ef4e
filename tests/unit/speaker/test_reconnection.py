"""When a speaker looks at the cluster anew: its way to the others was cut and is back."""

from __future__ import annotations

import pytest

from speaker.netdev.interfaces import Interface
from speaker.reconnection import PAUSE_SECONDS, Reconnection

UP, LOWER_UP, BROADCAST = 0x1, 0x10000, 0x2


class Watched:
    """A reconnection that counts."""

    def __init__(self) -> None:
        self.times = 0
        self.now = 0.0
        self.reconnection = Reconnection("node-1", self._back, now=self._later)

    def _later(self) -> float:
        self.now += PAUSE_SECONDS
        return self.now

    def _back(self) -> None:
        self.times += 1

    def interfaces(self, **carriers: bool) -> None:
        self.reconnection.on_interfaces(
            Interface(
                index=index,
                name=name,
                mac=bytes(6),
                flags=UP | BROADCAST | (LOWER_UP if carrier else 0),
                excluded=name.startswith("cali"),
            )
            for index, (name, carrier) in enumerate(carriers.items())
        )


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_link_that_comes_back_counts_and_the_first_look_does_not(watched: Watched) -> None:
    watched.interfaces(eth0=True, eth1=True)
    watched.interfaces(eth0=False, eth1=True)
    assert watched.times == 0
    watched.interfaces(eth0=True, eth1=True)
    assert watched.times == 1
    watched.interfaces(eth0=True, eth1=True, eth2=True)
    assert watched.times == 2, "the way may be new"


def test_what_never_announces_does_not_count(watched: Watched) -> None:
    watched.interfaces(eth0=True)
    watched.interfaces(eth0=True, cali1234=True)
    assert watched.times == 0


def test_hearing_somebody_after_nobody_counts_once_and_others_coming_and_going_do_not(watched: Watched) -> None:
    for alive in (["node-1", "node-2"], ["node-1"], ["node-1"], ["node-1", "node-2"], ["node-1", "node-2", "node-3"]):
        watched.reconnection.on_alive(alive)
    assert watched.times == 1
    watched.reconnection.on_alive(["node-1", "node-3"])
    assert watched.times == 1


def test_a_link_that_flaps_counts_once_in_a_while() -> None:
    times: list[float] = []
    now = 100.0
    reconnection = Reconnection("node-1", lambda: times.append(now), now=lambda: now)
    for _ in range(50):
        reconnection.on_alive(["node-1"])
        reconnection.on_alive(["node-1", "node-2"])
        now += PAUSE_SECONDS / 10
    assert len(times) == 5
