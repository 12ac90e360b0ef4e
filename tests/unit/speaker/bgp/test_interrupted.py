"""Whatever FRR refuses, and whenever a daemon ends: once nothing is in the way it has what is wanted, and no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allocator.bgp.command import Command, Daemon, Reset, apply
from allocator.bgp.desired import Desired, Difference
from allocator.bgp.frr_config import Config
from allocator.bgp.rendering import Rendering
from allocator.bgp.route_class import Prefix
from speaker.bgp import applying
from speaker.bgp.applying import Applying
from speaker.bgp.frr_reports import FrrReports
from speaker.bgp.reports import Snapshot
from speaker.bgp.vty import UNKNOWN_COMMAND, Reply, VtyError
from tests.unit.bgp import random_desired
from tests.unit.effort import examples

FINAL = ("removed", "shutdown set")
WORDS = ("router bgp", "neighbor", "network", "profile", "route-map adv", "set community", "remote-as", "description")


@dataclass
class Frr:
    """Both daemons: each carries commands out by the function by which the driver notes them."""

    running: dict[Daemon, Config] = field(default_factory=lambda: {daemon: Config() for daemon in Daemon})
    refuses: Callable[[str], bool] = lambda _: False
    ends_after: int = -1
    """How many commands are carried out before the one at which a daemon ends."""
    missing: frozenset[Daemon] = frozenset()
    wanted: Config = field(default_factory=Config)

    def configure(self, command: Command) -> Reply:
        self.ends_after -= 1
        if self.ends_after == -1:
            raise VtyError("the daemon closed the connection")
        running = self.running[command.daemon]
        for line in command.context[:1]:
            if line.startswith("router bgp") and line not in running.lines.values():
                if self.refuses(line):
                    return Reply(UNKNOWN_COMMAND, "")
                running.lines["router", line.partition(" vrf ")[2]] = line
        if self.refuses(command.text):
            return Reply(UNKNOWN_COMMAND, "")
        apply(running, command, self.wanted)
        return Reply(0, "")


@dataclass
class LinkTo:
    """A connection to one of them."""

    frr: Frr
    daemon: Daemon
    pid: int = 1
    version: str = "10.3"

    def __post_init__(self) -> None:
        if self.daemon in self.frr.missing:
            raise VtyError("no such file")

    def running_config(self) -> Config:
        return self.frr.running[self.daemon].copy()

    def configure(self, command: Command) -> Reply:
        return self.frr.configure(command)

    def leave(self) -> None:
        """Nothing is entered."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Step:
    """What is wanted, and what is in the way of it."""

    desired: Desired
    ends_after: int
    refused: str
    part: int
    bfdd_missing: bool
    may_reset: bool

    def refuses(self, text: str) -> bool:
        """A third of the commands with this word."""
        return self.refused in text and len(text) % 3 == self.part


steps = st.builds(
    Step,
    random_desired.desired,
    st.integers(-1, 30),
    st.sampled_from(WORDS),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(steps, min_size=1, max_size=4), random_desired.desired)
@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_nothing_is_left_over_or_forgotten(
    monkeypatch: pytest.MonkeyPatch, before: list[Step], last: Desired
) -> None:
    frr, rendering, reports, allowed = Frr(), Rendering(), FrrReports(), [True]
    known: set[Prefix] = set()

    def may_reset(reset: Reset) -> bool:
        return allowed[0] or reset.reason in FINAL

    class Node(Applying):
        def _send(self, commands: list[Command], wanted: Config) -> bool:
            frr.wanted = wanted
            return super()._send(commands, wanted)

        def want(self, desired: Desired) -> None:
            prefixes = {prefix: desired.prefixes.get(prefix) for prefix in {*known, *desired.prefixes}}
            known.update(desired.prefixes)
            rendering.update(Difference(desired.sessions, desired.profiles, prefixes))
            for _ in range(3):
                self.connect()
                self.apply()

    def link(daemon: Daemon, _: Path) -> LinkTo:
        return LinkTo(frr, daemon)

    with monkeypatch.context() as patch:
        patch.setattr(applying, "Link", link)
        node = Node(rendering, Path("/nowhere"), report=reports.take, may_reset=may_reset)
        for step in before:
            allowed[0], frr.refuses, frr.ends_after = step.may_reset, step.refuses, step.ends_after
            frr.missing = frozenset({Daemon.BFDD} if step.bfdd_missing else ())
            node.want(step.desired)
        allowed[0], frr.refuses, frr.ends_after, frr.missing = True, lambda _: False, -1, frozenset()
        node.want(last)
    _compare(node, frr, rendering, reports)


def _compare(node: Applying, frr: Frr, rendering: Rendering, reports: FrrReports) -> None:
    """What was refused and reads as it did is not asked for again: of that nothing is known."""
    wanted, bgpd = rendering.config(node.present), frr.running[Daemon.BGPD]
    refused = reports.snapshot(Snapshot(node="node-1")).rejected
    networks, routers = (
        {each.network for each in refused},
        {each.key[1] for each in refused if each.key[:1] == ("router",)},
    )
    expected, found = (
        {key: name for key, name in each.networks.items() if key not in networks and key[0] not in routers}
        for each in (wanted, bgpd)
    )
    assert found == expected
    if not refused:
        assert bgpd.lines | frr.running[Daemon.BFDD].lines == wanted.lines
