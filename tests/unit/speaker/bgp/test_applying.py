"""What stays refused or waits for its turn is reported as long as it does, and no longer; the daemons are played."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from allocator.bgp.command import Daemon, Reset
from allocator.bgp.desired import Difference
from allocator.bgp.inputs import BFDProfile, Password, Peer
from allocator.bgp.route_class import Attributes, Contribution, merged, prefix_of
from allocator.core.addresses import Address
from allocator.core.selectors import Operator, Requirement, Selector
from speaker.bgp.events import Rejected
from speaker.bgp.reports import Snapshot
from tests.unit.speaker.bgp.applying_node import Node
from tests.unit.speaker.bgp.vty_daemons import VtyDaemons, vty_daemons

TOR = Peer(name="tor", my_asn=64512, peer_asn=64513, address=Address.parse("192.0.2.1"), router_id="10.0.0.1")
SPINE = replace(TOR, name="spine", address=Address.parse("192.0.2.2"))
SELECTING = (Selector(frozenset({Requirement("rack", Operator.EXISTS)})),)
PREFIX = prefix_of(Address.parse("198.51.100.1"), 32)
PLAIN = merged([Contribution(Attributes())])
REFUSED = "neighbor 192.0.2.1 description rack 4"


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[VtyDaemons]:
    with vty_daemons(tmp_path) as played:
        yield played


@pytest.fixture
def node(daemons: VtyDaemons) -> Iterator[Node]:
    found = Node(daemons)
    yield found
    found.applying.close()


@pytest.mark.parametrize("then", [[TOR], []], ids=["the edit is taken back", "the peer is deleted"])
def test_reset_that_is_not_wanted_any_more_waits_no_longer(node: Node, then: list[Peer]) -> None:
    node.want(TOR)
    node.permitted = False
    assert node.want(replace(TOR, password=Password("other"))).withheld == (Reset("", TOR.id, "password set"),)
    assert node.want(*then).withheld == ()


def test_session_to_another_address_is_made_at_once_and_the_old_one_ends_in_its_turn(
    daemons: VtyDaemons, node: Node
) -> None:
    node.want(TOR, SPINE)
    node.permitted = False
    moved = replace(TOR, address=Address.parse("192.0.2.9"))
    reset = Reset("", TOR.id, "peerAddress or interface changed")
    assert node.want(moved, SPINE).withheld == (reset,)
    assert "neighbor 192.0.2.9 remote-as 64513" in daemons.commands
    assert node.want(moved).withheld == (reset,), "one that ends for good waits for nobody"
    assert "no neighbor 192.0.2.2" in daemons.commands
    assert "no neighbor 192.0.2.1" not in daemons.commands
    node.permitted = True
    assert node.want(moved).withheld == ()
    assert "no neighbor 192.0.2.1" in daemons.commands


def test_moved_session_that_is_shut_down_ends_at_once(daemons: VtyDaemons, node: Node) -> None:
    node.want(TOR, SPINE)
    node.permitted = False
    assert node.want(replace(TOR, vrf="red", shutdown=True), SPINE).withheld == ()
    assert "no neighbor 192.0.2.1" in daemons.commands


@pytest.mark.parametrize("last", [[TOR], []], ids=["back at its address", "deleted"])
def test_neighbor_that_was_moved_from_is_settled_by_what_comes_after(node: Node, last: list[Peer]) -> None:
    node.want(TOR)
    node.permitted = False
    node.want(replace(TOR, address=Address.parse("192.0.2.9")))
    withheld = node.want(*last).withheld
    # Back at its address, the session in between ends in its turn as well.
    assert [each.neighbor for each in withheld] == ["192.0.2.9"] * len(last)


def test_refusal_is_reported_until_something_else_is_asked_for(daemons: VtyDaemons, node: Node) -> None:
    daemons.refused.add(REFUSED)
    peer = replace(TOR, description="rack 4")
    assert [each.peer for each in node.want(peer).rejected] == ["tor"]
    # Nothing that FRR sees of it: it is not asked again, and refuses it still.
    assert [each.peer for each in node.want(replace(peer, node_selectors=SELECTING)).rejected] == ["tor"]
    assert [each.peer for each in node.want(replace(peer, name="rack-4")).rejected] == ["rack-4"]
    assert node.want(replace(peer, description="rack 5")).rejected == ()
    assert sum(isinstance(event, Rejected) for event in node.events) == 2


def test_refused_router_of_a_session_that_is_gone_is_reported_no_longer(daemons: VtyDaemons, node: Node) -> None:
    daemons.refused.add("router bgp 64512")
    assert len(node.want(TOR).rejected) == 1
    assert node.want(replace(TOR, my_asn=64500)).rejected == ()


def test_prefixes_go_out_though_bfdd_ends_before_their_turn_and_stays_away(daemons: VtyDaemons, node: Node) -> None:
    node.want(TOR)
    daemons.closing.add("profile fast")
    fast = {"fast": BFDProfile(name="fast", receive_milliseconds=50)}
    node.rendering.update(Difference({"tor": replace(TOR, bfd_profile="fast")}, fast, {PREFIX: PLAIN}))
    node.applying.apply()
    assert Daemon.BFDD not in node.applying.links
    # As the driver does, while it tries to connect again.
    node.applying.apply()
    assert any(f"network {PREFIX} route-map" in each for each in daemons.commands)


def test_prefixes_go_out_once_a_refused_router_reads_otherwise(daemons: VtyDaemons, node: Node) -> None:
    daemons.refused.add("router bgp 64512")
    node.rendering.update(Difference({"tor": TOR}, {}, {PREFIX: PLAIN}))
    node.applying.apply()
    assert not any("network" in each for each in daemons.commands)
    assert node.want(replace(TOR, my_asn=64500)).rejected == ()
    assert any(f"network {PREFIX} route-map" in each for each in daemons.commands)


def test_router_that_is_refused_with_another_asn_costs_no_more_than_itself(daemons: VtyDaemons, node: Node) -> None:
    red = replace(SPINE, vrf="red")
    node.want(TOR, red)
    daemons.refused.add("router bgp 64500")
    node.rendering.update(
        Difference({"tor": replace(TOR, my_asn=64500), "spine": red}, {}, {PREFIX: PLAIN}),
    )
    node.applying.apply()
    node.applying.apply()
    assert [each.command for each in node.reports.snapshot(Snapshot(node="node-1")).rejected] == ["router bgp 64500"]
    assert sum(f"network {PREFIX} route-map" in each for each in daemons.commands) == 1
    assert node.want(TOR, red).rejected == ()
    assert sum(f"network {PREFIX} route-map" in each for each in daemons.commands) == 2


@pytest.mark.parametrize(
    ("passwords", "says"),
    [
        (("secret", "secret-2"), "% Unknown command: neighbor 192.0.2.2 password <hidden> (status 2)"),
        (("Unknown", "hunter2"), "% Unknown command: neighbor 192.0.2.2 password <hidden> (status 2)"),
        (("x", "Unknown"), "an answer that is not shown, as it repeats the password (status 2)"),
    ],
)
def test_refused_password_is_not_repeated_nor_known_by_what_is_left_out(
    daemons: VtyDaemons, node: Node, passwords: tuple[str, str], says: str
) -> None:
    command = f"neighbor 192.0.2.2 password {passwords[1]}"
    daemons.refused.add(command)
    daemons.answers[command] = f"% Unknown command: {command}"
    peers = (replace(peer, password=Password(text)) for peer, text in zip((TOR, SPINE), passwords, strict=True))
    assert [each.answer for each in node.want(*peers).rejected] == [says]


@pytest.mark.parametrize(
    ("refused", "removed"),
    [
        ("set community 64512:1 additive", "no route-map adv-"),
        ("set as-path prepend 64512 64512", "no route-map to::192.0.2.1 permit 1"),
        ("receive-interval 50", "no profile fast"),
        ("coalesce-time 1", "no router bgp 64512"),
        ("neighbor 192.0.2.1 timers connect 10", "no neighbor 192.0.2.1"),
    ],
)
def test_half_of_what_is_refused_is_taken_back(daemons: VtyDaemons, node: Node, refused: str, removed: str) -> None:
    """A prefix would go out without the communities that keep it where it is to be."""
    daemons.refused.add(refused)
    attributes = Attributes(communities=frozenset({(64512, 1)}), prepend=2)
    fast = {"fast": BFDProfile(name="fast", receive_milliseconds=50)}
    node.rendering.update(Difference({"tor": TOR}, fast, {PREFIX: merged([Contribution(attributes)])}))
    node.applying.apply()
    assert [each.command for each in node.reports.snapshot(Snapshot(node="node-1")).rejected] == [refused]
    after = daemons.commands[daemons.commands.index(refused) :]
    assert any(each.startswith(removed) for each in after)
