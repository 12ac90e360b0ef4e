"""What it costs a speaker that some node has another subnet: as much as there are addresses in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from allocator.core.addresses import Address, Family
from speaker.election.groups import GroupChanges
from speaker.election.holder import Holder
from speaker.election.inputs import Inputs
from speaker.membership.link import Link, Subnet
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import AdvertisedState, Claim
from tests.unit.speaker.simulated import candidates

NODES = ("node-a", "node-b")
LAN = Link(name="eth0", mac=bytes(6), subnets=(Subnet.parse("10.0.0.0/8"),))
MANY = [Address(Family.IPV4, (10 << 24) + number) for number in range(1000)]


def heard(*links: Link) -> Inputs:
    state = AdvertisedState(claims={address: Claim(term=1) for address in MANY}, links=links)
    liveness = Liveness(alive=frozenset(NODES), heard=frozenset({"node-b"}), states={"node-b": state})
    return Inputs(liveness=liveness, links=(LAN,))


def holder() -> Holder:
    found = Holder("node-a")
    eligible = candidates(MANY[0], NODES).eligible
    found.elect(GroupChanges(added=[replace(candidates(address, NODES), eligible=eligible) for address in MANY]))
    found.decide(heard(LAN), 1.0)
    return found


def test_subnets_without_addresses_are_looked_for_in_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with an address for every Service on an interface has dozens."""
    elected, looks = holder(), 0
    own = Link(name="br-1", mac=bytes(6), subnets=tuple(Subnet.parse(f"172.18.0.{each}/32") for each in range(64)))
    contains: Any = Subnet.__contains__

    def counted(subnet: Subnet, address: Address) -> bool:
        nonlocal looks
        looks += 1
        found: bool = contains(subnet, address)
        return found

    monkeypatch.setattr(Subnet, "__contains__", counted)
    for links in ((LAN, own), (LAN, replace(own, subnets=own.subnets[:1])), (LAN,)):
        assert elected.decide(heard(*links), 2.0).touched == frozenset()
    assert looks < len(MANY)


@pytest.mark.parametrize("subnet", ["10.0.0.0/30", "10.0.1.0/24", "10.0.3.231/32", "10.0.3.232/32", "0.0.0.0/0"])
def test_those_with_addresses_concern_just_these(subnet: str) -> None:
    elected = holder()
    within = Subnet.parse(subnet)
    other = Link(name="br-1", mac=bytes(6), subnets=(within,))
    assert elected.decide(heard(LAN, other), 2.0).touched == {address for address in MANY if address in within}
