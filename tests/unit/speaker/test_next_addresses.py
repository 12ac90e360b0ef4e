"""Which node asks the LAN about which address before it is needed: the one that would announce it, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address
from allocator.core.claims import ForeignHost
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.kube.resource import ENDPOINT_SLICES_V1, NODES, SERVICES, Resource
from allocator.kube.timestamps import write_time
from allocator.objects.names import IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
from allocator.objects.pool_status import Answer, answers_in
from speaker.address_questions import AddressQuestions
from speaker.cluster import next_addresses
from speaker.cluster.next_addresses import PoolReports, Question
from speaker.cluster.state import View
from speaker.election import next_holder
from speaker.election.groups import Groups
from speaker.election.inputs import Inputs
from speaker.membership.link import Link, Subnet
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import AdvertisedState, Claim
from speaker.status.foreign_hosts import CONFIRM_AFTER, changes_of
from tests.unit.speaker.objects import advertisement, endpoint, endpoint_slice, node, pool, service
from tests.unit.speaker.simulated import WholeHolder

NODES_HERE = ("node-a", "node-b", "node-c", "node-d")
ETH0 = (Link(name="eth0", mac=bytes(6)),)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOST = ForeignHost(mac="02:00:00:00:00:01", node="node-a", interface="eth0")


class Spy:
    """Takes what the prober and the reports are given, and chooses at once."""

    def __init__(self) -> None:
        self.asked: Mapping[Address, Question] = {}
        self.pools: Mapping[str, PoolReports] = {}
        self.at_once: list[bool] = []

    def ask(self, choose: Any, *, at_once: bool) -> None:
        self.asked = choose()
        self.at_once.append(at_once)

    def follow(self, pools: Mapping[str, PoolReports]) -> None:
        self.pools = pools


class Cluster:
    """One view of the cluster, and the questions that each node's speaker asks."""

    def __init__(
        self, links: Mapping[str, tuple[Link, ...]] | None = None, alive: tuple[str, ...] = NODES_HERE
    ) -> None:
        self.links = {name: (links or {}).get(name, ETH0) for name in NODES_HERE}
        self.alive = alive
        self.views = {name: View() for name in NODES_HERE}
        self.groups = {name: Groups(view) for name, view in self.views.items()}
        self.spies = {name: Spy() for name in NODES_HERE}
        self.questions = {
            name: AddressQuestions(
                node=name, lb_class="", by_subnet=True, prober=self.spies[name], reports=self.spies[name]
            )
            for name in NODES_HERE
        }
        for name in NODES_HERE:
            self.put(NODES, node(name))
        self.put(L2_ADVERTISEMENTS, advertisement())

    def put(self, resource: Resource, obj: Object, *, gone: bool = False) -> None:
        key = (obj["metadata"].get("namespace") or "", obj["metadata"]["name"])
        change = Change(resource, key, None, None if gone else obj, "1")
        for name in NODES_HERE:
            seen, ahead = self.views[name].read(change), self.questions[name].read(change)
            if seen is not None:
                self.views[name].apply(seen)
            if ahead is not None:
                self.questions[name].apply(ahead)
            self.groups[name].update(self.views[name].refresh())
            self.questions[name].follow(self.views[name], self.inputs(name))

    def inputs(self, name: str) -> Inputs:
        states = {other: AdvertisedState(links=self.links[other]) for other in self.alive}
        liveness = Liveness(alive=frozenset(self.alive), heard=frozenset(self.alive), states=states, informed=True)
        return Inputs(liveness=liveness, links=self.links[name])

    def askers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, spy in self.spies.items():
            for address in spy.asked:
                found.setdefault(str(address), []).append(name)
        return found

    def first_holder(self, address: str) -> str:
        """Who would take the address of a Service that is given it now."""
        self.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a")))
        self.put(SERVICES, service(address))
        (holder,) = [
            name
            for name in self.alive
            if WholeHolder(name).decide(self.groups[name].all(), self.inputs(name), 100.0).scopes
        ]
        return holder


def with_status(document: Object, **status: Any) -> Object:
    return {**document, "status": status}


def hosts(*addresses: str) -> dict[str, Any]:
    return {
        address: {"hardwareAddress": HOST.mac, "node": HOST.node, "interface": HOST.interface}
        for address in addresses
    }


