"""The kernel filter, run by the kernel itself: a Unix datagram socket takes the same programs."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.frames import ndp
from speaker.frames.arp import ArpFrame, Operation, gratuitous
from speaker.frames.ethernet import BROADCAST
from speaker.netdev import bpf, filters, netlink
from speaker.netdev.netlink import Kind

AF_BRIDGE = 7
MAC = b"\x02\x00\x00\x00\x00\x02"

values = st.integers(0, 2**32 - 1)


def addresses(numbers: Iterable[int]) -> frozenset[Address]:
    return frozenset(Address(Family.IPV4, number) for number in numbers)


def request(target: int, operation: Operation = Operation.REQUEST) -> bytes:
    return ArpFrame(
        destination=BROADCAST,
        source=MAC,
        operation=operation,
        sender_mac=MAC,
        sender_ip=Address.parse("192.0.2.2"),
        target_mac=bytes(6),
        target_ip=Address(Family.IPV4, target),
    ).encode()


def solicitation(target: int) -> bytes:
    return ndp.probe(Address(Family.IPV6, target), MAC).encode()


def advertisement(target: int) -> bytes:
    return ndp.unsolicited(Address(Family.IPV6, target), MAC).encode()


def claim(sender: int, operation: Operation = Operation.REQUEST) -> bytes:
    return gratuitous(operation, Address(Family.IPV4, sender), MAC).encode()


def addresses6(numbers: Iterable[int]) -> frozenset[Address]:
    return frozenset(Address(Family.IPV6, number) for number in numbers)


def let_through(program: bpf.Program, frames: Iterable[bytes]) -> list[bytes]:
    """Return the frames that the kernel delivers through the program."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender, receiver:
        receiver.setblocking(False)
        bpf.attach(receiver, program)
        passed = []
        for frame in frames:
            sender.send(frame)
            try:
                passed.append(receiver.recv(2048))
            except BlockingIOError:
                continue
        return passed


@given(st.sets(values, max_size=40), st.lists(values, max_size=10))
def test_requests_for_the_addresses_pass_whole_and_no_others(held: set[int], others: list[int]) -> None:
    program = filters.arp_requests_for(addresses(held))
    asked = [*held, *others, *(number ^ 1 for number in held)]
    expected = [request(number) for number in asked if number in held]
    assert let_through(program, map(request, asked)) == expected


@pytest.mark.parametrize("edge", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF])
def test_the_ends_of_the_address_space_are_exact(edge: int) -> None:
    near = [number for number in (edge - 1, edge, edge + 1) if 0 <= number < 2**32]
    assert let_through(filters.arp_requests_for(addresses([edge])), map(request, near)) == [request(edge)]


def test_nothing_but_arp_requests_for_ipv4_over_ethernet_passes() -> None:
    held = 0xC0000264
    good = request(held)
    other_hardware = good[:14] + b"\x00\x06" + good[16:]
    other_protocol = good[:16] + b"\x86\xdd" + good[18:]
    other_sizes = good[:18] + b"\x08\x04" + good[20:]
    program = filters.arp_requests_for(addresses([held]))
    frames = [other_hardware, other_protocol, other_sizes, request(held, Operation.REPLY), good[:41], b"\x00"]
    assert let_through(program, frames) == []
    assert let_through(program, [good]) == [good]


def test_without_addresses_nothing_passes() -> None:
    for no_addresses in (filters.arp_requests_for, filters.arp_claims_of):
        assert let_through(no_addresses(frozenset()), map(request, range(5))) == []
    for no_addresses in (filters.solicitations_for, filters.ndp_claims_of):
        assert let_through(no_addresses(frozenset()), map(solicitation, range(5))) == []


def test_the_largest_program_is_accepted_by_the_kernel() -> None:
    scattered = addresses(0x80000000 + 1000 * index for index in range(5000))
    program = filters.arp_requests_for(scattered)
    asked = sorted(address.value for address in scattered)
    assert let_through(program, map(request, asked)) == [request(number) for number in asked]


@given(st.sets(values, max_size=40), st.lists(values, max_size=10), st.sampled_from(Operation))
def test_claims_of_the_addresses_pass_whatever_the_operation(
    held: set[int], others: list[int], operation: Operation
) -> None:
    program = filters.arp_claims_of(addresses(held))
    claimed = [*held, *others, *(number ^ 1 for number in held)]
    expected = [claim(number, operation) for number in claimed if number in held]
    assert let_through(program, (claim(number, operation) for number in claimed)) == expected


def test_a_question_for_an_address_is_no_claim_of_it() -> None:
    assert let_through(filters.arp_claims_of(addresses([0xC0000264])), [request(0xC0000264)]) == []


@given(st.lists(values, max_size=10))
def test_listening_to_all_lets_every_arp_and_every_advertisement_pass_and_nothing_else(numbers: list[int]) -> None:
    both = [frame for number in numbers for frame in (request(number), claim(number, Operation.REPLY))]
    about = [frame for number in numbers for frame in (solicitation(number), advertisement(number))]
    other_hardware = [frame[:14] + b"\x00\x06" + frame[16:] for frame in both]
    assert let_through(filters.arp(), [*both, *other_hardware]) == both
    assert let_through(filters.advertisements(), about) == [advertisement(number) for number in numbers]


values6 = st.one_of(
    st.integers(0, 2**128 - 1),
    st.integers(0, 2**20).map(lambda low: 0x20010DB8 << 96 | low),
    # The first and last words of neighbouring prefixes.
    st.integers(-3, 3).map(lambda step: (0x20010DB8 << 96 | 5 << 32) + step),
)


