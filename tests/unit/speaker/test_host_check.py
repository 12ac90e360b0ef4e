"""Asking the kernels of nodes whose speakers are away: all in turn, and who does not answer is found soon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from speaker.membership import host_check
from speaker.membership.host_check import ASK_SECONDS, GONE_AFTER_SECONDS, MOST_ASKED, HostWatch


class Kernels:
    """Nodes that answer unless they are down, on a clock of the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.down: set[str] = set()
        self.asked: Counter[str] = Counter()
        monkeypatch.setattr(host_check, "clock", lambda: self.now)
        monkeypatch.setattr(host_check, "_answering", self._answering)

    def _answering(self, hosts: Mapping[str, str], _: int) -> set[str]:
        self.asked.update(hosts.keys())
        return hosts.keys() - self.down


def watched(kernels: Kernels, count: int) -> tuple[HostWatch, list[frozenset[str]]]:
    watch, gone = HostWatch(7946), list[frozenset[str]]()
    watch.report_to(gone.append)
    watch.watch({f"node-{number}": f"192.0.2.{number}" for number in range(count)})
    return watch, gone


def rounds(watch: HostWatch, kernels: Kernels, seconds: float) -> None:
    for _ in range(round(seconds / ASK_SECONDS)):
        watch._round()
        kernels.now += ASK_SECONDS


def test_few_are_asked_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Kernels(monkeypatch)
    watch, gone = watched(kernels, MOST_ASKED)
    rounds(watch, kernels, 1.0)
    assert set(kernels.asked.values()) == {10}
    kernels.down = {"node-3"}
    rounds(watch, kernels, GONE_AFTER_SECONDS + 2 * ASK_SECONDS)
    assert gone == [frozenset({"node-3"})]
    kernels.down = set()
    rounds(watch, kernels, 2 * ASK_SECONDS)
    assert gone[-1] == frozenset()


def test_many_are_asked_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Kernels(monkeypatch)
    watch, gone = watched(kernels, 200)
    rounds(watch, kernels, 10.0)
    assert kernels.asked.total() == 100 * MOST_ASKED
    assert set(kernels.asked.values()) == {5}
    kernels.down = {"node-7", "node-150"}
    rounds(watch, kernels, 200 * ASK_SECONDS / MOST_ASKED + GONE_AFTER_SECONDS + 2 * ASK_SECONDS)
    assert gone[-1] == kernels.down


def test_a_firewall_that_swallows_all_questions_makes_no_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Kernels(monkeypatch)
    watch, gone = watched(kernels, 200)
    kernels.down = {f"node-{number}" for number in range(200)}
    rounds(watch, kernels, 10.0)
    assert gone[-1] == kernels.down
    before = kernels.asked.total()
    rounds(watch, kernels, 10.0)
    assert kernels.asked.total() - before == 100 * MOST_ASKED


def test_who_is_asked_no_more_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Kernels(monkeypatch)
    watch, gone = watched(kernels, 3)
    kernels.down = {"node-1"}
    rounds(watch, kernels, 1.0)
    watch.watch({"node-0": "192.0.2.0"})
    rounds(watch, kernels, 2 * ASK_SECONDS)
    watch.watch({})
    rounds(watch, kernels, 2 * ASK_SECONDS)
    assert gone == [frozenset({"node-1"}), frozenset()]
