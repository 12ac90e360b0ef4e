"""Hypothesis strategies for valid objects, few of each and alike, so that they meet, share and contradict."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from allocator.bgp.inputs import Advertisement, BFDProfile, LocalNode, Password, Peer, Service
from allocator.core.addresses import Address
from allocator.core.pool_selection import ALL_POOLS, PoolSelection
from allocator.core.selectors import Operator, Requirement, Selector
from allocator.objects.bgp_peer import DynamicAsn
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL

T = TypeVar("T")

NODE = "node-1"
MY_ASN = 64500
POOLS = ("pool-a", "pool-b", "pool-c")
PEERS = ("peer-a", "peer-b", "peer-c", "peer-d")
PROFILES = ("fast", "slow", "absent")
ADVERTISEMENTS = ("adv-a", "adv-b", "adv-c", "adv-d")
ALIASES = ("customers", "backup", "64500:1")
SERVICES = tuple(f"production/service-{number}" for number in range(8))
ADDRESSES = tuple(Address.parse(text) for text in ("198.51.100.1", "198.51.100.2", "198.51.101.1", "203.0.113.9"))
ADDRESSES_V6 = tuple(Address.parse(text) for text in ("2001:db8:1::1", "2001:db8:1::2", "2001:db8:2::1"))
NEIGHBORS = ("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8:ffff::1", "2001:db8:ffff::2")

TIER_A = Selector(frozenset({Requirement("tier", Operator.IN, frozenset({"a"}))}))

labels = st.dictionaries(st.sampled_from(("tier", "zone")), st.sampled_from(("a", "b")), max_size=2)
selectors = st.builds(
    lambda key, value: Selector(frozenset({Requirement(key, Operator.IN, frozenset({value}))})),
    st.sampled_from(("tier", "zone")),
    st.sampled_from(("a", "b")),
)


def rarely(value: T, otherwise: T) -> st.SearchStrategy[T]:
    """One time in eight the value."""
    return st.integers(0, 7).map(lambda drawn: value if drawn == 7 else otherwise)


def some(strategy: st.SearchStrategy[T], at_most: int = 2) -> st.SearchStrategy[tuple[T, ...]]:
    """Mostly none."""
    return st.one_of(st.just(()), st.lists(strategy, max_size=at_most).map(tuple))


communities = st.sampled_from(
    ("64500:1", "65535:65281", "no-export", "large:64500:1:2", "0:0", "customers", "backup", "blackhole", "local-AS")
)

advertisements = st.builds(
    Advertisement,
    name=st.just(""),
    pools=st.one_of(
        st.just(ALL_POOLS),
        st.builds(PoolSelection, names=st.frozensets(st.sampled_from(POOLS)), selectors=some(selectors)),
    ),
    node_selectors=some(selectors),
    service_selectors=some(selectors),
    peers=st.one_of(st.none(), st.frozensets(st.sampled_from(PEERS), min_size=1)),
    communities=some(communities, 3),
    local_pref=st.sampled_from((None, None, 0, 100, 200)),
    med=st.sampled_from((None, None, 0, 50)),
    prepend=st.sampled_from((None, None, 1, 3)),
    aggregation_v4=st.sampled_from((32, 32, 24)),
    aggregation_v6=st.sampled_from((128, 128, 64)),
)

services = st.builds(
    lambda labels, addresses, local, has_endpoints, here: Service(
        labels=labels,
        addresses=addresses,
        local=local,
        has_endpoints=has_endpoints or here,
        endpoint_nodes=frozenset({NODE} if here else {"node-2"} if has_endpoints else ()),
    ),
    labels,
    st.dictionaries(
        st.sampled_from(ADDRESSES + ADDRESSES_V6),
        st.lists(st.sampled_from(POOLS), min_size=1, max_size=2, unique=True).map(tuple),
        max_size=3,
    ),
    st.booleans(),
    st.integers(0, 4).map(bool),
    st.booleans(),
)

nodes = st.builds(
    lambda labels, excluded, unavailable, leaving, ipv4, marked: LocalNode(
        name=NODE,
        ipv4=ipv4,
        labels={**labels, **({EXCLUDE_FROM_LB_LABEL: ""} if excluded else {})},
        network_unavailable=unavailable,
        leaving=leaving,
        marked=marked,
    ),
    labels,
    rarely(True, False),
    rarely(True, False),
    rarely(True, False),
    st.sampled_from(("", "10.0.1.1", "10.0.1.2")),
    rarely(True, False),
)

profiles = st.builds(
    BFDProfile,
    name=st.just(""),
    receive_milliseconds=st.sampled_from((None, 10, 300, 60000)),
    transmit_milliseconds=st.sampled_from((None, 10, 300, 60000)),
    detect_multiplier=st.sampled_from((None, 2, 3, 255)),
    echo_milliseconds=st.sampled_from((None, 10, 50, 60000)),
    echo_mode=st.booleans(),
    passive_mode=st.booleans(),
    minimum_ttl=st.sampled_from((None, 1, 254)),
)

_peer_asns: st.SearchStrategy[int | DynamicAsn] = st.one_of(
    st.sampled_from((64501, MY_ASN, 4200000000)), st.sampled_from(DynamicAsn)
)
_timers = st.sampled_from(((None, None), (0, 0), (1, 3), (60, 180), (3, 9), (21845, 65535)))
_password = st.one_of(st.none(), st.sampled_from(("secret", "p#!$'\"\\x", "a" * 80)).map(Password))


@st.composite
def peers(draw: st.DrawFn, neighbors: tuple[str, ...] = NEIGHBORS, vrfs: tuple[str, ...] = ("",)) -> Peer:
    """A BGPPeer that admission takes."""
    interface = draw(rarely("eth0", ""))
    address = None if interface else Address.parse(draw(st.sampled_from(neighbors)))
    asn = draw(_peer_asns)
    external = asn not in (MY_ASN, DynamicAsn.INTERNAL)
    distance = (
        draw(st.sampled_from(("direct", "direct", "multihop", "gtsm"))) if external and not interface else "direct"
    )
    keepalive, hold = draw(_timers)
    graceful = draw(st.booleans())
    return Peer(
        name="",
        my_asn=MY_ASN,
        peer_asn=asn,
        address=address,
        interface=interface,
        created=draw(st.sampled_from(("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"))),
        local_asn=draw(rarely(64999, None)) if external else None,
        source_address=draw(st.sampled_from((None, *_sources(address)))),
        port=draw(st.sampled_from((179, 179, 1, 1790, 16384))),
        keepalive_seconds=keepalive,
        hold_seconds=hold,
        connect_seconds=draw(st.sampled_from((None, 1, 10, 120, 65535))),
        router_id=draw(rarely("192.0.2.100", "")),
        node_selectors=draw(some(selectors)),
        password=draw(_password),
        needs_password=draw(rarely(True, False)),
        bfd_profile=draw(st.sampled_from(("", *PROFILES))),
        graceful_restart=graceful,
        restart_seconds=draw(st.sampled_from((None, 60, 120, 4095))) if graceful else None,
        ebgp_multihop=distance == "multihop",
        ttl_security_hops=draw(st.sampled_from((1, 254))) if distance == "gtsm" else None,
        vrf=draw(st.sampled_from(vrfs)),
        dual_stack=draw(st.booleans()),
        shutdown=draw(rarely(True, False)),
        description=draw(st.sampled_from(("", "rack 4", "a|b ! # x"))),
    )


def _sources(address: Address | None) -> tuple[Address, ...]:
    if address is None:
        return ()
    return (Address.parse("192.0.2.200" if "." in str(address) else "2001:db8:ffff::200"),)