@given(
    st.sets(st.integers(1, 250), min_size=1, max_size=8),
    st.sets(st.sampled_from(NODES_HERE), min_size=1),
    st.dictionaries(st.sampled_from(NODES_HERE), st.booleans()),
)
def test_each_address_is_asked_about_by_the_node_that_would_announce_it(
    numbers: set[int], alive: set[str], in_subnet: dict[str, bool]
) -> None:
    subnet = Subnet.parse("192.0.2.0/24")
    links = {
        name: (Link(name="eth0", mac=bytes(6), subnets=(subnet,)),) for name, there in in_subnet.items() if there
    }
    cluster = Cluster(links, tuple(sorted(alive)))
    addresses = [f"192.0.2.{number}" for number in sorted(numbers)]
    cluster.put(IP_ADDRESS_POOLS, with_status(pool(), nextAddresses=addresses))
    askers = cluster.askers()

    assert sorted(askers) == sorted(addresses)
    assert {len(names) for names in askers.values()} == {1}
    assert askers[addresses[0]] == [cluster.first_holder(addresses[0])]


def test_pools_without_a_layer_2_advertisement_are_not_asked_about() -> None:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, with_status(pool(), nextAddresses=["192.0.2.1"]))
    assert cluster.askers()
    cluster.put(L2_ADVERTISEMENTS, advertisement(), gone=True)

    assert cluster.askers() == {}
    assert cluster.spies["node-a"].pools == {}


def test_only_addresses_of_the_pool_are_asked_about_and_only_a_handful() -> None:
    """A status is written by others: it makes nobody ask about the rest of the LAN."""
    cluster = Cluster()
    many = [f"192.0.2.{number}" for number in range(1, 200)]
    forged = ["203.0.113.1", "nonsense", "2001:db8::1", *many]
    cluster.put(IP_ADDRESS_POOLS, with_status(pool(), nextAddresses=forged, foreignHosts=hosts(*many)))

    assert set(cluster.askers()) <= set(many)
    assert len(cluster.askers()) <= 80


def test_an_address_that_a_host_answers_for_is_asked_about_until_it_is_reported_gone() -> None:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, with_status(pool(), nextAddresses=["192.0.2.2"], foreignHosts=hosts("192.0.2.1")))

    assert sorted(cluster.askers()) == ["192.0.2.1", "192.0.2.2"]
    assert {question.companions for spy in cluster.spies.values() for question in spy.asked.values()} == {2}


def test_the_addresses_of_a_service_are_asked_about_at_once_until_its_status_shows_them() -> None:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, with_status(pool(), nextAddresses=["192.0.2.1"]))
    new = service()
    new["metadata"]["annotations"] = {"admitlb.io/assigned-ips": "192.0.2.1"}
    cluster.put(SERVICES, new)
    ((address, question),) = [one for spy in cluster.spies.values() for one in spy.asked.items()]
    assert (str(address), question.claimed) == ("192.0.2.1", True)
    assert all(spy.at_once[-1] for spy in cluster.spies.values())

    cluster.put(IP_ADDRESS_POOLS, with_status(pool(), nextAddresses=["192.0.2.2"]))
    assert sorted(cluster.askers()) == ["192.0.2.1", "192.0.2.2"]
    shown = service("192.0.2.1")
    shown["metadata"]["annotations"] = new["metadata"]["annotations"]
    cluster.put(SERVICES, shown)
    assert sorted(cluster.askers()) == ["192.0.2.2"]


def test_an_annotation_makes_nobody_ask_about_what_is_in_no_pool() -> None:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, pool())
    written = service()
    written["metadata"]["annotations"] = {"admitlb.io/assigned-ips": "203.0.113.1"}
    cluster.put(SERVICES, written)

    assert cluster.askers() == {}


def test_a_pools_counters_ask_nothing_anew() -> None:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, with_status(pool(), nextAddresses=["192.0.2.1"], assignedIPv4=1))
    asked = cluster.questions["node-a"]
    inputs = cluster.inputs("node-a")
    asked.follow(cluster.views["node-a"], inputs)
    before = len(cluster.spies["node-a"].at_once)
    change = with_status(pool(), nextAddresses=["192.0.2.1"], assignedIPv4=2)
    ahead = asked.read(Change(IP_ADDRESS_POOLS, ("metallb-system", "pool"), None, change, "2"))
    assert ahead is not None
    asked.apply(ahead)
    asked.follow(cluster.views["node-a"], inputs)

    assert len(cluster.spies["node-a"].at_once) == before


