"""Nodes come and go for years: of those that went nothing is kept, wherever their names were noted."""

from __future__ import annotations

import gc
import itertools
import types
from contextlib import closing
from typing import cast

from allocator.core.addresses import Address
from allocator.kube.client import Cluster, NotFound, Object
from allocator.kube.resource import Resource
from speaker.election.holder import Holder
from speaker.election.inputs import Inputs
from speaker.membership.heartbeat import Heartbeat, Phase
from speaker.membership.lease_evidence import LIST_SECONDS
from speaker.membership.lease_list import LeaseList
from speaker.membership.link import Link
from speaker.membership.liveness import Liveness
from speaker.membership.membership import Membership
from speaker.membership.state_sync import AdvertisedState, Claim
from speaker.membership.transport import HeartbeatSocket
from speaker.membership.unheard import Doubt
from speaker.status.absence import AbsentNodes
from tests.unit.speaker.objects import lease

NODES = [f"went-{number}" for number in range(40)]
_OUTSIDE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.FrameType)


def mentioned(root: object) -> set[str]:
    """The names of NODES that can be reached from an object."""
    found: set[str] = set()
    seen: set[int] = set()
    left = [root]
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, _OUTSIDE):
            continue
        seen.add(id(each))
        if isinstance(each, str):
            found.update(node for node in NODES if node in each and each.endswith(node))
        elif isinstance(each, dict):
            # The collector passes over keys that are strings.
            left += [*each.keys(), *each.values()]
        else:
            left += gc.get_referents(each)
    return found


def beat(node: str, members: Membership, incarnation: int) -> Heartbeat:
    return Heartbeat(
        sender=node,
        phase=Phase.SERVING,
        incarnation=incarnation,
        challenge=7,
        echo=members.heartbeat_to(node).challenge,
        sequence=1,
        hears=True,
        linked=2,
        side=2,
    )


def test_by_the_membership() -> None:
    members = Membership(node="node-a", now=0.0, new_number=itertools.count(1).__next__)
    members.enter(Phase.SERVING, 0.0)
    now = 0.0
    for number, node in enumerate(NODES, start=1):
        now += 0.1
        members.set_peers([node], now)
        members.heard(beat(node, members, number), now, "192.0.2.9")
        members.tick(now)
        assert mentioned(members) >= {node}
        members.liveness(now)
        members.outgoing(now)
        members.set_peers([], now)
        members.tick(now)
    for _ in range(200):
        now += 0.1
        members.tick(now)
        members.outgoing(now)
        members.liveness(now)
    assert mentioned(members) == set()


def test_by_the_membership_that_never_heard_them() -> None:
    members = Membership(node="node-a", now=0.0, new_number=itertools.count(1).__next__)
    for number, node in enumerate(NODES):
        members.set_peers([node], float(number))
        members.tick(float(number))
    members.set_peers([], 100.0)
    members.set_peers([], 101.0)
    members.tick(101.0)
    members.outgoing(101.0)
    assert mentioned(members) == set()


def test_by_the_socket() -> None:
    with closing(HeartbeatSocket(0, "127.0.0.1")) as transport:
        for node in NODES:
            transport.set_addresses({node: ["127.0.0.2"]})
            transport.heard(node, "127.0.0.2")
            transport.put(node, b"", in_trouble=True, met=True)
        transport.set_addresses({})
        transport.flush()
        assert mentioned(transport) == set()


def test_by_the_election() -> None:
    holder = Holder("node-a")
    link = Link(name="eth0", mac=bytes(6))
    for now, node in enumerate(NODES):
        state = AdvertisedState(claims={Address.parse("192.0.2.1"): Claim(term=1)}, links=(link,))
        peers = frozenset({node})
        holder.decide(Inputs(liveness=Liveness(alive=peers, heard=peers, states={node: state})), float(now))
    holder.decide(Inputs(), 100.0)
    assert mentioned(holder) == set()


class Api:
    """The Leases there are."""

    def __init__(self) -> None:
        self.leases: dict[str, Object] = {}

    def pages(self, _: Resource, __: str | None = None) -> list[Object]:
        return [{"items": list(self.leases.values())}]

    def get(self, _: Resource, name: str, __: str | None = None) -> Object:
        if name not in self.leases:
            raise NotFound(404, "NotFound", name)
        return self.leases[name]


class Calm:
    """Nothing is in doubt but a node that has no Lease."""

    doubt = Doubt(silent=frozenset({NODES[0]}))

    def renewed(self, node: str, *, hears: int | None, serving: bool, since: float) -> None:
        raise AssertionError((node, hears, serving, since))


def test_by_the_list_of_leases() -> None:
    api, calm = Api(), Calm()
    leases = LeaseList(
        cast("Cluster", api),
        namespace="metallb-system",
        heartbeats=calm,
        wait_written=lambda _: True,
        on_change=lambda _: None,
    )
    now = 0.0
    for node in NODES:
        now += 2 * LIST_SECONDS
        document = lease(node)
        document["metadata"]["resourceVersion"] = "1"
        api.leases = {document["metadata"]["name"]: document}
        leases.look(now)
        leases.look(now + 1.0)
    api.leases.clear()
    calm.doubt = Doubt()
    leases.look(now + 2 * LIST_SECONDS)
    assert mentioned(leases) == set()


def test_by_what_asks_whether_a_status_names_a_node_that_is_gone() -> None:
    now = [0.0]
    absent = AbsentNodes(cast("Cluster", Api()), namespace="metallb-system", now=lambda: now[0])
    for node in NODES:
        now[0] += 60.0
        assert absent.is_gone(node)
    assert len(mentioned(absent)) <= 11
