"""Which nodes come after others for a pool's addresses: what holds for each of its addresses, worked out by parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, AddressRange
from allocator.core.pools import Pool
from allocator.kube.client import Object
from allocator.kube.timestamps import write_time
from allocator.rules.left_out import NO_SUBNET, without_subnet, without_subnets
from allocator.rules.silent_speakers import renewed
from allocator.rules.speaker_subnets import SpeakerSubnets, pool_subnets, speaker_subnets

BASES = {4: ip_address("192.0.2.0"), 6: ip_address("2001:db8::")}
"""All that is drawn lies in the 32 addresses from these on."""


def lease(node: str, *subnets: str, serving: bool = True, announces_from: str = "") -> Object:
    says = {"admitlb.io/subnets": ",".join(subnets)}
    if announces_from:
        says["admitlb.io/announce-from"] = announces_from
    return {
        "metadata": {"name": f"speaker-{node}", "annotations": says},
        "spec": {"holderIdentity": node if serving else None},
    }


@st.composite
def subnets(draw: st.DrawFn) -> str:
    version = draw(st.sampled_from((4, 6)))
    bits = 32 if version == 4 else 128
    length = draw(st.integers(bits - 5, bits))
    address = BASES[version] + draw(st.integers(0, 31))
    return str(ip_network(f"{address}/{length}", strict=False))


@st.composite
def ranges(draw: st.DrawFn) -> str:
    version = draw(st.sampled_from((4, 6)))
    first, last = sorted((draw(st.integers(0, 31)), draw(st.integers(0, 31))))
    return f"{BASES[version] + first}-{BASES[version] + last}"


@given(
    nodes=st.dictionaries(st.sampled_from("abcd"), st.lists(subnets(), max_size=3)),
    pools=st.dictionaries(st.sampled_from(("main", "spare")), st.lists(ranges(), min_size=1, max_size=3)),
    candidates=st.frozensets(st.sampled_from("abcd")),
)
def test_a_pool_is_judged_as_each_of_its_addresses(
    nodes: Mapping[str, Sequence[str]], pools: Mapping[str, Sequence[str]], candidates: frozenset[str]
) -> None:
    candidates &= nodes.keys()
    read = {name: Pool(name=name, ranges=tuple(map(AddressRange.parse, written))) for name, written in pools.items()}
    found = pool_subnets(read.values(), speaker_subnets(lease(node, *those) for node, those in nodes.items()))
    expected: dict[str, set[str]] = {}
    for name, pool in read.items():
        for part in pool.ranges:
            for value in range(part.first, part.last + 1):
                address = ip_address(str(Address(part.family, value)))
                inside = {node for node, those in nodes.items() if any(address in ip_network(one) for one in those)}
                for node in candidates - inside if candidates & inside else ():
                    expected.setdefault(node, set()).add(name)
    reasons = without_subnets(candidates, found.inside)
    assert {node: {name for name in pools if name in reason} for node, reason in reasons.items()} == expected


def test_where_no_candidate_is_in_the_subnet_all_are_alike() -> None:
    assert without_subnet({"a", "b"}, {"a"}) == {"b"}
    assert without_subnet({"a", "b"}, {"c"}) == frozenset()
    assert without_subnet({"a", "b"}, frozenset()) == frozenset()


def test_a_reason_names_the_pools_in_the_words_for_an_address() -> None:
    reasons = without_subnets({"a", "b"}, {"one": [{"a"}], "two": [{"a"}, {"b"}], "three": [{"a", "b"}]})
    assert reasons == {
        "a": "no interface in a subnet of pool two, comes after those that have one",
        "b": "no interface in a subnet of pools one, two, comes after those that have one",
    }
    assert NO_SUBNET == "no interface in the address's subnet, comes after those that have one"


def test_who_serves_counts_and_what_cannot_be_read_does_not() -> None:
    vip = Address.parse("192.0.2.1")
    found = speaker_subnets(
        [
            lease("a", "192.0.2.0/24", "nonsense", "192.0.2.0/99"),
            lease("b", "192.0.2.0/24", serving=False),
            lease("c"),
            {"metadata": {"name": "controller"}, "spec": {"holderIdentity": "x"}},
            lease("d", *("10.0.0.0/24",) * 1000, "192.0.2.0/24"),
        ]
    )
    assert found.nodes == {"a", "c", "d"}
    assert found.inside(vip) == {"a"}
    assert SpeakerSubnets().inside(vip) == frozenset()


def test_a_lease_that_has_run_out_says_nothing() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    leases = [lease("a", "192.0.2.0/24"), lease("b", "192.0.2.0/24"), lease("c", "192.0.2.0/24")]
    for each, ago in zip(leases, (20, 31, 0), strict=True):
        each["spec"].update(renewTime=write_time(now - timedelta(seconds=ago)), leaseDurationSeconds=30)
    other = {"metadata": {"name": "admitlb-reconciler"}, "spec": {"renewTime": write_time(now - timedelta(hours=1))}}
    kept = renewed([*leases, other], now)
    assert kept == [leases[0], leases[2], other]
    assert speaker_subnets(kept).nodes == {"a", "c"}


def test_where_speakers_do_not_rank_by_subnet_nobody_comes_after_others() -> None:
    vip = Address.parse("192.0.2.1")
    for said, behind in (("any", set()), ("subnet", {"b"}), ("", {"b"})):
        found = speaker_subnets([lease("a", "192.0.2.0/24", announces_from=said), lease("b", announces_from=said)])
        assert without_subnet({"a", "b"}, found.inside(vip)) == behind, said
