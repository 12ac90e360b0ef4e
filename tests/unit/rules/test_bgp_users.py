"""BFDProfiles and Communities: their own form, and who uses them when they change or go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.commands.bgp_manifests import bgp_advertisement, community, judge, peer, profile
from tests.unit.commands.manifests import deleted

BLUE = community(blue="64512:7")


def test_a_profile_in_use_is_not_deleted() -> None:
    users = [peer("b", bfdProfile="fast"), peer("a", bfdProfile="fast", peerAddress="192.0.2.2")]
    ran = judge(profile(), *users, deleted(profile()))
    assert ran.codes == [200, 200, 200, 409]
    assert ran.messages[3].startswith(
        "BFDProfile fast: is used by BGPPeer a, b; remove it from their spec.bfdProfile"
    )
    assert judge(profile(), *users, *map(deleted, users), deleted(profile())).codes == [200] * 6
    assert judge(profile(), peer(bfdProfile="slow"), deleted(profile())).codes == [200] * 3


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"receiveInterval": 9}, "spec.receiveInterval: 9 is too small; use 10 or more"),
        ({"transmitInterval": 60001}, "spec.transmitInterval: 60001 is too large; use 60000 or less"),
        ({"echoInterval": 9}, "spec.echoInterval"),
        ({"detectMultiplier": 1}, "spec.detectMultiplier"),
        ({"detectMultiplier": 256}, "spec.detectMultiplier"),
        ({"minimumTtl": 0}, "spec.minimumTtl"),
        ({"minimumTtl": 255}, "spec.minimumTtl"),
    ],
    ids=str,
)
def test_a_profile_out_of_range_is_refused(spec: dict[str, Any], says: str) -> None:
    ran = judge(profile(**spec))
    assert ran.codes == [422]
    assert says in ran.messages[0]


def test_a_profile_with_a_name_that_frr_does_not_take_is_refused() -> None:
    assert judge(profile("p" * 63)).codes == [200]
    ran = judge(profile("p" * 64))
    assert ran.codes == [422]
    assert "metadata.name: " in ran.messages[0]
    assert "has 64 characters; a BFDProfile's name has 63 at most" in ran.messages[0]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"name": "", "value": "1:1"}, "spec.communities[0].name: is missing"),
        ({"value": "1:1"}, "spec.communities[0].name: is missing"),
        ({"name": "a"}, "spec.communities[0].value: '' is no community"),
        ({"name": "a", "value": "1"}, "spec.communities[0].value: '1' is no community; write it like 64512:100"),
        ({"name": "a", "value": "1:65536"}, "spec.communities[0].value: '1:65536' has a number over 65535"),
        ({"name": "a", "value": "no-export"}, "spec.communities[0].value: 'no-export' is no community"),
        ({"name": "a", "value": "\N{ARABIC-INDIC DIGIT ONE}:1"}, "is no community"),
        ({"name": "a", "value": "9" * 5000 + ":1"}, "is no community"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_alias_says_what_it_stands_for(entry: dict[str, str], says: str) -> None:
    document = community()
    document["spec"]["communities"] = [entry]
    ran = judge(document)
    assert ran.codes == [422]
    assert says in ran.messages[0]
    assert len(ran.messages[0]) < 500


def test_a_name_is_given_once() -> None:
    twice = community()
    twice["spec"]["communities"] = [{"name": "blue", "value": "1:1"}, {"name": "blue", "value": "1:2"}]
    assert "spec.communities[1].name: 'blue' is given twice" in judge(twice).messages[0]
    ran = judge(BLUE, community("others", red="1:1", blue="1:2"))
    assert ran.codes == [200, 422]
    assert "spec.communities[1].name: 'blue' is given by Community names already" in ran.messages[1]


def test_a_name_in_use_is_not_taken_away() -> None:
    user = bgp_advertisement(communities=["blue", "1:1"])
    for gone in (deleted(BLUE), community(red="64512:7")):
        ran = judge(BLUE, user, gone)
        assert ran.codes == [200, 200, 409]
        assert "takes away 'blue' from BGPAdvertisement all; write the community as numbers" in ran.messages[2]
        assert judge(BLUE, user, deleted(user), gone).codes == [200] * 4
    assert judge(BLUE, user, community(blue="64512:8", red="64512:9")).codes == [200] * 3
    assert judge(BLUE, bgp_advertisement(communities=["no-export"]), deleted(BLUE)).codes == [200] * 3
