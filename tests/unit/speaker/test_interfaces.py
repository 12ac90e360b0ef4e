"""Which interfaces announce, and how the kernel's messages are read."""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from speaker.membership.lease import lease_from
from speaker.membership.link import Subnet
from speaker.netdev.excluded_interfaces import InvalidExclusions, _from_go, excluded_interfaces
from speaker.netdev.interface_table import InterfaceTable
from speaker.netdev.interfaces import EXCLUDED_NAMES, Interface, announcing
from speaker.netdev.link_state import subnets_of
from speaker.netdev.netlink import ADDRESS, LINK, ROUTE, Kind, Message, attribute, attributes, message, messages
from tests.unit.speaker.objects import lease

MAC = bytes.fromhex("020000000001")
UP, BROADCAST, LOOPBACK, NOARP, LOWER_UP = 0x1, 0x2, 0x8, 0x80, 0x10000
WORKING = UP | BROADCAST | LOWER_UP


def interface(name: str = "eth0", **fields: object) -> Interface:
    return Interface(index=2, name=name, mac=MAC, **fields)  # type: ignore[arg-type]


def link(
    index: int,
    name: str,
    *more: bytes,
    flags: int = WORKING,
    hardware: int = 1,
    mac: bytes = MAC,
    family: int = 0,
    kind: Kind = Kind.NEW_LINK,
) -> Message:
    """A kernel's message about a link."""
    named = [attribute(3, name.encode() + b"\0")] if name else []
    body = LINK.pack(family, hardware, index, flags, 0) + b"".join([*named, attribute(1, mac), *more])
    return next(messages(message(kind, body)))


def ipv6_state(*, disabled: bool) -> bytes:
    """What a link's message says of its IPv6."""
    return attribute(26, attribute(10, attribute(2, struct.pack("=27i", *[0] * 26, disabled))))


def address(index: int, text: str, *, flags: int = 0, kind: Kind = Kind.NEW_ADDRESS) -> Message:
    """A kernel's message about an address, such as "192.0.2.1/24"."""
    found = ipaddress.ip_interface(text)
    family = socket.AF_INET if found.version == 4 else socket.AF_INET6
    body = ADDRESS.pack(family, found.network.prefixlen, flags & 0xFF, 0, index)
    local = attribute(2, found.ip.packed) if found.version == 4 else b""
    body += attribute(1, found.ip.packed) + local + attribute(8, struct.pack("=I", flags))
    return next(messages(message(kind, body)))


def route(*attributes: bytes, length: int = 0, table: int = 254, kind: int = 1) -> Message:
    body = ROUTE.pack(socket.AF_INET, length, 0, 0, table, 3, 0, kind, 0) + b"".join(attributes)
    return next(messages(message(Kind.NEW_ROUTE, body)))


def read(*names: str, excluded: Iterable[str] = EXCLUDED_NAMES) -> tuple[Interface, ...]:
    """Working interfaces of these names, as read from the kernel."""
    table = InterfaceTable(excluded)
    table.replace_links(link(2 + number, name) for number, name in enumerate(names))
    return table.interfaces()


@pytest.mark.parametrize("name", ["eth0", "ens3", "bond0", "br-lan", "enp1s0.100", "wlan0", "mydocker0"])
def test_interfaces_of_a_lan_announce(name: str) -> None:
    assert announcing(read(name))


@pytest.mark.parametrize(
    "name",
    [
        "docker0",
        "cbr0",
        "dummy0",
        "virbr0",
        "lxcbr0",
        "veth12ab",
        "lo",
        "cali1",
        "tunl0",
        "flannel.1",
        "kube-ipvs0",
        "cni0",
        "nodelocaldns",
        "lxc1",
    ],
)
def test_interfaces_of_container_networks_do_not(name: str) -> None:
    assert announcing(read(name)) == ()


def test_the_list_of_excluded_names_can_be_another() -> None:
    assert [each.name for each in announcing(read("veth0", "eth9", excluded=["^eth9$"]))] == ["veth0"]


@pytest.mark.parametrize(
    "unfit",
    [
        interface(flags=BROADCAST | LOWER_UP),
        interface(flags=UP | BROADCAST),
        interface(flags=UP | LOWER_UP),
        interface(flags=WORKING | NOARP),
        interface(flags=WORKING | LOOPBACK),
        interface(hardware=65534),
        interface(kind="dummy"),
        interface(master=7),
    ],
    ids=[
        "down",
        "no carrier",
        "no broadcast",
        "no ARP",
        "loopback",
        "a tunnel",
        "a dummy",
        "port of a bridge or bond",
    ],
)
def test_what_cannot_speak_arp_now_does_not_announce(unfit: Interface) -> None:
    assert announcing([unfit, interface("eth1")]) == (interface("eth1"),)


