"""The baseline has the form that MetalLB gives frr.conf: a prefix that sorts first renumbers all others."""

from __future__ import annotations

from tests.bench.metallb_frr import MetalLbSession, frr_conf

SESSION = MetalLbSession(address="10.2.2.254", own_asn=100, peer_asn=200, router_id="10.1.1.254")


def lines(*prefixes: str, community: str = "") -> list[str]:
    return frr_conf([SESSION], prefixes, community=community).splitlines()


def test_lists_are_numbered_in_the_sorted_order_of_texts() -> None:
    before = set(lines("172.16.1.10/32", "172.16.1.9/32"))
    after = lines("172.16.1.10/32", "172.16.1.9/32", "172.16.1.1/32")
    allowed = "ip prefix-list 10.2.2.254-allowed-ipv4 seq"

    assert [each for each in after if each.startswith(allowed)] == [
        f"{allowed} 1 permit 172.16.1.1/32",
        f"{allowed} 2 permit 172.16.1.10/32",
        f"{allowed} 3 permit 172.16.1.9/32",
    ]
    assert len(set(after) - before) == 4, "three numbers and one network"


def test_a_community_has_a_list_of_its_own_before_the_last_entries() -> None:
    found = lines("172.16.1.10/32", community="1111:2222")

    assert "ip prefix-list 10.2.2.254-1111:2222-ipv4-community-prefixes seq 1 permit 172.16.1.10/32" in found
    entries = [
        each for each in found if each.startswith(("route-map 10.2.2.254-out", "  match", "  set", "  on-match"))
    ]
    assert entries == [
        "route-map 10.2.2.254-out permit 1",
        "  match ip address prefix-list 10.2.2.254-1111:2222-ipv4-community-prefixes",
        "  set community 1111:2222 additive",
        "  on-match next",
        "route-map 10.2.2.254-out permit 2",
        "  match ip address prefix-list 10.2.2.254-allowed-ipv4",
        "route-map 10.2.2.254-out permit 3",
        "  match ipv6 address prefix-list 10.2.2.254-allowed-ipv6",
    ]


def test_without_prefixes_of_a_family_nothing_of_it_is_let_through() -> None:
    assert "ipv6 prefix-list 10.2.2.254-allowed-ipv6 seq 1 deny any" in lines("172.16.1.10/32")
