"""An interface that is dead beyond its cable: the addresses of its LAN go elsewhere, though the node is heard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.membership.lans import LAN_INTERVALS, MOST_HEARD, MOST_LANS, Lans
from speaker.membership.link import Link, Subnet
from speaker.membership.state_sync import AdvertisedState
from tests.unit.speaker.judge import BOUND_SECONDS
from tests.unit.speaker.simulated import Cluster, lan_links
from tests.unit.speaker.test_faults import ADDRESSES, held_by, holders, moved
from tests.unit.speaker.walker import CALM_SECONDS

LAN = Subnet.parse("192.0.2.0/24")
INTERVAL, DEAD_AFTER = 0.1, 0.5


def on_two_lans(nodes: int, *, addresses: int = 20) -> Cluster:
    """A cluster whose heartbeats go over one LAN, and whose addresses are in another."""
    names = [f"node-{number}" for number in range(1, nodes + 1)]
    cluster = Cluster(names, ADDRESSES[:addresses])
    for number, name in enumerate(names, 1):
        cluster.links(name, lan_links(number))
    cluster.run(CALM_SECONDS)
    return cluster


@pytest.mark.parametrize("nodes", [3, 5])
def test_a_dead_port_to_the_announcing_lan_moves_its_addresses_and_they_stay_when_it_is_back(nodes: int) -> None:
    cluster = on_two_lans(nodes)
    before, own = holders(cluster), held_by(cluster, "node-1")
    cluster.lan_out.add("node-1")
    cluster.run(BOUND_SECONDS)
    during = holders(cluster)
    assert moved(before, during) == own
    assert own
    cluster.run(20.0)
    assert holders(cluster) == during
    cluster.heal()
    cluster.run(CALM_SECONDS)
    assert holders(cluster) == during
    assert cluster.members["node-1"].membership.liveness(cluster.now).cut_off_links == frozenset()


def test_of_five_the_two_whose_ports_are_dead_give_way() -> None:
    cluster = on_two_lans(5)
    cluster.lan_out |= {"node-1", "node-2"}
    cluster.run(BOUND_SECONDS)
    assert held_by(cluster, "node-3", "node-4", "node-5") == set(holders(cluster))


@pytest.mark.parametrize("dead", [["node-1"], ["node-1", "node-2"]], ids=["of two", "both"])
def test_where_no_others_hear_each_other_nothing_moves(dead: list[str]) -> None:
    cluster = on_two_lans(2)
    before = holders(cluster)
    cluster.lan_out |= set(dead)
    cluster.run(5.0)
    assert holders(cluster) == before


def test_a_lan_on_which_heartbeats_do_not_pass_at_all_moves_nothing() -> None:
    cluster = on_two_lans(4)
    before = holders(cluster)
    cluster.lan_out |= set(cluster.names)
    cluster.run(5.0)
    assert holders(cluster) == before
    cluster.heal()
    cluster.run(5.0)
    assert holders(cluster) == before


def test_a_pause_of_everything_moves_nothing_when_it_ends() -> None:
    cluster = on_two_lans(4)
    before = holders(cluster)
    cluster.pause()
    cluster.lan_out |= set(cluster.names)
    cluster.run(2.0)
    cluster.heal()
    cluster.run(CALM_SECONDS)
    assert moved(before, holders(cluster)) == set()


def test_a_speaker_that_restarts_gets_its_own_back_though_it_has_not_heard_the_lan_yet() -> None:
    cluster = on_two_lans(3)
    before = holders(cluster)
    cluster.leave("node-1")
    cluster.run(1.5)
    cluster.start("node-1")
    cluster.run(CALM_SECONDS)
    assert moved(before, holders(cluster)) == set()


def test_lost_heartbeats_cut_nobody_off() -> None:
    cluster = Cluster([f"node-{number}" for number in range(1, 4)], ADDRESSES[:5], loss=0.05)
    for number, name in enumerate(cluster.names, 1):
        cluster.links(name, lan_links(number))
    cluster.run(CALM_SECONDS)
    seen: set[str] = set()

    def look() -> None:
        for name, member in cluster.members.items():
            if member.membership.liveness(cluster.now).cut_off_links:
                seen.add(name)

    cluster.watch = look
    cluster.run(60.0)
    assert seen == set()


def lans(*links: Link) -> Lans:
    made = Lans("me", interval_seconds=INTERVAL, dead_after_seconds=DEAD_AFTER, turn_seconds=0.15, now=0.0)
    made.use(links)
    return made


def link(name: str, *addresses: str, lost: bool = False) -> Link:
    return Link(
        name=name,
        mac=bytes(6),
        lost=lost,
        subnets=tuple(Subnet.parse(f"{address}/24") for address in addresses),
        addresses=tuple(Address.parse(address) for address in addresses),
    )


def test_heartbeats_go_to_a_few_over_each_lan_that_is_shared() -> None:
    made = lans(link("eth0", "192.0.2.1"), link("eth1", "198.51.100.1"), link("br0", "172.18.0.1"))
    made.know(
        {f"node-{number}": (link("ens1", f"192.0.2.{number}"), link("br0", "172.18.0.1")) for number in range(2, 100)}
    )
    due = made.due(0.0)
    assert len(due) == 8
    assert all(address in LAN for _, address in due), "nobody else has an address in the other, or this node's own"
    assert made.due(LAN_INTERVALS * INTERVAL - 0.01) == []
    assert len(made.due(LAN_INTERVALS * INTERVAL)) == 8


def test_an_interface_without_its_carrier_has_no_lan() -> None:
    made = lans(link("eth0", "192.0.2.1", lost=True))
    made.know({"peer": (link("eth0", "192.0.2.2"),)})
    assert made.due(0.0) == []


def test_what_came_through_a_router_or_from_a_former_process_is_not_heard_on_the_lan() -> None:
    made = lans(link("eth0", "192.0.2.1"))
    made.know({"peer": (link("eth0", "192.0.2.2"),)})
    made.heard("peer", "203.0.113.9", 5)
    made.tick(0.1)
    assert made.hears == {LAN: frozenset()}
    made.heard("peer", "192.0.2.2", 5)
    made.tick(0.25)
    assert made.hears == {LAN: {"peer"}}
    for step in range(3, 12):
        made.heard("peer", "192.0.2.2", 5)
        made.tick(step * 0.1)
    assert made.hears == {LAN: frozenset()}, "a recording is none"
    made.forget("peer")
    made.heard("peer", "192.0.2.2", 1)
    made.tick(1.3)
    assert made.hears == {LAN: {"peer"}}


def test_a_loop_that_stood_still_gives_the_others_the_time_anew() -> None:
    made = lans(link("eth0", "192.0.2.1"))
    made.know({"peer": (link("eth0", "192.0.2.2"),)})
    made.heard("peer", "192.0.2.2", 1)
    made.tick(0.1)
    made.tick(60.0)
    assert made.hears == {LAN: {"peer"}}


@given(st.lists(st.frozensets(st.integers(0, 7)), min_size=2, max_size=8))
def test_who_is_cut_off_is_on_a_smaller_side_by_what_all_advertise(heard: list[frozenset[int]]) -> None:
    """Node 0 judges; its side is found here by multiplying out who hears whom both ways."""
    names = ["me", *(f"node-{number}" for number in range(1, len(heard)))]
    hears = {
        name: frozenset(names[other] for other in others if other < len(names)) - {name}
        for name, others in zip(names, heard, strict=True)
    }
    made = lans(link("eth0", "192.0.2.1"))
    made.know({name: (link("eth0", f"192.0.2.{10 + number}"),) for number, name in enumerate(names[1:])})
    now = 0.0
    for sequence in range(20):
        for number, name in enumerate(names[1:]):
            if name in hears["me"]:
                made.heard(name, f"192.0.2.{10 + number}", sequence)
        now += 0.1
        if made.tick(now):
            made.judge({name: AdvertisedState(lans={LAN: hears[name]}) for name in names[1:]})
    linked = {one: {other for other in hears[one] if one in hears[other]} | {one} for one in names}
    for _ in names:
        linked = {one: set().union(*(linked[other] for other in others)) for one, others in linked.items()}
    largest = max(map(len, linked.values()))
    assert made.cut_off == ({"eth0"} if len(linked["me"]) < largest else set())


def test_so_few_are_advertised_that_it_fits() -> None:
    made = lans(link("eth0", "10.0.0.1"))
    made.use((Link(name="eth0", mac=bytes(6), subnets=(WIDE,), addresses=(Address.parse("10.0.0.1"),)),))
    crowd = {
        f"node-{number}": (
            Link(
                name="eth0",
                mac=bytes(6),
                cut_off=number % 2 == 0,
                subnets=(WIDE,),
                addresses=(Address.parse(f"10.0.{number // 250}.{number % 250 + 2}"),),
            ),
        )
        for number in range(1000)
    }
    made.know(crowd)
    for node, (only,) in crowd.items():
        made.heard(node, str(only.addresses[0]), 1)
    made.tick(0.1)
    assert len(made.hears[WIDE]) == MOST_HEARD


WIDE = Subnet.parse("10.0.0.0/16")


def test_a_lan_of_many_subnets_leaves_room_for_the_others() -> None:
    def links(number: int) -> list[Link]:
        found = []
        for lan in range(3):
            texts = (f"10.{lan}.0.{number}", f"fd00:{lan}::{number}", f"2001:db8:{lan}::{number}")
            addresses = tuple(map(Address.parse, texts))
            subnets = [Subnet.parse(f"{each}/{24 if each.family is Family.IPV4 else 64}") for each in addresses]
            alone = Subnet.parse(f"10.{lan}.0.{number}/32")
            found.append(
                Link(name=f"eth{lan}", mac=bytes(6), addresses=addresses, subnets=tuple(sorted([alone, *subnets])))
            )
        return found

    lans = Lans("node-1", interval_seconds=INTERVAL, dead_after_seconds=DEAD_AFTER, turn_seconds=0.15, now=0.0)
    lans.use(links(1))
    lans.know({f"node-{number}": tuple(links(number)) for number in (2, 3)})
    looked_after = [str(address) for node, address in lans.due(0.0) if node == "node-2"]
    assert len(looked_after) == MOST_LANS
    assert {"10.0.0.2", "10.1.0.2", "10.2.0.2"} < set(looked_after)