AT_ELSEWHERE = (Link(name="eth0", mac=bytes(6), subnets=(Subnet.parse("203.0.113.0/24"),)),)
OF_LIVENESS: dict[str, Any] = {
    "alive": frozenset({"node-a"}),
    "heard": frozenset[str](),
    "mutual": frozenset({"node-b"}),
    "steady": frozenset({"node-b"}),
    "leaving": frozenset({"node-b"}),
    "arriving": frozenset({"node-b"}),
    "overheard": frozenset({"node-e"}),
    "states": {
        name: AdvertisedState(links=ETH0, claims={Address.parse("192.0.2.9"): Claim(term=1)}) for name in NODES_HERE
    },
    "sides": {"node-a": 1},
    "cut_off_from": frozenset({"node-b"}),
    "in_cycle": frozenset({"node-b"}),
    "leased": False,
    "silent": frozenset({"node-e"}),
    "cut_off_links": frozenset({"eth0"}),
    "alone": True,
    "informed": False,
    "booting": True,
    "shaken": True,
    "let_go": frozenset({Address.parse("192.0.2.9")}),
    "fenced": True,
}
OF_INPUTS: dict[str, Any] = {
    "links": AT_ELSEWHERE,
    "answered": frozenset({Address.parse("192.0.2.1")}),
    "refused": frozenset({Address.parse("192.0.2.1")}),
    "unforwarding": frozenset({"node-b"}),
    "unreachable": frozenset({"node-b"}),
    "let_go": frozenset({Address.parse("192.0.2.1")}),
    "subnets_by_lease": {"node-b": (Subnet.parse("203.0.113.0/24"),)},
}
DECIDES = {"alive", "cut_off_from", "in_cycle", "leased", "silent", "links", "subnets_by_lease"}


def asked_by_node_a(*later: Inputs) -> tuple[Mapping[Address, Question], int]:
    """What node-a asks about in the end, and how often its prober was woken by these inputs after the first."""
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, with_status(pool(), nextAddresses=["192.0.2.1", "192.0.2.2", "192.0.2.3"]))
    spy, questions = cluster.spies["node-a"], cluster.questions["node-a"]
    before = len(spy.at_once)
    for inputs in later:
        questions.follow(cluster.views["node-a"], inputs)
    return spy.asked, len(spy.at_once) - before


