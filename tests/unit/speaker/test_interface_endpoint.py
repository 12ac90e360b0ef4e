"""What an interface's sockets are told: each filter is made of all addresses, so only where it has to be another."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.layer2.interface_endpoint import InterfaceEndpoint
from speaker.netdev.packet_socket import Refused

VIP, OTHER = Address.parse("192.0.2.100"), Address.parse("192.0.2.101")


class Socket:
    """What watches and what answers, without a socket; the kernel refuses what is in `refuses`."""

    def __init__(self) -> None:
        self.filters: list[set[Address]] = []
        self.refuses: set[Address] = set()
        self.has: frozenset[Address] = frozenset()

    def set(self, addresses: frozenset[Address]) -> None:
        """Replace the filter, as `ArpResponder.answer_for` does."""
        before, self.has = self.has, addresses
        if addresses & self.refuses:
            self.has = before & addresses
            raise Refused("filter", OSError(12, "Cannot allocate memory"))
        self.filters.append(set(addresses))

    watch_for = answer_for = set

    def includes(self, address: Address) -> bool:
        """Tell whether the filter lets it through."""
        return address in self.has

    watches = answers = includes

    def help_with(self, _: object) -> None:
        """Answer with other hardware addresses."""


class Sides:
    """An endpoint of IPv4 with both of its sockets."""

    def __init__(self) -> None:
        self.watch, self.responder = Socket(), Socket()
        idle = Socket()
        responders: Any = {Family.IPV4: self.responder, Family.IPV6: idle}
        watches: Any = {Family.IPV4: self.watch, Family.IPV6: idle}
        self.endpoint = InterfaceEndpoint(responders, watches)

    def change(self, *changes: tuple[Address, bool, bool]) -> list[Refused]:
        """Make the changes."""
        return self.endpoint.change(changes, helped={})


def test_of_a_new_address_each_filter_is_made_once() -> None:
    sides = Sides()
    sides.change((VIP, True, False))
    assert (sides.watch.filters, sides.responder.filters) == ([{VIP}], [])
    sides.change((VIP, True, True))
    assert (sides.watch.filters, sides.responder.filters) == ([{VIP}], [{VIP}])
    sides.change((VIP, True, True), (OTHER, False, False))
    assert (sides.watch.filters, sides.responder.filters) == ([{VIP}], [{VIP}])
    sides.change((VIP, False, False))
    assert (sides.watch.filters[1:], sides.responder.filters[1:]) == ([set()], [set()])


def test_what_the_kernel_refused_is_tried_again_though_nothing_has_changed() -> None:
    sides = Sides()
    sides.watch.refuses = sides.responder.refuses = {VIP}
    assert len(sides.change((VIP, True, True))) == 2
    assert len(sides.change((VIP, True, True))) == 2
    sides.watch.refuses = sides.responder.refuses = set()
    assert sides.change((VIP, True, True)) == []
    assert (sides.watch.filters, sides.responder.filters) == ([{VIP}], [{VIP}])
    sides.change((VIP, True, True))
    assert (sides.watch.filters, sides.responder.filters) == ([{VIP}], [{VIP}])


numbered = st.integers(1, 4).map(lambda value: Address(Family.IPV4, value))
what = st.sampled_from([(False, False), (True, False), (True, True)])


@given(st.lists(st.tuples(st.dictionaries(numbered, what, min_size=1), st.sets(numbered), st.sets(numbered))))
def test_whatever_happens_both_have_all_that_the_kernel_does_not_refuse(
    steps: list[tuple[dict[Address, tuple[bool, bool]], set[Address], set[Address]]],
) -> None:
    sides = Sides()
    wanted: dict[Address, tuple[bool, bool]] = {}
    for changes, unwatchable, unanswerable in steps:
        sides.watch.refuses, sides.responder.refuses = unwatchable, unanswerable
        sides.change(*((address, *flags) for address, flags in changes.items()))
        wanted |= changes
    sides.watch.refuses = sides.responder.refuses = set()
    sides.change(*((address, *flags) for address, flags in wanted.items()))
    assert sides.watch.has == {address for address, (watched, _) in wanted.items() if watched}
    assert sides.responder.has == {address for address, (_, answered) in wanted.items() if answered}
