"""What another node writes, in its Lease or with the speakers' key, ends no thread of this one, whatever it is."""

from __future__ import annotations

import socket
from contextlib import closing, suppress
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.cluster.scope import EVERYWHERE
from speaker.election.reach import reach
from speaker.membership.host_check import _answering
from speaker.membership.lans import Lans
from speaker.membership.lease import lease_from
from speaker.membership.link import Link, Subnet
from speaker.membership.state_sync import AdvertisedState, Chunk, MalformedState, ReceivedState, SentState
from speaker.membership.transport import HeartbeatSocket
from speaker.netdev.interfaces import Interface
from speaker.netdev.link_state import MOST_ADDRESSES, MOST_SUBNETS, LinkMemory, reachable_at
from tests.unit.speaker.objects import lease

LINK = Link(
    name="eth0",
    mac=bytes.fromhex("020000000001"),
    subnets=(Subnet.parse("192.0.2.0/24"), Subnet.parse("2001:db8::/64")),
    addresses=(Address.parse("192.0.2.1"), Address.parse("2001:db8::1")),
)
STATE = AdvertisedState(
    links=(LINK,),
    hears=frozenset({"node-b"}),
    lans={Subnet.parse("192.0.2.0/24"): frozenset({"node-b"})},
    helped={Address.parse("192.0.2.9"): "node-c"},
)
words = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(["fe80::1%eth0", "::ffff:192.0.2.1", "192.0.2.1", "2001:db8::1", "9" * 5000, "192.0.2.0/24"]),
        st.text(alphabet="0123456789./:", max_size=12),
        st.integers(min_value=0).map(lambda length: f"192.0.2.0/{length}"),
    ),
    max_size=4,
)


@given(words, words, words)
@example(["fe80::1%eth0"], [], [])
@example(["::ffff:192.0.2.1"], [], [])
@example([], ["192.0.2.0/" + "9" * 5000], [])
@example([], [], ["9" * 5000])
def test_a_lease_may_say_anything(addresses: list[str], subnets: list[str], hears: list[str]) -> None:
    document = lease("node-b", addresses=addresses, subnets=subnets)
    document["metadata"]["annotations"]["admitlb.io/heard-speakers"] = ",".join(hears)
    read = lease_from(document)
    assert read is not None
    assert read.hears is not None
    assert read.hears < 10**9
    with closing(HeartbeatSocket(0, "127.0.0.1")) as transport:
        transport.set_addresses({"node-b": read.addresses})
        assert transport.expects("192.0.2.1") in (True, False)


def test_no_more_of_a_lease_is_read_than_speakers_write() -> None:
    read = lease_from(lease("node-b", addresses=[f"10.0.{each >> 8}.{each & 255}" for each in range(20_000)]))
    assert read is not None
    assert len(read.addresses) < 20


def chunks(state: AdvertisedState) -> list[Chunk]:
    sent = SentState()
    sent.advertise(state)
    return sent.since(0)


@given(st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=6))
def test_an_authentic_state_may_hold_any_bytes(written: list[tuple[int, int]]) -> None:
    (chunk,) = chunks(STATE)
    data = bytearray(chunk.data)
    for at, byte in written:
        data[at % len(data)] = byte
    received = ReceivedState()
    with suppress(MalformedState):
        received.take(replace(chunk, data=bytes(data)))
    own = replace(LINK, addresses=(Address.parse("192.0.2.2"), Address.parse("2001:db8::2")))
    lans = Lans("node-a", interval_seconds=0.1, dead_after_seconds=0.5, turn_seconds=0.15, now=0.0)
    lans.use([own])
    lans.know({"node-b": received.state.links})
    lans.judge({"node-b": received.state})
    for address in (*own.addresses, Address(Family.IPV4, 0)):
        assert reach(address, EVERYWHERE, received.state.links).subnet in (True, False)


@pytest.mark.parametrize("subnet", [Subnet(Family.IPV4, 0, 200), Subnet(Family.IPV6, 1, 64)])
def test_a_subnet_that_is_none_makes_a_state_unreadable(subnet: Subnet) -> None:
    link = replace(LINK, subnets=(subnet,))
    for state in (AdvertisedState(links=(link,)), AdvertisedState(lans={subnet: frozenset()})):
        with pytest.raises(MalformedState):
            ReceivedState().take(chunks(state)[0])


def test_an_interface_may_have_any_number_of_addresses() -> None:
    """kube-vip and others give an interface one for every Service."""
    own = [f"10.0.{each >> 8}.{each & 255}" for each in range(600)]
    narrow = frozenset(Subnet.parse(f"{address}/32") for address in own)
    crowded = Interface(
        index=2,
        name="eth0",
        mac=LINK.mac,
        addresses=frozenset([*own, "::ffff:10.0.0.1"]),
        subnets=narrow | {Subnet.parse("10.0.0.0/16")},
    )
    (link,) = links = LinkMemory().links([crowded])
    assert Subnet.parse("10.0.0.0/16") in link.subnets
    assert (len(link.subnets), len(link.addresses)) == (MOST_SUBNETS, MOST_ADDRESSES)
    received = ReceivedState()
    assert any([received.take(chunk) for chunk in chunks(AdvertisedState(links=links))])
    assert received.state.links == links
    assert reachable_at([crowded])


def test_what_cannot_be_asked_is_passed_over() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    assert _answering({"nowhere": "fe80::1%no-such", "here": "127.0.0.1"}, port) == {"here"}
