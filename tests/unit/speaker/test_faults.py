"""What goes wrong in networks, fault by fault, and random interleavings of it: the holder stays, nobody doubles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from allocator.core.addresses import Address
from speaker.election.election import rank
from speaker.membership.boot import BOOT_SECONDS
from speaker.membership.link import Link, Subnet
from speaker.membership.membership import STEADY_SECONDS
from tests.unit.effort import examples
from tests.unit.speaker.judge import BOUND_SECONDS, LEASE_BOUND_SECONDS
from tests.unit.speaker.simulated import Cluster, candidates, lan_links
from tests.unit.speaker.walker import walk_beside_what_lasts, walk_many_faults, walk_one_fault

ADDRESSES = tuple(Address.parse(f"192.0.2.{number}") for number in range(1, 21))
SEEDS = examples(75)
LASTING_SEEDS = examples(25)
CALM_SECONDS = STEADY_SECONDS + 2.0


def calm(nodes: int, *, addresses: int = 20) -> Cluster:
    """A cluster in which everybody has heard everybody else for long enough to count."""
    names = [f"node-{number}" for number in range(1, nodes + 1)]
    cluster = Cluster(names, ADDRESSES[:addresses])
    cluster.run(CALM_SECONDS)
    return cluster


def holders(cluster: Cluster) -> dict[str, set[str]]:
    return {str(address): cluster.holders(address) for address in cluster.addresses}


def held_by(cluster: Cluster, *nodes: str) -> set[str]:
    """The addresses that only these answer for."""
    return {address for address, names in holders(cluster).items() if names and names <= set(nodes)}


def moved(before: dict[str, set[str]], after: dict[str, set[str]]) -> set[str]:
    assert all(len(names) == 1 for names in after.values()), after
    return {address for address, names in before.items() if after[address] != names}


@pytest.mark.parametrize("api", [True, False], ids=["with the API", "without"])
def test_a_node_that_hears_nobody_for_ten_seconds_and_returns_gets_nothing_that_was_not_its_own(api: bool) -> None:
    cluster = calm(5)
    before, own = holders(cluster), held_by(cluster, "node-1")
    if not api:
        cluster.without_api.add("node-1")
    cluster.cut("node-1")
    cluster.run(10.0)
    during = {address: names - {"node-1"} for address, names in holders(cluster).items()}
    assert all(len(names) == 1 for names in during.values())
    cluster.heal()
    cluster.run(BOUND_SECONDS)
    after = holders(cluster)
    assert after == during
    assert moved(before, after) == own


@pytest.mark.parametrize("apart", [0.0, 1.0], ids=["all ports at once", "a second apart"])
def test_a_pause_of_the_whole_lan_moves_nothing(apart: float) -> None:
    cluster = calm(3)
    before = holders(cluster)
    cluster.pause()
    cluster.run(2.0)
    for name in cluster.names:
        cluster.rejoin(name)
        cluster.run(apart)
    cluster.run(BOUND_SECONDS)
    assert moved(before, holders(cluster)) == set()


@pytest.mark.parametrize("unheard_seconds", [0.0, 1.0], ids=["heard at once", "heard a second later"])
@pytest.mark.parametrize("api", [True, False], ids=["with the API", "without"])
def test_a_node_whose_cables_return_answers_for_nothing_that_others_have_taken(
    api: bool, unheard_seconds: float
) -> None:
    cluster = calm(3, addresses=10)
    if not api:
        cluster.without_api.add("node-1")
    cluster.pull("node-1")
    cluster.run(3.0)
    during = holders(cluster)
    assert all(len(names) == 1 and "node-1" not in names for names in during.values())
    cluster.heal()
    for other in ("node-2", "node-3"):
        # Its kernel has to ask for their hardware addresses first, and the first question may be lost.
        cluster.cut_way("node-1", other)
    seen: list[dict[str, set[str]]] = []
    cluster.watch = lambda: seen.append(holders(cluster))
    cluster.run(unheard_seconds)
    cluster.heal()
    cluster.run(BOUND_SECONDS)
    assert [each for each in seen if each != during] == []


def test_nor_does_one_whose_speaker_was_restarted_meanwhile() -> None:
    cluster = calm(3, addresses=10)
    cluster.pull("node-1")
    cluster.run(2.0)
    cluster.kill("node-1")
    cluster.run(0.5)
    cluster.start("node-1")
    cluster.run(5.0)
    during = holders(cluster)
    cluster.heal()
    for other in ("node-2", "node-3"):
        cluster.cut_way("node-1", other)
    seen: list[dict[str, set[str]]] = []
    cluster.watch = lambda: seen.append(holders(cluster))
    cluster.run(1.0)
    cluster.heal()
    cluster.run(BOUND_SECONDS)
    assert [each for each in seen if each != during] == []


def test_an_unrelated_interface_that_comes_and_goes_keeps_the_last_node_from_nothing() -> None:
    cluster = calm(2, addresses=10)
    own = lan_links(1)
    for number, name in enumerate(cluster.names, 1):
        cluster.links(name, lan_links(number))
    cluster.run(CALM_SECONDS)
    cluster.power_off("node-2")
    bridge = Link(name="br-0", mac=bytes(6), subnets=(Subnet.parse("172.30.0.0/16"),))
    for _ in range(3):
        cluster.run(0.25)
        cluster.links("node-1", (*own, bridge))
        cluster.run(0.25)
        cluster.links("node-1", (*own, replace(bridge, lost=True)))
    assert held_by(cluster, "node-1") == {str(address) for address in cluster.addresses}


def test_after_the_cables_of_all_return_each_address_is_answered_again() -> None:
    cluster = calm(3, addresses=10)
    for name in cluster.names:
        cluster.pull(name)
    cluster.run(3.0)
    assert not any(holders(cluster).values())
    cluster.heal()
    cluster.run(BOUND_SECONDS)
    assert all(len(names) == 1 for names in holders(cluster).values())


def test_the_winner_tells_the_lan_again_once_the_loser_has_stopped() -> None:
    cluster = calm(3, addresses=5)
    cluster.pause()
    cluster.run(2.0)
    healed = cluster.now
    for name in cluster.names:
        cluster.rejoin(name)
    cluster.run(BOUND_SECONDS)
    for address in cluster.addresses:
        (holder,) = cluster.holders(address)
        told = [at for at, told in cluster.members[holder].announced_again if told == address and at > healed]
        assert told, f"{holder} did not announce {address} again"


@pytest.mark.parametrize("crashes", [False, True], ids=["it leaves", "it crashes and is back at once"])
def test_a_speaker_that_is_restarted_has_nobody_announce_anything_again_but_what_moves(crashes: bool) -> None:
    """Both its processes were heard all the time: nobody can have learned of them what is not so."""
    cluster = calm(4)
    moving = held_by(cluster, "node-4")
    for member in cluster.members.values():
        member.announced_again.clear()
    if crashes:
        cluster.kill("node-4")
        cluster.run(0.2)
    else:
        cluster.leave("node-4")
        cluster.run(2.0)
    cluster.start("node-4")
    cluster.run(BOUND_SECONDS)
    assert cluster.members["node-4"].membership.hears == 3
    for name in ("node-1", "node-2", "node-3"):
        again = {str(address) for _, address in cluster.members[name].announced_again}
        assert again <= moving, name


@pytest.mark.parametrize("ends", [False, True], ids=["it returns", "it died meanwhile, and starts anew"])
def test_a_speaker_that_served_unheard_has_all_announce_again(ends: bool) -> None:
    cluster = calm(3)
    cluster.cut("node-1")
    cluster.run(2.0)
    if ends:
        cluster.kill("node-1")
        cluster.run(1.0)
    cluster.heal()
    if ends:
        cluster.start("node-1")
    cluster.run(BOUND_SECONDS)
    for name in ("node-2", "node-3"):
        told = {str(address) for _, address in cluster.members[name].announced_again}
        assert told >= held_by(cluster, name)


@pytest.mark.parametrize("seed", range(3))
def test_what_another_took_and_gave_back_unheard_is_announced_again(seed: int) -> None:
    """To the holder the other is alive throughout: a third says that it hears it, which is not so any more."""
    cluster = Cluster([f"node-{number}" for number in range(1, 5)], ADDRESSES, seed=seed)
    cluster.run(CALM_SECONDS)
    both: dict[Address, tuple[float, set[str]]] = {}

    def look() -> None:
        for address in cluster.doubled():
            both[address] = (cluster.now, cluster.holders(address))

    cluster.watch = look
    cluster.cut_way("node-4", "node-2")
    cluster.run(2.0)
    cluster.block("node-3", outbound=False)
    cluster.run(4.0)
    cluster.heal()
    cluster.run(BOUND_SECONDS)
    assert both
    for address, (until, _) in both.items():
        (holder,) = cluster.holders(address)
        again = [at for at, which in cluster.members[holder].announced_again if which == address]
        assert max(again, default=0.0) >= until, f"{holder} has not announced {address} since {until:.2f} s"


@pytest.mark.parametrize("restarted", [False, True], ids=["it goes on", "its speaker is a new one by then"])
def test_a_lan_that_is_whole_again_hears_who_has_what_it_was_cut_off_from(restarted: bool) -> None:
    """Hosts behind the dead port know its node, which has given everything away; heartbeats passed all the time."""
    cluster = calm(3)
    for number, name in enumerate(cluster.names, 1):
        cluster.links(name, lan_links(number))
    cluster.run(CALM_SECONDS)
    moving = held_by(cluster, "node-1")
    cluster.lan_out.add("node-1")
    cluster.run(10.0)
    assert moving
    assert not held_by(cluster, "node-1")
    if restarted:
        cluster.leave("node-1")
        cluster.run(BOUND_SECONDS)
    cluster.heal()
    healed = cluster.now
    if restarted:
        cluster.start("node-1")
    cluster.run(BOUND_SECONDS)
    for address in cluster.addresses:
        (holder,) = cluster.holders(address)
        again = [at for at, which in cluster.members[holder].announced_again if which == address and at > healed]
        assert again or str(address) not in moving, f"{holder} has not announced {address} again"


def test_who_is_not_cut_off_any_more_announces_what_only_it_could_hold_meanwhile() -> None:
    """What it announced while its port was dead nobody has heard, and nobody else has it to announce."""
    cluster = calm(3)
    pinned, *others = cluster.addresses
    for number, name in enumerate(cluster.names, 1):
        cluster.links(name, lan_links(number))
    groups = [candidates(pinned, ["node-1"]), *(candidates(address, cluster.names) for address in others)]
    for name in cluster.names:
        cluster.see(name, groups)
    cluster.run(CALM_SECONDS)
    cluster.lan_out.add("node-1")
    cluster.run(10.0)
    assert held_by(cluster, "node-1") == {str(pinned)}
    cluster.heal()
    healed = cluster.now
    cluster.run(BOUND_SECONDS)
    assert [at for at, address in cluster.members["node-1"].announced_again if address == pinned and at > healed]


def test_a_link_that_came_back_long_ago_delays_nothing() -> None:
    """Who hears nobody after it has got a link back waits for a while; it had it back while it heard all others."""
    cluster = calm(2)
    moving = held_by(cluster, "node-1")
    own = cluster.members["node-1"].links
    cluster.links("node-1", tuple(replace(link, lost=True) for link in own))
    cluster.run(3.0)
    assert moving
    assert not held_by(cluster, "node-1")
    cluster.links("node-1", own)
    cluster.run(CALM_SECONDS)
    cluster.power_off("node-2")
    cluster.run(BOUND_SECONDS)
    assert len(held_by(cluster, "node-1")) == len(ADDRESSES)


LAN = Link(name="eth0", mac=bytes(6), subnets=(Subnet.parse("192.0.2.0/24"),), default_route=True)
BRIDGE = Link(name="br-1234", mac=bytes(6), subnets=(Subnet.parse("172.18.0.0/16"),))


def test_an_unrelated_bridge_that_loses_its_carrier_moves_nothing() -> None:
    cluster = calm(3)
    for name in cluster.names:
        cluster.links(name, (BRIDGE, LAN))
    cluster.run(1.0)
    before = holders(cluster)
    cluster.links("node-1", (Link(name="br-1234", mac=bytes(6), subnets=BRIDGE.subnets, lost=True), LAN))
    cluster.run(2.0)
    assert moved(before, holders(cluster)) == set()
    cluster.links("node-1", (BRIDGE, Link(name="eth0", mac=bytes(6), subnets=LAN.subnets, lost=True)))
    cluster.run(2.0)
    assert held_by(cluster, "node-1") == set(), "its own LAN is another matter"


@pytest.mark.parametrize(
    ("way", "block"),
    [
        ("neither", lambda cluster: cluster.block("node-1")),
        ("only in", lambda cluster: cluster.block("node-1", outbound=False)),
        ("only out", lambda cluster: cluster.block("node-1", inbound=False)),
        ("its LAN is dead, the API works", lambda cluster: cluster.cut("node-1")),
    ],
    ids=["both", "heard but deaf", "not heard", "dead LAN"],
)
def test_a_node_whose_heartbeats_do_not_pass_takes_nothing_and_gives_its_own_away(
    way: str, block: Callable[[Cluster], None]
) -> None:
    cluster = calm(4)
    before, own = holders(cluster), held_by(cluster, "node-1")
    block(cluster)
    cluster.run(LEASE_BOUND_SECONDS)
    after = holders(cluster)
    assert moved(before, after) == own, way
    assert held_by(cluster, "node-1") == set()
    cluster.run(60.0)
    assert holders(cluster) == after, "nor is it alive again by its Lease"
    cluster.heal()
    cluster.run(CALM_SECONDS)
    assert holders(cluster) == after


def test_of_two_the_one_that_hears_without_being_heard_gives_way() -> None:
    cluster = calm(2)
    cluster.block("node-1", outbound=False)
    cluster.run(LEASE_BOUND_SECONDS)
    assert held_by(cluster, "node-1") == set(holders(cluster)), "node-2 hears that it is not heard"


def test_where_heartbeats_are_blocked_everywhere_leases_and_kernels_speak_for_the_nodes() -> None:
    cluster = calm(3)
    for name in cluster.names:
        cluster.block(name)
    cluster.run(LEASE_BOUND_SECONDS)
    for address in cluster.addresses:
        assert cluster.holders(address) == {rank(address=address, candidates=cluster.names)[0]}
    cluster.power_off("node-1")
    cluster.run(2.0)
    assert all(len(names) == 1 for names in holders(cluster).values()), "its kernel does not answer"


def test_two_that_are_deaf_to_each_other_and_heard_by_a_third_change_nothing() -> None:
    cluster = calm(3)
    before = holders(cluster)
    cluster.cut_way("node-1", "node-2")
    cluster.cut_way("node-2", "node-1")
    cluster.run(20.0)
    assert moved(before, holders(cluster)) == set()
    cluster.heal()
    cluster.run(CALM_SECONDS)
    assert moved(before, holders(cluster)) == set()


@pytest.mark.parametrize("nodes", range(3, 3 + examples(3)))
@pytest.mark.parametrize("ways", [((1, 2),), ((2, 1),), ((1, 2), (2, 1))], ids=["one way", "the other", "both"])
@pytest.mark.parametrize("ends", [1, 2])
@pytest.mark.parametrize(
    ("away", "crashes"), [(0.1, True), (5.0, True), (20.0, False)], ids=["at once", "soon", "after its reboot"]
)
def test_one_of_two_that_are_deaf_to_each_other_and_returns_takes_nothing_of_the_other(
    nodes: int, ways: tuple[tuple[int, int], ...], ends: int, away: float, crashes: bool
) -> None:
    """What the other holds it cannot know: a third that hears both knows what is vacant, and takes it."""
    cluster = calm(nodes)
    for number, each in enumerate(cluster.names, start=1):
        cluster.links(each, lan_links(number))
    cluster.run(CALM_SECONDS)
    name = f"node-{ends}"
    for sender, receiver in ways:
        cluster.cut_way(f"node-{sender}", f"node-{receiver}")
    cluster.run(10.0)
    before = holders(cluster)
    lost = held_by(cluster, name)
    (cluster.kill if crashes else cluster.power_off)(name)
    cluster.run(away)
    cluster.start(name)
    doubled: set[Address] = set()
    cluster.watch = lambda: doubled.update(cluster.doubled())
    cluster.run(60.0)
    assert not doubled
    assert moved(before, holders(cluster)) <= lost
    cluster.heal()
    cluster.run(CALM_SECONDS)
    assert not doubled


@pytest.mark.parametrize("nodes", [5, 6])
def test_a_cluster_in_which_no_node_hears_all_others_serves_all_the_same(nodes: int) -> None:
    """Each hears neither of its neighbours in a ring."""
    cluster = Cluster([f"node-{number}" for number in range(1, nodes + 1)], ADDRESSES)
    for name, other in zip(cluster.names, [*cluster.names[1:], cluster.names[0]], strict=True):
        cluster.cut_way(name, other)
        cluster.cut_way(other, name)
    cluster.run(BOOT_SECONDS + CALM_SECONDS)
    assert all(holders(cluster).values())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("after", [-0.6, -0.3, 0.0, 0.1, 0.2, 0.3, 0.5])
def test_a_new_address_has_one_holder_though_two_are_deaf_to_each_other_from_about_then(
    after: float, seed: int
) -> None:
    """The second in order begins while it hears the first still, and hears no claim by the time it would answer."""
    cluster = Cluster(["node-1", "node-2", "node-3"], seed=seed)
    cluster.run(CALM_SECONDS)
    address = Address.parse("192.0.2.77")
    first, second, _ = rank(address=address, candidates=cluster.names)
    most: set[str] = set()

    def look() -> None:
        nonlocal most
        most = max(most, cluster.holders(address), key=len)

    def deafen() -> None:
        cluster.cut_way(first, second)
        cluster.cut_way(second, first)

    cluster.watch = look
    seen_at = cluster.now + 1.0
    for name in cluster.names:
        cluster.at(seen_at, lambda name=name: cluster.see(name, [candidates(address, cluster.names)]))  # type: ignore[misc]
    cluster.at(seen_at + after, deafen)
    cluster.run(6.0)
    assert most == cluster.holders(address)
    assert len(most) == 1
    cluster.heal()
    cluster.run(CALM_SECONDS)
    assert most == cluster.holders(address)
    assert len(most) == 1


def test_after_a_partition_the_larger_side_keeps_what_it_has() -> None:
    cluster = calm(5)
    before, small = holders(cluster), held_by(cluster, "node-1", "node-2")
    cluster.cut("node-1", "node-2")
    cluster.run(8.0)
    during = {address: names - {"node-1", "node-2"} for address, names in holders(cluster).items()}
    cluster.heal()
    cluster.run(BOUND_SECONDS)
    assert holders(cluster) == during
    assert moved(before, during) == small


def test_after_a_partition_into_equal_sides_everything_is_where_it_was() -> None:
    cluster = calm(4)
    before = holders(cluster)
    cluster.cut("node-1", "node-2")
    cluster.run(8.0)
    cluster.heal()
    cluster.run(BOUND_SECONDS)
    assert moved(before, holders(cluster)) == set()


def test_three_of_five_die_and_reboot_and_the_two_keep_everything() -> None:
    cluster = calm(5)
    for name in cluster.names[2:]:
        cluster.power_off(name)
    cluster.run(BOUND_SECONDS)
    taken = holders(cluster)
    assert all(len(names) == 1 for names in taken.values())
    for name in cluster.names[2:]:
        cluster.run(3.0)
        cluster.start(name)
    cluster.run(CALM_SECONDS)
    assert moved(taken, holders(cluster)) == set()


def test_a_majority_shut_down_for_good_changes_nothing_for_the_rest() -> None:
    cluster = calm(5)
    own = {name: held_by(cluster, name) for name in cluster.names[:2]}
    for name in cluster.names[2:]:
        cluster.leave(name)
        cluster.run(2.0)
        cluster.off.add(name)
    cluster.run(60.0)
    assert all(addresses <= held_by(cluster, name) for name, addresses in own.items())
    assert all(len(names) == 1 for names in holders(cluster).values())


def test_of_two_nodes_one_reboots_and_the_other_keeps() -> None:
    cluster = calm(2)
    cluster.power_off("node-1")
    cluster.run(30.0)
    cluster.start("node-1")
    cluster.run(CALM_SECONDS)
    assert held_by(cluster, "node-2") == set(holders(cluster))


def test_of_two_nodes_one_that_stood_still_loses_what_the_other_has_taken() -> None:
    cluster = calm(2)
    cluster.stop("node-1")
    cluster.run(5.0)
    cluster.resume("node-1")
    cluster.run(CALM_SECONDS)
    assert held_by(cluster, "node-2") == set(holders(cluster))


def test_a_holder_restarts_while_another_is_isolated_and_loses_nothing() -> None:
    cluster = calm(4)
    own = held_by(cluster, "node-1")
    cluster.cut("node-4")
    cluster.run(3.0)
    cluster.leave("node-1")
    cluster.run(1.5)
    cluster.start("node-1")
    cluster.run(1.5)
    cluster.heal()
    cluster.run(CALM_SECONDS)
    assert own <= held_by(cluster, "node-1")


def test_a_node_that_is_added_takes_nothing() -> None:
    cluster = Cluster(["node-1", "node-2", "node-3", "node-4"], ADDRESSES, joined=False)
    for name in cluster.names[:3]:
        cluster.start(name)
    cluster.run(BOOT_SECONDS + 5.0)
    before = holders(cluster)
    cluster.start("node-4")
    cluster.run(CALM_SECONDS)
    assert moved(before, holders(cluster)) == set()


@pytest.mark.parametrize("start", [0.0, 60.0])
def test_deleting_every_lease_or_those_of_nodes_that_are_gone_changes_nothing(start: float) -> None:
    cluster = calm(3)
    before = holders(cluster)
    cluster.run(start)
    cluster.delete_leases()
    cluster.run(15.0)
    assert moved(before, holders(cluster)) == set()


def test_a_narrowed_daemonset_leaves_leases_that_keep_nobody_alive() -> None:
    cluster = calm(4)
    cluster.leave("node-4")
    cluster.run(2.0)
    after = holders(cluster)
    cluster.run(120.0)
    assert set.union(*holders(cluster).values()) <= {"node-1", "node-2", "node-3"}
    assert all(len(names) == 1 for names in after.values())


def test_the_sole_candidate_that_is_cut_off_announces_all_the_same() -> None:
    cluster = calm(3, addresses=1)
    for name in cluster.names:
        cluster.see(name, [candidates(ADDRESSES[0], ["node-2"])])
    cluster.run(2.0)
    cluster.block("node-2")
    cluster.run(LEASE_BOUND_SECONDS)
    assert cluster.holders(ADDRESSES[0]) == {"node-2"}


def test_while_the_cluster_boots_each_address_moves_once_at_most_and_never_after() -> None:
    cluster = Cluster([f"node-{number}" for number in range(1, 6)], ADDRESSES, joined=False)
    seen: dict[Address, list[str]] = {address: [] for address in ADDRESSES}

    def look() -> None:
        for address in ADDRESSES:
            names = cluster.holders(address)
            if len(names) == 1 and seen[address][-1:] != sorted(names):
                seen[address] += sorted(names)

    cluster.watch = look
    for name in cluster.names:
        cluster.start(name)
        cluster.run(7.0)
    cluster.run(120.0)
    for address, names in seen.items():
        assert len(names) <= 2, names
        assert names[-1] == rank(address=address, candidates=cluster.names)[0]


def test_a_preferred_node_gets_its_addresses_back_ten_seconds_after_it_is_back() -> None:
    cluster = calm(3)
    for name in cluster.names:
        cluster.see(name, [candidates(address, cluster.names, {"node-3": 5}) for address in ADDRESSES])
    cluster.run(2.0)
    assert held_by(cluster, "node-3") == set(holders(cluster))
    cluster.power_off("node-3")
    cluster.run(5.0)
    cluster.start("node-3")
    for address in ADDRESSES:
        cluster.members["node-3"].groups = tuple(
            candidates(address, cluster.names, {"node-3": 5}) for address in ADDRESSES
        )
    cluster.run(STEADY_SECONDS - 0.5)
    assert held_by(cluster, "node-3") == set()
    cluster.run(2.5)
    assert held_by(cluster, "node-3") == set(holders(cluster))


def test_a_node_without_the_subnet_serves_only_while_no_other_can() -> None:
    cluster = Cluster(["node-1", "node-2"], ADDRESSES[:5])
    elsewhere = Link(name="eth0", mac=bytes(6), subnets=(Subnet.parse("198.51.100.0/24"),))
    cluster.links("node-1", (LAN,))
    cluster.links("node-2", (elsewhere,))
    cluster.run(3.0)
    assert held_by(cluster, "node-1") == set(holders(cluster))
    cluster.power_off("node-1")
    cluster.run(BOUND_SECONDS)
    assert held_by(cluster, "node-2") == set(holders(cluster))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_single_fault_an_address_moves_once_at_most(seed: int) -> None:
    walk_one_fault(seed)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_faults_one_upon_the_other_the_bounds_hold(seed: int) -> None:
    walk_many_faults(seed)


@pytest.mark.parametrize("seed", range(LASTING_SEEDS))
def test_whatever_lasts_beside_other_faults_the_bounds_hold(seed: int) -> None:
    walk_beside_what_lasts(seed)