def test_netlink_messages_become_interfaces_with_their_addresses() -> None:
    table = InterfaceTable(EXCLUDED_NAMES)
    table.replace_links(
        [
            link(3, "eth1", attribute(10, struct.pack("=I", 9)), ipv6_state(disabled=False)),
            link(2, "eth0", ipv6_state(disabled=False)),
            link(4, "ipip0", hardware=768, mac=b"\0\0\0\0"),
            link(5, "tun0", hardware=65534, mac=b""),
        ]
    )
    assert table.announcers() == {2}
    table.replace_addresses(
        2,
        [
            address(2, "192.0.2.1/24"),
            address(2, "2001:db8::1/64"),
            address(2, "fe80::1/64"),
            address(9, "10.0.0.1/8"),
        ],
    )
    table.replace_default_routes([route(attribute(4, struct.pack("=I", 2)))])
    assert table.interfaces() == (
        interface(
            addresses=frozenset({"192.0.2.1", "2001:db8::1", "fe80::1"}),
            flags=WORKING,
            subnets=frozenset({Subnet.parse("192.0.2.0/24"), Subnet.parse("2001:db8::/64")}),
            default_route=True,
        ),
        Interface(index=3, name="eth1", mac=MAC, flags=WORKING, master=9),
    )


def test_addresses_come_and_go_one_by_one() -> None:
    table = InterfaceTable(EXCLUDED_NAMES)
    table.replace_links([link(2, "eth0", ipv6_state(disabled=False))])
    table.replace_addresses(2, [])
    table.apply_address(address(2, "192.0.2.1/24"))
    table.apply_address(address(2, "192.0.2.1/32"))
    table.apply_address(address(2, "192.0.2.1/24", kind=Kind.DELETE_ADDRESS))
    (found,) = table.interfaces()
    assert found.addresses == {"192.0.2.1"}
    assert found.subnets == {Subnet.parse("192.0.2.1/32")}
    table.apply_address(address(3, "192.0.2.2/24"))
    table.apply_link(link(2, "", kind=Kind.DELETE_LINK))
    assert table.interfaces() == ()


def test_an_address_that_another_host_has_is_none_at_which_to_reach_the_node_but_its_subnet_is_there() -> None:
    table = InterfaceTable(EXCLUDED_NAMES)
    table.replace_links([link(2, "eth0")])
    tentative_and_failed = 0x40 | 0x8
    table.replace_addresses(2, [address(2, "2001:db8::1/64", flags=tentative_and_failed)])
    (found,) = table.interfaces()
    assert found.addresses == frozenset()
    assert found.subnets == {Subnet.parse("2001:db8::/64")}


@pytest.mark.parametrize(
    ("more", "has"),
    [((ipv6_state(disabled=False),), True), ((ipv6_state(disabled=True),), False), ((), False)],
    ids=["enabled", "disabled", "a kernel without"],
)
def test_whether_a_link_has_ipv6_is_read_from_the_link(more: tuple[bytes, ...], *, has: bool) -> None:
    table = InterfaceTable(())
    table.replace_links([link(2, "eth0", *more)])
    assert [each.ipv6 for each in table.interfaces()] == [has]


def test_a_port_that_leaves_its_bridge_is_there_still() -> None:
    table = InterfaceTable(())
    master = attribute(10, struct.pack("=I", 9))
    table.replace_links([link(2, "eth0", master)])
    table.apply_link(link(2, "eth0", master, family=7, kind=Kind.DELETE_LINK))
    table.apply_link(link(2, "eth0"))
    assert [each.name for each in announcing(table.interfaces())] == ["eth0"]


def test_a_message_about_something_else_than_the_link_changes_nothing() -> None:
    table = InterfaceTable(())
    table.replace_links([link(2, "eth0")])
    table.apply_link(link(2, "", flags=UP))
    assert [each.name for each in announcing(table.interfaces())] == ["eth0"]


def test_of_links_that_can_never_announce_no_address_is_kept() -> None:
    table = InterfaceTable(EXCLUDED_NAMES)
    dummy = attribute(18, attribute(1, b"dummy\0"))
    table.replace_links([link(2, "kube-ipvs0"), link(3, "lan", dummy), link(4, "eth0", flags=WORKING | NOARP)])
    assert table.announcers() == frozenset()
    for index in (2, 3, 4):
        table.apply_address(address(index, "192.0.2.1/32"))
    assert {each.addresses for each in table.interfaces()} == {frozenset()}


