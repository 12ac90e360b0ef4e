"""Whatever happens in whatever order, what is kept up to date change by change is what a look at everything finds."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.kube.resource import ENDPOINT_SLICES_V1, NODES, SERVICES, Resource
from allocator.objects.names import (
    FROM_POOL_ANNOTATION,
    IP_ADDRESS_POOLS,
    IP_ALLOCATIONS,
    L2_ADVERTISEMENTS,
    MOVE_TO_NODE_ANNOTATION,
)
from speaker.cluster.state import View
from speaker.election.groups import GroupChanges, Groups
from speaker.election.holder import Holder
from speaker.election.inputs import Inputs
from speaker.membership.link import Link, Subnet
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import AdvertisedState, Claim
from speaker.persistent_map import PersistentMap, changed_keys
from tests.unit.effort import examples
from tests.unit.speaker.objects import advertisement, endpoint, endpoint_slice, node, pool, service
from tests.unit.speaker.simulated import LINKS, differences

OWN = "node-a"
NAMES = (OWN, "node-b", "node-c")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.1.0.1", "2001:db8::1")
nodes, addresses = st.sampled_from(NAMES), st.sampled_from(ADDRESSES)
services = st.sampled_from(["web", "api", "db"])
racks = st.sampled_from(["a", "b"])
LANS = (Subnet.parse("10.0.0.0/16"), Subnet.parse("10.1.0.0/16"), Subnet.parse("2001:db8::/64"))
links = st.builds(
    lambda lost, subnets: (Link(name="eth0", mac=bytes(6), lost=lost, subnets=tuple(subnets), default_route=True),),
    st.booleans(),
    st.lists(st.sampled_from(LANS), max_size=2, unique=True),
)
states = st.builds(
    lambda claims, probed, links: AdvertisedState(claims=claims, probed=probed - claims.keys(), links=links),
    st.dictionaries(
        addresses.map(Address.parse),
        st.builds(Claim, term=st.integers(1, 3), offered=st.booleans(), apart=st.booleans()),
        max_size=2,
    ),
    st.frozensets(addresses.map(Address.parse), max_size=1),
    links,
)


def found(view: View, groups: Groups) -> object:
    """What the election is made from, in values."""
    of_services = {
        name: [(each.address, dict(each.nodes), each.nobody) for each in view.addresses_of(("default", name))]
        for name in ("web", "api", "db")
    }
    of_groups = sorted(
        (
            (group.addresses, group.services, group.ranked_by, sorted(group.nodes.items(), key=lambda each: each[0]))
            for group in groups.all()
        ),
        key=lambda each: each[0],
    )
    left_out = {
        (name, each.address): view.left_out(("default", name), each.address)
        for name in ("web", "api", "db")
        for each in view.addresses_of(("default", name))
    }
    return of_services, left_out, of_groups, view.nodes.peers(), view.nodes.hosts(), view.nodes.staying()


class AnyOrder(RuleBasedStateMachine):
    """A view, groups and a holder that follow each change, beside ones that look at everything."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[tuple[str, tuple[str, str]], tuple[Resource, Object]] = {}
        self.view = View()
        self.groups = Groups(self.view)
        self.holder, self.oracle = Holder(OWN), Holder(OWN)
        self.now = 0.0
        self.states: dict[str, AdvertisedState] = {}
        self.inputs = Inputs(links=LINKS, liveness=Liveness(alive=frozenset(NAMES), heard=frozenset(NAMES) - {OWN}))
        self.answered: frozenset[Address] = frozenset()
        for name in NAMES:
            self._put(NODES, node(name, address="192.0.2.1"))
        self._put(IP_ADDRESS_POOLS, pool(addresses=["10.0.0.0/24", "2001:db8::/64"]))
        self._put(L2_ADVERTISEMENTS, advertisement())
        for name, address in zip(("web", "api"), ADDRESSES[:2], strict=True):
            self._put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint(OWN), endpoint("node-b"), of=name, name=name))
            self._put(SERVICES, service(address, name=name))
        self._follow()

    @rule(
        name=services,
        addresses=st.lists(addresses, max_size=2, unique=True),
        local=st.booleans(),
        port=st.sampled_from(["http", "dns"]),
        given_from=st.sampled_from(["", "pool", "more", "gone"]),
    )
    def put_service(self, name: str, addresses: list[str], *, local: bool, port: str, given_from: str) -> None:
        policy = "Local" if local else "Cluster"
        ports = [{"name": port, "port": 80}]
        labels = {"app": name}
        stored = service(*addresses, name=name, labels=labels, ports=ports, externalTrafficPolicy=policy)
        if given_from:
            stored["metadata"]["annotations"] = {FROM_POOL_ANNOTATION: given_from}
        self._put(SERVICES, stored)

    @rule(address=addresses, to=st.one_of(st.none(), nodes))
    def request_move(self, address: str, to: str | None) -> None:
        name = Address.parse(address).claim_name
        if to is not None:
            self._put(IP_ALLOCATIONS, {"metadata": {"name": name, "annotations": {MOVE_TO_NODE_ANNOTATION: to}}})
        elif self.objects.pop((IP_ALLOCATIONS.plural, ("", name)), None):
            self._apply(self.view, Change(IP_ALLOCATIONS, ("", name), None, None, "1"))

    @rule(of=services, name=st.sampled_from(["one", "two"]), on=st.lists(nodes, max_size=2), ready=st.booleans())
    def put_slice(self, of: str, name: str, on: list[str], *, ready: bool) -> None:
        written = endpoint_slice(*(endpoint(each, ready=ready) for each in on), of=of, name=name)
        self._put(ENDPOINT_SLICES_V1, {**written, "ports": [{"name": "http", "port": 8080}]})

    @rule(name=nodes, ready=st.booleans(), down=st.booleans(), rack=racks, cordoned=st.booleans())
    def put_node(self, name: str, *, ready: bool, down: bool, rack: str, cordoned: bool) -> None:
        labels = {"rack": rack}
        self._put(NODES, node(name, ready=ready, network_down=down, labels=labels, cordoned=cordoned))

    @rule(
        name=st.sampled_from(["pool", "more"]),
        ranges=st.sets(st.sampled_from(["10.0.0.0/31", "10.0.0.0/8"]), min_size=1),
        rack=racks,
    )
    def put_pool(self, name: str, ranges: set[str], rack: str) -> None:
        self._put(IP_ADDRESS_POOLS, pool(name, addresses=sorted(ranges), rack=rack))

    @rule(
        name=st.sampled_from(["l2", "more"]),
        of=st.sampled_from([[], ["pool"], ["more"], ["gone"]]),
        of_rack=st.one_of(st.none(), racks),
        rack=st.one_of(st.none(), racks),
        preferred=st.one_of(st.none(), racks),
        app=st.one_of(st.none(), services),
        interfaces=st.sampled_from([[], ["eth0"], ["eth1"]]),
    )
    def put_advertisement(
        self,
        name: str,
        of: list[str],
        of_rack: str | None,
        rack: str | None,
        preferred: str | None,
        app: str | None,
        interfaces: list[str],
    ) -> None:
        def matching(key: str, value: str) -> dict[str, Any]:
            return {"matchLabels": {key: value}}

        spec: dict[str, Any] = {"ipAddressPools": of, "interfaces": interfaces}
        if of_rack is not None:
            spec["ipAddressPoolSelectors"] = [matching("rack", of_rack)]
        if rack is not None:
            spec["nodeSelectors"] = [matching("rack", rack)]
        if preferred is not None:
            spec["preferredNodeSelectors"] = [{"weight": 5, "preference": matching("rack", preferred)}]
        if app is not None:
            spec["serviceSelectors"] = [matching("app", app)]
        self._put(L2_ADVERTISEMENTS, advertisement(name, **spec))

    @rule(random=st.randoms(use_true_random=False))
    def remove(self, random: Random) -> None:
        if self.objects:
            key = random.choice(sorted(self.objects))
            resource, _ = self.objects.pop(key)
            self._apply(self.view, Change(resource, key[1], None, None, "1"))

    @rule(at_most=st.integers(1, 3))
    def follow_a_part(self, at_most: int) -> None:
        self._elect(self.groups.update(self.view.refresh(at_most=at_most)))

    @rule(
        dead=st.frozensets(nodes, max_size=1),
        unheard=st.frozensets(nodes, max_size=1),
        unsteady=st.frozensets(nodes, max_size=2),
        sides=st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(1, 2))),
        arriving=st.frozensets(nodes, max_size=1),
        cut_off=st.booleans(),
        in_cycle=st.booleans(),
        booting=st.booleans(),
        own=links,
    )
    def hear(
        self,
        dead: frozenset[str],
        unheard: frozenset[str],
        unsteady: frozenset[str],
        sides: dict[str, int],
        arriving: frozenset[str],
        own: tuple[Link, ...],
        *,
        cut_off: bool,
        in_cycle: bool,
        booting: bool,
    ) -> None:
        alive = frozenset(NAMES) - dead
        liveness = Liveness(
            alive=alive,
            heard=(alive & self.states.keys()) - unheard - {OWN},
            steady=alive - unsteady,
            sides=sides,
            arriving=arriving - {OWN},
            cut_off_from=dead if cut_off else frozenset(),
            in_cycle=dead - frozenset(NAMES[1:2]) if in_cycle else frozenset(),
            booting=booting,
            states=dict(self.states),
        )
        self.inputs = Inputs(liveness=liveness, links=own)

    @rule(name=st.sampled_from(NAMES[1:]), state=states)
    def advertise(self, name: str, state: AdvertisedState) -> None:
        self.states[name] = state
        liveness = replace(
            self.inputs.liveness,
            states=dict(self.states),
            heard=(self.inputs.liveness.alive & self.states.keys()) - {OWN},
        )
        self.inputs = replace(self.inputs, liveness=liveness)

    @rule(passed=st.sampled_from([0.05, 0.3, 3.0, 40.0]), answers=st.booleans())
    def wait(self, passed: float, *, answers: bool) -> None:
        self.now += passed
        if answers:
            self.answered = self.holder.decide(self.inputs, self.now).probing
            self.oracle.decide(self.inputs, self.now)

    @invariant()
    def a_decision_comes_to_what_one_about_everything_would(self) -> None:
        if self.view.pending:
            return
        # As the controller does: what has changed in place is known to the holder before it decides.
        self._follow()
        self.now += 0.01
        inputs = replace(self.inputs, answered=self.answered)
        self.oracle.doubt()
        assert not differences(self.holder.decide(inputs, self.now), self.oracle.decide(inputs, self.now))

    @invariant()
    def it_is_what_one_look_at_everything_finds(self) -> None:
        if self.view.pending:
            return
        self._follow()
        fresh = View()
        for key, (resource, written) in self.objects.items():
            self._apply(fresh, Change(resource, key[1], None, written, "1"))
        groups = Groups(fresh)
        groups.update(fresh.refresh())
        assert found(self.view, self.groups) == found(fresh, groups)

    def _follow(self) -> None:
        while (changes := self.view.refresh()) or self.view.pending:
            self._elect(self.groups.update(changes))

    def _elect(self, changes: GroupChanges) -> None:
        self.holder.elect(changes)
        self.oracle.elect(changes)

    def _put(self, resource: Resource, written: Object) -> None:
        key = (written["metadata"].get("namespace") or "", written["metadata"]["name"])
        self.objects[resource.plural, key] = (resource, written)
        self._apply(self.view, Change(resource, key, None, written, "1"))

    def _apply(self, view: View, change: Change) -> None:
        seen = view.read(change)
        if seen is not None:
            view.apply(seen)


