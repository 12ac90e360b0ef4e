"""Which interfaces announce, and how the kernel's messages are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from speaker.membership.link import Subnet
from speaker.netdev.excluded_interfaces import InvalidExclusions, excluded_interfaces
from speaker.netdev.interfaces import EXCLUDED_NAMES, Interface, announcing, from_netlink

MAC = bytes.fromhex("020000000001")
UP, BROADCAST, LOOPBACK, NOARP, LOWER_UP = 0x1, 0x2, 0x8, 0x80, 0x10000
WORKING = UP | BROADCAST | LOWER_UP


def interface(name: str = "eth0", **fields: object) -> Interface:
    return Interface(index=2, name=name, mac=MAC, **fields)  # type: ignore[arg-type]


def read(*names: str, excluded: Iterable[str] = EXCLUDED_NAMES) -> tuple[Interface, ...]:
    """Working interfaces of these names, as read from the kernel."""
    links = [
        {
            "index": 2 + number,
            "ifi_type": 1,
            "flags": WORKING,
            "attrs": [("IFLA_IFNAME", name), ("IFLA_ADDRESS", "02:00:00:00:00:01")],
        }
        for number, name in enumerate(names)
    ]
    return from_netlink(links, [], excluded=excluded)


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
        interface(master=7),
    ],
    ids=["down", "no carrier", "no broadcast", "no ARP", "loopback", "a tunnel", "port of a bridge or bond"],
)
def test_what_cannot_speak_arp_now_does_not_announce(unfit: Interface) -> None:
    assert announcing([unfit, interface("eth1")]) == (interface("eth1"),)


def test_netlink_messages_become_interfaces_with_their_addresses() -> None:
    links = [
        {
            "index": 3,
            "ifi_type": 1,
            "flags": WORKING,
            "attrs": [("IFLA_IFNAME", "eth1"), ("IFLA_ADDRESS", "02:00:00:00:00:01"), ("IFLA_MASTER", 9)],
        },
        {
            "index": 2,
            "ifi_type": 1,
            "flags": WORKING,
            "attrs": [("IFLA_IFNAME", "eth0"), ("IFLA_ADDRESS", "02:00:00:00:00:01")],
        },
        {"index": 4, "ifi_type": 768, "flags": UP, "attrs": [("IFLA_IFNAME", "ipip0"), ("IFLA_ADDRESS", "0.0.0.0")]},
        {"index": 5, "ifi_type": 65534, "flags": UP, "attrs": [("IFLA_IFNAME", "tun0")]},
    ]
    addresses = [
        {"index": 2, "prefixlen": 24, "attrs": [("IFA_ADDRESS", "192.0.2.1"), ("IFA_LOCAL", "192.0.2.1")]},
        {"index": 2, "prefixlen": 64, "attrs": [("IFA_ADDRESS", "2001:db8::1")]},
        {"index": 2, "prefixlen": 64, "attrs": [("IFA_ADDRESS", "fe80::1")]},
        {"index": 9, "attrs": [("IFA_LABEL", "odd")]},
    ]
    routes = [{"attrs": [("RTA_OIF", 2)]}]
    assert from_netlink(links, addresses, routes) == (
        interface(
            addresses=frozenset({"192.0.2.1", "2001:db8::1", "fe80::1"}),
            flags=WORKING,
            subnets=frozenset({Subnet.parse("192.0.2.0/24"), Subnet.parse("2001:db8::/64")}),
            default_route=True,
        ),
        Interface(index=3, name="eth1", mac=MAC, flags=WORKING, master=9),
    )


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