@pytest.mark.parametrize(
    ("one", "links"),
    [
        (route(attribute(4, struct.pack("=I", 2))), {2}),
        (route(attribute(9, struct.pack("=HBBi", 8, 0, 0, 2) + struct.pack("=HBBi", 8, 0, 0, 3))), {2, 3}),
        (route(attribute(4, struct.pack("=I", 2)), length=8), set()),
        (route(attribute(4, struct.pack("=I", 2)), table=100), set()),
        (route(kind=7), set()),
    ],
    ids=["one", "several hops", "no default route", "another table", "unreachable"],
)
def test_default_routes_lead_out_of_links(one: Message, links: set[int]) -> None:
    table = InterfaceTable(())
    table.replace_links([link(2, "eth0"), link(3, "eth1")])
    table.replace_default_routes([one])
    assert {each.index for each in table.interfaces() if each.default_route} == links


def test_what_is_cut_off_ends_a_datagram() -> None:
    whole = message(Kind.NEW_LINK, b"12345") + b"\0\0\0"
    assert [each.body for each in messages(whole + message(Kind.NEW_LINK, b"67")[:-1])] == [b"12345"]
    assert attributes(attribute(1, b"a") + attribute(2, b"bcde")[:-1]) == {1: b"a"}


def test_metallbs_file_says_which_interfaces_to_exclude(tmp_path: Path) -> None:
    file = tmp_path / "excludel2.yaml"
    assert excluded_interfaces(file) == EXCLUDED_NAMES, "without the file, MetalLB's list"
    file.write_text('announcedInterfacesToExclude: ["^docker.*", "^storage$"]\n')
    assert excluded_interfaces(file) == ("^docker.*", "^storage$")
    file.write_text("announcedInterfacesToExclude: []\n")
    assert excluded_interfaces(file) == ()
    file.write_text("")
    assert excluded_interfaces(file) == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("announcedInterfacesToExclude: docker0\n", "must be a list"),
        ("announcedInterfacesToExclude: [1]\n", "must be a list"),
        ("- docker0\n", "must be a list"),
        ("announcedInterfacesToExclude: ['(']\n", "'(' is no regular expression"),
        ("{", "not YAML"),
    ],
)
def test_a_file_that_cannot_be_followed_is_refused(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "excludel2.yaml"
    file.write_text(text)
    with pytest.raises(InvalidExclusions) as refused:
        excluded_interfaces(file)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("written", "names", "others"),
    [
        ("^eth[[:digit:]]+$", ["eth0", "eth12"], ["eth", "ethd"]),
        ("^[[:alpha:]_]+-[^[:upper:]]$", ["br_a-x"], ["br_a-X", "br1-x"]),
        (r"^tap\d+\z", ["tap7"], ["tap7x"]),
        (r"^\Qvm.\E[]x]", ["vm.]", "vm.x"], ["vmax"]),
        (r"^a\[[:z]", ["a[:", "a[z"], ["az"]),
        ("(?i)^DOCKER", ["docker0"], ["eth0"]),
    ],
)
def test_an_excluded_name_is_written_as_go_has_it(
    tmp_path: Path, written: str, names: list[str], others: list[str]
) -> None:
    file = tmp_path / "excludel2.yaml"
    file.write_text(yaml.safe_dump({"announcedInterfacesToExclude": [written]}))
    (pattern,) = excluded_interfaces(file)
    assert [name for name in [*names, *others] if re.search(pattern, name)] == names


@pytest.mark.parametrize("written", ["[[:letters:]]", "[[:^digit:]]", r"\pL"])
def test_what_only_go_knows_is_refused_and_not_read_as_something_else(tmp_path: Path, written: str) -> None:
    file = tmp_path / "excludel2.yaml"
    file.write_text(yaml.safe_dump({"announcedInterfacesToExclude": [written]}))
    with pytest.raises(InvalidExclusions, match="announcedInterfacesToExclude"):
        excluded_interfaces(file)


def test_a_lease_says_the_widest_subnets_and_no_more_than_is_read() -> None:
    """Other programs give an interface an address for every Service."""
    own = frozenset(Subnet.parse(f"10.0.{each >> 8}.{each & 255}/32") for each in range(600))
    lan = Subnet.parse("192.168.0.0/16")
    said = subnets_of([interface("eth0", subnets=own), interface("eth1", subnets=frozenset({lan}))])
    read = lease_from(lease("node-b", subnets=said))
    assert read is not None
    assert lan in read.subnets
    assert tuple(map(str, read.subnets)) == said


@given(st.text(alphabet=r"^$.*+?()|[]{}\\:-azQEd09_", max_size=12))
@example("[]a[:]")
@example(r"[\]]")
@example("a[b")
def test_what_go_and_python_have_in_common_stays_as_it_is(written: str) -> None:
    if not any(only_go in written for only_go in ("[:", r"\z", r"\Q")):
        assert _from_go(written) == written