AnyOrder.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase


class AnyMap(RuleBasedStateMachine):
    """A persistent map beside plain dicts of the same."""

    keys = st.integers(0, 300)

    def __init__(self) -> None:
        super().__init__()
        self.versions: list[tuple[PersistentMap[int, int], dict[int, int]]] = [(PersistentMap(), {})]

    @rule(values=st.dictionaries(keys, st.integers(0, 2), max_size=60), without=st.sets(keys, max_size=60))
    def change(self, values: dict[int, int], without: set[int]) -> None:
        known, plain = self.versions[-1]
        expected = {key: value for key, value in {**plain, **values}.items() if key not in without}
        self.versions = [*self.versions[-3:], (known.updated(values, without=without), expected)]

    @invariant()
    def it_is_the_same(self) -> None:
        for known, plain in self.versions:
            assert (dict(known), len(known), dict(known.items())) == (plain, len(plain), plain)
            assert all((key in known, known.get(key)) == (key in plain, plain.get(key)) for key in range(301))

    @invariant()
    def it_tells_versions_apart(self) -> None:
        last, last_plain = self.versions[-1]
        for known, plain in self.versions:
            expected = {key for key in plain.keys() | last_plain.keys() if plain.get(key) != last_plain.get(key)}
            assert changed_keys(known, last) == expected
            assert (known == last) == (plain == last_plain)


AnyMap.TestCase.settings = settings(max_examples=examples(30), stateful_step_count=20, deadline=None)
TestAnyMap = AnyMap.TestCase
