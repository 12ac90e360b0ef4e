"""BGPAdvertisements against themselves, pools, peers, communities and one another, whichever comes last."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.commands.bgp_manifests import bgp_advertisement, community, judge, peer
from tests.unit.commands.manifests import Object, pool, service

MAIN = pool("main", "192.0.2.0/24")
DUAL = pool("dual", "198.51.100.0/24", "2001:db8::/120")
SELECTOR = [{"matchLabels": {"tier": "public"}}]


def labelled(document: Object, **labels: str) -> Object:
    return {**document, "metadata": {**document["metadata"], "labels": labels}}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"aggregationLength": 33}, "spec.aggregationLength: 33 is no length of an IPv4 prefix; write 1 to 32"),
        ({"aggregationLengthV6": 0}, "spec.aggregationLengthV6: 0 is no length of an IPv6 prefix; write 1 to 128"),
        ({"aggregationLengthV6": -1}, "spec.aggregationLengthV6: -1 is no length"),
        ({"aggregationLengthV6": 129}, "spec.aggregationLengthV6: 129 is no length"),
        ({"localPref": 4294967296}, "spec.localPref: 4294967296 is too large"),
        ({"med": 4294967296}, "spec.med: 4294967296 is too large"),
        ({"asPathPrepend": 11}, "spec.asPathPrepend: 11 is too large; use 10 or less"),
        ({"peers": ["a", "a"]}, "spec.peers[1]: a is listed twice"),
        ({"ipAddressPools": ["a", "a"]}, "spec.ipAddressPools[1]: a is listed twice"),
        ({"communities": ["1:1", "1:1"]}, "spec.communities[1]: 1:1 is listed twice"),
        ({"communities": [" "]}, "spec.communities[0]: ' ' is empty"),
        ({"communities": ["65536:1"]}, "spec.communities[0]: '65536:1' has a number over 65535"),
        ({"communities": ["large:1:2:4294967296"]}, "'large:1:2:4294967296' has a number over 4294967295"),
        ({"communities": ["1:2:3"]}, "'1:2:3' is no community; write it like 64512:100 or large:64512:100:200"),
        ({"communities": ["extended:1:2:3"]}, "'extended:1:2:3' is no community"),
        ({"communities": [f"1:{n}" for n in range(64)]}, "spec.communities: are 64 different ones; a prefix has 63"),
        (
            {"communities": [f"name-{n}" for n in range(64)]},
            "spec.communities: are 64 different ones; a prefix has 63",
        ),
        (
            {"serviceSelectors": SELECTOR, "aggregationLength": 24},
            "spec.aggregationLength: 24 is set beside serviceSelectors",
        ),
        (
            {"serviceSelectors": SELECTOR, "aggregationLengthV6": 120},
            "spec.aggregationLengthV6: 120 is set beside serviceSelectors",
        ),
    ],
    ids=str,
)
def test_a_contradiction_is_refused_with_its_field(spec: dict[str, Any], says: str) -> None:
    ran = judge(bgp_advertisement(**spec))
    assert ran.codes == [422]
    assert says in ran.messages[0]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"aggregationLength": 24, "aggregationLengthV6": 120},
        {"localPref": 0},
        {"med": 0, "asPathPrepend": 10},
        {"communities": ["0:0", "65535:65535", "large:0:0:0", "no-export", "Local-AS", "graceful-shutdown"]},
        {"communities": [f"1:{n}" for n in range(63)]},
        {"serviceSelectors": SELECTOR, "aggregationLength": 32},
    ],
    ids=str,
)
def test_what_can_be_announced_is_admitted_without_a_word(spec: dict[str, Any]) -> None:
    ran = judge(bgp_advertisement(**spec))
    assert (ran.codes, ran.messages, ran.warnings) == ([200], [""], [])


@pytest.mark.parametrize(
    ("spec", "says", "remedy"),
    [
        ({"ipAddressPools": ["main"]}, "spec.ipAddressPools: there is no pool main (yet)", MAIN),
        ({"peers": ["tor"]}, "spec.peers[0]: there is no BGPPeer tor (yet)", peer()),
        (
            {"communities": ["1:1", "blue"]},
            "spec.communities[1]: no Community gives the name 'blue' (yet), and it is not well-known",
            community(blue="64512:7"),
        ),
    ],
    ids=["pool", "peer", "community"],
)
def test_what_is_not_there_is_a_warning_and_refused_under_strict(
    spec: dict[str, Any], says: str, remedy: Object
) -> None:
    document = bgp_advertisement(**spec)
    ran = judge(document)
    assert ran.codes == [200]
    assert f"BGPAdvertisement all: {says}" in ran.warnings[0]
    strict = judge(document, strict=True)
    assert strict.codes == [422]
    assert f"BGPAdvertisement all: {says}" in strict.messages[0]
    assert judge(remedy, document, strict=True).codes == [200, 200]
    assert judge(document, remedy, strict=True).codes == [200, 200]


@pytest.mark.parametrize(
    ("owned", "spec", "says"),
    [
        (
            pool("p", "192.0.2.0/28"),
            {"aggregationLength": 27},
            "spec.aggregationLength: 27 reaches beyond 192.0.2.0/28 of pool p; write 28 or more",
        ),
        (
            pool("p", "192.0.2.4-192.0.2.19"),
            {"aggregationLength": 28},
            "spec.aggregationLength: 28 reaches beyond 192.0.2.4-192.0.2.19 of pool p; write 29 or more",
        ),
        (
            pool("p", "2001:db8::/120"),
            {"aggregationLengthV6": 119},
            "spec.aggregationLengthV6: 119 reaches beyond 2001:db8::/120 of pool p; write 120 or more",
        ),
    ],
    ids=["CIDR", "range", "IPv6"],
)
def test_a_prefix_never_reaches_beyond_a_pool_whichever_comes_last(
    owned: Object, spec: dict[str, Any], says: str
) -> None:
    ran = judge(owned, bgp_advertisement(**spec))
    assert ran.codes == [200, 422]
    assert says in ran.messages[1]
    turned = judge(bgp_advertisement(**spec), owned)
    assert turned.codes == [200, 422]
    assert "that BGPAdvertisement all makes of it" in turned.messages[1]
    assert "IPAddressPool p: spec.addresses[0]: " in turned.messages[1]


def test_a_prefix_as_wide_as_the_pool_or_of_another_family_is_fine() -> None:
    assert judge(MAIN, bgp_advertisement(aggregationLength=24)).codes == [200, 200]
    assert judge(MAIN, bgp_advertisement(aggregationLengthV6=64)).codes == [200, 200]
    assert judge(MAIN, bgp_advertisement(aggregationLength=8, ipAddressPools=["other"])).codes == [200, 200]


def test_a_pool_that_gets_selected_by_its_new_label_is_warned_of_as_labels_are_never_refused() -> None:
    narrow = pool("p", "192.0.2.0/28")
    wide = bgp_advertisement(aggregationLength=24, ipAddressPoolSelectors=SELECTOR)
    ran = judge(narrow, wide, labelled(narrow, tier="public"))
    assert ran.codes == [200, 200, 200]
    assert any("that BGPAdvertisement all makes of it" in warning for warning in ran.documents[2]["warnings"])
    ran = judge(narrow, wide, labelled(narrow, tier="private"))
    assert not any("that BGPAdvertisement" in warning for warning in ran.documents[2]["warnings"])


def test_a_pool_that_was_narrowed_while_nothing_checked_it_can_be_changed_otherwise() -> None:
    narrow, wide = pool("p", "192.0.2.0/28"), bgp_advertisement(aggregationLength=24)
    stored = judge(wide, pool("p", "192.0.2.0/24"), narrow)
    assert stored.codes == [200, 200, 422]
    assert judge(wide, pool("p", "192.0.2.0/24"), pool("p", "192.0.2.0/24", "203.0.113.0/24")).codes == [200] * 3


@pytest.mark.parametrize(
    ("attribute", "values"),
    [
        ("localPref", (100, 200)),
        ("localPref", (0, 100)),
        ("med", (0, 5)),
        ("med", (None, 5)),
        ("asPathPrepend", (0, 3)),
    ],
)
@pytest.mark.parametrize(
    ("first", "second", "collide"),
    [
        ({}, {}, True),
        ({"ipAddressPools": ["main"]}, {}, True),
        ({"peers": ["a", "b"]}, {"peers": ["b", "c"]}, True),
        ({"peers": ["a"]}, {}, True),
        ({"ipAddressPools": ["main"]}, {"ipAddressPools": ["dual"]}, False),
        ({"peers": ["a"]}, {"peers": ["b"]}, False),
        ({"serviceSelectors": SELECTOR}, {}, False),
        ({"aggregationLength": 24, "aggregationLengthV6": 120}, {}, False),
        ({"ipAddressPools": ["main"], "aggregationLength": 24}, {}, False),
        ({"ipAddressPools": ["dual"], "aggregationLength": 24}, {}, True),
    ],
    ids=str,
)
def test_a_prefix_has_one_value_of_an_attribute_at_one_peer(
    attribute: str,
    values: tuple[int | None, int],
    first: dict[str, Any],
    second: dict[str, Any],
    collide: bool,
) -> None:
    one, two = ({attribute: value} if value is not None else {} for value in values)
    ran = judge(MAIN, DUAL, bgp_advertisement("one", **first, **one), bgp_advertisement("two", **second, **two))
    assert ran.codes[3] == (422 if collide else 200), ran.messages[3]
    if collide:
        assert f"spec.{attribute}: {values[1]} differs from " in ran.messages[3]
        assert "of BGPAdvertisement one for the same prefixes of pool" in ran.messages[3]
    turned = judge(bgp_advertisement("one", **first, **one), bgp_advertisement("two", **second, **two), MAIN, DUAL)
    assert turned.codes[:2] == [200, 200]
    assert (422 in turned.codes) is collide, turned.messages
    if collide:
        refused = turned.messages[turned.codes.index(422)]
        assert "spec.addresses: are announced by BGPAdvertisement two, whose spec." in refused


def test_prefixes_that_draw_traffic_of_others_to_local_endpoints_are_warned_of() -> None:
    local = service("web", externalTrafficPolicy="Local", selector={"app": "web"})
    wide = bgp_advertisement(aggregationLength=24)
    (warning,) = judge(MAIN, local, wide).documents[2]["warnings"]
    assert "spec.aggregationLength: 24 covers prod/web with externalTrafficPolicy Local" in warning
    assert judge(MAIN, local, bgp_advertisement()).documents[2]["warnings"] == []
    assert judge(MAIN, service("web"), wide).documents[2]["warnings"] == []


def test_communities_add_up_and_that_is_said() -> None:
    both = [bgp_advertisement(name, communities=[value]) for name, value in (("one", "1:1"), ("two", "1:2"))]
    ran = judge(MAIN, *both)
    assert ran.codes == [200, 200, 200]
    assert "prefixes of pool main get those of BGPAdvertisement one as well" in ran.documents[2]["warnings"][0]


def test_a_local_preference_that_no_peer_gets_is_warned_of() -> None:
    ran = judge(peer(), bgp_advertisement(localPref=200))
    assert "spec.localPref: 200 has no effect, no peer it goes to is of our own AS" in ran.documents[1]["warnings"][0]
    assert judge(peer(peerASN=64500), bgp_advertisement(localPref=200)).documents[1]["warnings"] == []
    assert judge(bgp_advertisement(localPref=200)).warnings == []


def test_a_name_that_looks_like_a_community_wins_as_in_metallb() -> None:
    named = community()
    named["spec"]["communities"] = [{"name": "70000:1", "value": "64512:1"}]
    assert judge(bgp_advertisement(communities=["70000:1"])).codes == [422]
    assert judge(named, bgp_advertisement(communities=["70000:1"])).codes == [200, 200]
