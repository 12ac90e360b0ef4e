"""What FRR refused is left out as it reads, and nothing else with it."""

from __future__ import annotations

from allocator.bgp.command import Command, bgpd, network
from allocator.bgp.frr_config import Config, Key, Line
from allocator.bgp.route_class import prefix_of
from speaker.bgp.events import Rejected
from speaker.bgp.refusals import Refusals
from tests.unit.bgp.random_inputs import ADDRESSES

NEIGHBOR: Key = ("neighbor", "", "192.0.2.1")
ROUTER: dict[Key, Line] = {("router", ""): "router bgp 64500"}
SESSION: dict[Key, Line] = {
    (*NEIGHBOR, "remote-as"): "remote-as 64501",
    (*NEIGHBOR, "description"): "description rack 4",
}
PREFIX = prefix_of(ADDRESSES[0], 32)
SAID = Rejected("refused", "% no")


def about(setting: str) -> Command:
    return bgpd((), "refused", (*NEIGHBOR, setting))


def left_out(refusals: Refusals, wanted: Config, present: Config) -> Config:
    wanted = wanted.copy()
    refusals.leave_out(wanted, present)
    return wanted


def test_new_session_with_a_refused_line_is_left_out_until_it_reads_otherwise() -> None:
    refusals, present, wanted = Refusals(), Config({**ROUTER}), Config({**ROUTER, **SESSION})
    assert refusals.refuse(about("description"), wanted, present, SAID) == NEIGHBOR
    assert left_out(refusals, wanted, present).lines == ROUTER
    other = Config({**wanted.lines, (*NEIGHBOR, "description"): "description rack 5"})
    assert left_out(refusals, other, present).lines == other.lines
    assert not refusals


def test_refused_line_of_a_running_session_stays_as_it_was() -> None:
    present = Config({**ROUTER, **SESSION})
    wanted = Config({**present.lines, (*NEIGHBOR, "description"): "description rack 5"})
    refusals = Refusals()
    assert refusals.refuse(about("description"), wanted, present, SAID) is None
    assert left_out(refusals, wanted, present).lines == present.lines


def test_refused_removal_of_a_line_does_not_outlive_its_thing() -> None:
    present = Config({**ROUTER, **SESSION})
    wanted = Config({**ROUTER, (*NEIGHBOR, "remote-as"): "remote-as 64501"})
    refusals = Refusals()
    refusals.refuse(about("description"), wanted, present, SAID)
    assert left_out(refusals, wanted, present).lines == present.lines
    assert left_out(refusals, Config({**ROUTER}), present).lines == ROUTER
    assert not refusals


def test_refused_network_costs_itself_only() -> None:
    present, wanted = Config({**ROUTER}), Config({**ROUTER}, {("", PREFIX): "adv-a"})
    refusals = Refusals()
    refusals.refuse(network(wanted, ("", PREFIX), "refused"), wanted, present, SAID)
    assert not left_out(refusals, wanted, present).networks
    moved = Config({**ROUTER}, {("", PREFIX): "adv-b"})
    assert left_out(refusals, moved, present).networks == moved.networks


def test_refused_removal_of_a_network_does_not_outlive_its_router() -> None:
    present = Config({**ROUTER}, {("", PREFIX): "adv-a"})
    refusals = Refusals()
    refusals.refuse(network(Config({**ROUTER}), ("", PREFIX), "refused"), Config({**ROUTER}), present, SAID)
    assert left_out(refusals, Config({**ROUTER}), present).networks == present.networks
    assert not left_out(refusals, Config(), present).networks
    assert not refusals


def test_another_daemon_has_refused_nothing() -> None:
    present, wanted = Config({**ROUTER}), Config({**ROUTER, **SESSION}, {("", PREFIX): "adv-a"})
    refusals = Refusals()
    refusals.refuse(about("description"), wanted, present, SAID)
    refusals.refuse(network(wanted, ("", PREFIX), "refused"), wanted, present, SAID)
    refusals.forget(lambda key: key[0] == "bfd")
    assert refusals
    refusals.forget(lambda key: key[0] != "bfd")
    assert not refusals