@given(st.sets(values6, max_size=8), st.lists(values6, max_size=10))
def test_solicitations_for_the_addresses_pass_whole_and_no_others(held: set[int], others: list[int]) -> None:
    asked = [*held, *others, *(number ^ 1 for number in held), *(number ^ 1 << 40 for number in held)]
    expected = [solicitation(number) for number in asked if number in held]
    assert let_through(filters.solicitations_for(addresses6(held)), map(solicitation, asked)) == expected
    assert let_through(filters.ndp_claims_of(addresses6(held)), map(solicitation, asked)) == []
    expected = [advertisement(number) for number in asked if number in held]
    assert let_through(filters.ndp_claims_of(addresses6(held)), map(advertisement, asked)) == expected


@given(st.sets(st.integers(0, 2**128 - 1), max_size=300))
def test_solicitations_for_any_of_the_addresses_pass_however_scattered_they_are(held: set[int]) -> None:
    asked = [*map(solicitation, held)]
    assert let_through(filters.solicitations_for(addresses6(held)), asked) == asked


def test_ipv6_that_is_no_solicitation_never_passes() -> None:
    held = 0x20010DB8 << 96 | 1
    good = solicitation(held)
    program = filters.solicitations_for(addresses6([held]))
    other_header = good[:20] + b"\x11" + good[21:]
    router_solicitation = good[:54] + b"\x85" + good[55:]
    other_code = good[:55] + b"\x01" + good[56:]
    assert let_through(program, [other_header, router_solicitation, other_code, good[:77], b"\x00"]) == []
    assert let_through(program, [good]) == [good]


@given(st.sets(values, max_size=200), st.integers(1, 20))
def test_a_cover_holds_every_address_in_few_ascending_ranges(held: set[int], limit: int) -> None:
    ranges = bpf.cover(addresses(held), limit=limit)
    assert len(ranges) <= limit
    assert all(first <= last for first, last in ranges)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
    assert all(any(first <= number <= last for first, last in ranges) for number in held)


@given(st.sets(values, max_size=100))
def test_a_cover_is_exact_while_the_runs_fit(held: set[int]) -> None:
    assert {number for first, last in bpf.cover(addresses(held)) for number in range(first, last + 1)} == held


def test_neighbours_are_one_range_and_beyond_the_limit_the_smallest_gaps_close() -> None:
    held = addresses([10, 11, 12, 20, 22, 100])
    assert bpf.cover(held) == ((10, 12), (20, 20), (22, 22), (100, 100))
    assert bpf.cover(held, limit=3) == ((10, 12), (20, 22), (100, 100))
    assert bpf.cover(held, limit=1) == ((10, 100),)


def test_the_ranges_of_addresses_are_worked_out_once_for_all_that_answers_and_watches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked_out: list[int] = []
    cover_values = bpf.cover_values

    def counted(numbers: Iterable[int], *, limit: int) -> tuple[tuple[int, int], ...]:
        worked_out.append(limit)
        return cover_values(numbers, limit=limit)

    monkeypatch.setattr(bpf, "cover_values", counted)
    first = 3_000_000_000
    for more in (1, 2):
        for _ in ("eth0", "eth1"):
            filters.arp_claims_of(addresses(range(first, first + more)))
            filters.arp_requests_for(addresses(range(first, first + more)))
    assert len(worked_out) == 2


def notified(kind: int, *first: int, index: int = 0) -> bytes:
    """A netlink message of the kind whose body begins with these bytes, and has the index where addresses have it."""
    body = bytes(first).ljust(4, b"\0") + struct.pack("=I", index) + bytes(24)
    return netlink.message(kind, body)


@given(st.sets(st.integers(1, 2**31 - 1), max_size=100), st.sets(st.integers(1, 2**31 - 1), max_size=5))
def test_changes_of_addresses_pass_for_the_links_named_and_no_others(followed: set[int], others: set[int]) -> None:
    program = filters.route_changes(followed)
    changes = [
        notified(kind, socket.AF_INET, 24, index=index)
        for kind in (Kind.NEW_ADDRESS, Kind.DELETE_ADDRESS)
        for index in (*followed, *others)
    ]
    expected = [change for change in changes if struct.unpack_from("=I", change, 20)[0] in followed]
    assert let_through(program, changes) == expected


def test_of_more_links_than_a_program_can_name_no_change_is_missed() -> None:
    followed = range(1, 4000, 3)
    changes = [notified(Kind.NEW_ADDRESS, socket.AF_INET, 24, index=index) for index in followed]
    assert let_through(filters.route_changes(followed), changes) == changes


def test_links_and_default_routes_pass_and_bridge_ports_and_other_routes_do_not() -> None:
    program = filters.route_changes(())
    wanted = [
        notified(Kind.NEW_LINK, socket.AF_UNSPEC, index=7),
        notified(Kind.DELETE_LINK, socket.AF_UNSPEC, index=7),
        notified(Kind.NEW_LINK, socket.AF_INET6, index=7),
        notified(Kind.NEW_ROUTE, socket.AF_INET, 0),
        notified(Kind.DELETE_ROUTE, socket.AF_INET6, 0),
        notified(Kind.DONE),
    ]
    unwanted = [
        notified(Kind.DELETE_LINK, AF_BRIDGE, index=7),
        notified(Kind.NEW_ROUTE, socket.AF_INET, 24),
        notified(Kind.NEW_ROUTE, socket.AF_INET6, 128),
        notified(Kind.NEW_ADDRESS, socket.AF_INET, 24, index=7),
    ]
    assert let_through(program, [*wanted, *unwanted]) == wanted