@pytest.mark.parametrize("name", [*OF_LIVENESS, *OF_INPUTS])
def test_only_what_decides_who_would_hold_an_address_wakes_the_prober(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {*OF_LIVENESS} == {each.name for each in fields(Liveness)}
    assert {*OF_INPUTS, "liveness"} == {each.name for each in fields(Inputs)}
    calm = Cluster().inputs("node-a")
    if name in OF_LIVENESS:
        altered = replace(calm, liveness=replace(calm.liveness, **{name: OF_LIVENESS[name]}))
    else:
        altered = replace(calm, **{name: OF_INPUTS[name]})
    asked, woken = asked_by_node_a(altered)
    assert woken == (name in DECIDES)
    # Whoever knows nothing of before asks about the same.
    fresh = Cluster()
    monkeypatch.setattr(fresh, "inputs", lambda _: altered)
    fresh.put(IP_ADDRESS_POOLS, with_status(pool(), nextAddresses=["192.0.2.1", "192.0.2.2", "192.0.2.3"]))
    assert asked == fresh.spies["node-a"].asked


def test_where_another_nodes_interfaces_are_others_the_prober_is_woken() -> None:
    calm = Cluster().inputs("node-a")
    states = {**calm.liveness.states, "node-b": AdvertisedState(links=AT_ELSEWHERE)}
    _, woken = asked_by_node_a(replace(calm, liveness=replace(calm.liveness, states=states)), calm, calm)
    assert woken == 2, "once there, once back"


def test_a_new_service_and_a_changed_pool_cost_nothing_for_the_other_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(alive=("node-a",))
    for number in range(20):
        there = pool(f"pool-{number}", addresses=[f"192.0.{number}.0/24"])
        cluster.put(IP_ADDRESS_POOLS, with_status(there, nextAddresses=[f"192.0.{number}.1"]))
    worked_out: list[str] = []
    of_pool = next_addresses._of_pool

    def counted(name: str, *rest: Any) -> Any:
        worked_out.append(name)
        return of_pool(name, *rest)

    monkeypatch.setattr(next_addresses, "_of_pool", counted)
    new = service()
    new["metadata"]["annotations"] = {"admitlb.io/assigned-ips": "192.0.3.1"}
    cluster.put(SERVICES, new)
    assert worked_out == []
    changed = pool("pool-3", addresses=["192.0.3.0/24"])
    cluster.put(IP_ADDRESS_POOLS, with_status(changed, nextAddresses=["192.0.3.2"]))
    assert set(worked_out) == {"pool-3"}
    assert {"192.0.3.1", "192.0.3.2", "192.0.4.1"} <= cluster.askers().keys()


# What is reported of the answers.

A, B = (Address.parse(f"192.0.2.{number}") for number in (1, 2))


def reports(*entries: tuple[Address, Answer]) -> PoolReports:
    return PoolReports(asked=frozenset({A, B}), answers=dict(entries))


def test_a_host_is_reported_once_and_confirmed_from_time_to_time() -> None:
    (entry,) = changes_of(reports(), {A: HOST, B: None}, now=NOW).items()
    assert entry == (A, Answer(HOST, write_time(NOW)))
    assert changes_of(reports(entry), {A: HOST}, now=NOW) == {}
    later = NOW + CONFIRM_AFTER + timedelta(seconds=1)
    assert set(changes_of(reports(entry), {A: HOST}, now=later)) == {A}


def test_a_host_that_is_gone_is_reported_gone_whoever_reported_it() -> None:
    entry = (A, Answer(ForeignHost(mac=HOST.mac, node="a-node-that-is-gone"), write_time(NOW)))

    assert changes_of(reports(entry), {A: None}, now=NOW) == {A: None}
    assert changes_of(reports(entry), {}, now=NOW) == {}


def test_another_host_on_the_address_is_reported() -> None:
    other = ForeignHost(mac="02:00:00:00:00:02", node="node-b", interface="eth0")

    assert set(changes_of(reports((A, Answer(HOST, write_time(NOW)))), {A: other}, now=NOW)) == {A}


def test_what_the_status_does_not_ask_about_is_not_reported() -> None:
    assert changes_of(reports(), {Address.parse("192.0.2.9"): HOST}, now=NOW) == {}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda below: st.dictionaries(st.text(), below)
    )
)
def test_a_forged_status_is_read_as_far_as_it_makes_sense(status: Any) -> None:
    assert answers_in({"status": {"foreignHosts": status}}) == {}
    PoolReports(asked=frozenset(), answers=answers_in({"status": status if isinstance(status, dict) else {}}))


def test_who_would_hold_an_address_is_worked_out_once_while_it_waits_is_given_and_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked_out: list[tuple[Address, ...]] = []
    hold = next_holder.NextHolder._hold

    def counted(self: Any, of_service: Any, inputs: Inputs) -> Any:
        worked_out.append(tuple(each.address for each in of_service))
        return hold(self, of_service, inputs)

    monkeypatch.setattr(next_holder.NextHolder, "_hold", counted)
    cluster = Cluster()
    first, second = "192.0.2.1", "192.0.2.2"
    cluster.put(IP_ADDRESS_POOLS, with_status(pool(), nextAddresses=[first]))
    new = service()
    new["metadata"]["annotations"] = {"admitlb.io/assigned-ips": first}
    cluster.put(SERVICES, new)
    shown = service(first)
    shown["metadata"]["annotations"] = new["metadata"]["annotations"]
    cluster.put(SERVICES, shown)
    cluster.put(IP_ADDRESS_POOLS, with_status(pool(), nextAddresses=[second]))

    assert worked_out.count((Address.parse(first),)) == len(NODES_HERE)
    assert sorted(cluster.askers()) == [second]
