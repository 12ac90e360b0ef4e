"""From which interfaces an address is asked for, and as whom."""

from __future__ import annotations

from typing import Any

import pytest

from allocator.core.addresses import Address
from speaker.membership.link import Subnet
from speaker.netdev.interfaces import Interface
from speaker.who_has.asking_interfaces import NoInterface, asking_interfaces


def interface(name: str, *addresses: str, index: int = 2, **fields: Any) -> Interface:
    return Interface(
        index=index,
        name=name,
        mac=b"\x02" * 6,
        addresses=frozenset(one.split("/")[0] for one in addresses),
        subnets=frozenset(Subnet.parse(one) for one in addresses if not one.startswith("fe80")),
        **fields,
    )


LAN = interface("eth0", "192.0.2.2/24", "fe80::2/64", "2001:db8::2/64", default_route=True)
STORAGE = interface("eth1", "198.51.100.2/24", index=3)


def chosen(target: str, *interfaces: Interface, named: tuple[str, ...] = ()) -> dict[str, str]:
    found = asking_interfaces(Address.parse(target), interfaces, named=named)
    return {place.interface.name: str(place.sender) for place in found}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("192.0.2.100", {"eth0": "192.0.2.2"}),
        ("198.51.100.100", {"eth1": "198.51.100.2"}),
        # In no subnet: where the default route leads.
        ("203.0.113.1", {"eth0": "192.0.2.2"}),
        ("2001:db8::100", {"eth0": "2001:db8::2"}),
        # Of no subnet: every LAN knows the link-local address.
        ("2001:db8:1::100", {"eth0": "fe80::2"}),
    ],
)
def test_the_subnet_decides_then_the_default_route(target: str, expected: dict[str, str]) -> None:
    assert chosen(target, LAN, STORAGE) == expected


def test_a_named_interface_is_used_whatever_its_subnet() -> None:
    assert chosen("192.0.2.100", LAN, STORAGE, named=("eth1",)) == {"eth1": "198.51.100.2"}


def test_without_an_address_it_is_asked_as_a_probe() -> None:
    assert chosen("192.0.2.100", interface("eth0")) == {"eth0": "None"}


def test_nobody_asks_in_the_name_of_the_address_asked_for() -> None:
    assert chosen("192.0.2.2", interface("eth0", "192.0.2.2/24")) == {"eth0": "None"}


@pytest.mark.parametrize("fields", [{"flags": 0x3}, {"flags": 0x2 | 0x10000}, {"master": 7}, {"excluded": True}])
def test_an_interface_that_cannot_ask_is_not_chosen(fields: dict[str, Any]) -> None:
    with pytest.raises(NoInterface, match=r"no interface can ask for 192\.0\.2\.1"):
        chosen("192.0.2.1", interface("eth0", "192.0.2.2/24", **fields))
    with pytest.raises(NoInterface, match=r"interface eth0 is not there.* interfaces that can ask: none"):
        chosen("192.0.2.1", interface("eth0", "192.0.2.2/24", **fields), named=("eth0",))


def test_ipv6_is_asked_where_there_is_ipv6() -> None:
    with pytest.raises(NoInterface, match="has IPv6"):
        chosen("2001:db8::1", interface("eth0", "192.0.2.2/24", ipv6=False))
