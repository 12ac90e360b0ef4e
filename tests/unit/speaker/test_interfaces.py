"""Which interfaces announce, and how the kernel's messages are read."""

from __future__ import annotations

import pytest

from speaker.netdev.interfaces import Interface, announcing, from_netlink

MAC = bytes.fromhex("020000000001")
UP, BROADCAST, LOOPBACK, NOARP, LOWER_UP = 0x1, 0x2, 0x8, 0x80, 0x10000
WORKING = UP | BROADCAST | LOWER_UP


def interface(name: str = "eth0", **fields: object) -> Interface:
    return Interface(index=2, name=name, mac=MAC, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["eth0", "ens3", "bond0", "br-lan", "enp1s0.100", "wlan0", "mydocker0"])
def test_interfaces_of_a_lan_announce(name: str) -> None:
    assert announcing([interface(name)])


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
    assert announcing([interface(name)]) == ()


def test_the_list_of_excluded_names_can_be_another() -> None:
    assert announcing([interface("veth0"), interface("eth9")], excluded=["^eth9$"]) == (interface("veth0"),)


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
        {"index": 2, "attrs": [("IFA_ADDRESS", "192.0.2.1"), ("IFA_LOCAL", "192.0.2.1")]},
        {"index": 2, "attrs": [("IFA_ADDRESS", "2001:db8::1")]},
        {"index": 9, "attrs": [("IFA_LABEL", "odd")]},
    ]
    assert from_netlink(links, addresses) == (
        interface(addresses=frozenset({"192.0.2.1", "2001:db8::1"}), flags=WORKING),
        Interface(index=3, name="eth1", mac=MAC, flags=WORKING, master=9),
    )
