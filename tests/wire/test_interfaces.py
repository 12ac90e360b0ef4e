"""What the kernel says of links, addresses and routes as they change, and what that costs."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from speaker.netdev.interface_watch import InterfaceWatch
from speaker.netdev.interfaces import Interface, announcing
from speaker.netdev.netlink import Kind, Message
from speaker.netdev.route_socket import DumpInterrupted, NotificationSocket, RouteSocket
from tests.lab.network import Host, NetworkError
from tests.lab.waiting import wait_until
from tests.wire.conftest import Join

MANY = 5000
EVERY_LINK = 0
SECONDS = 10.0


class Watched:
    """Everything that an interface watch on a host has reported."""

    def __init__(self) -> None:
        self.reports: list[tuple[Interface, ...]] = []

    def of(self, name: str) -> Interface:
        """The latest report of an interface. Raises KeyError."""
        found = [each for each in self.reports[-1] if each.name == name]
        if not found:
            raise KeyError(name)
        return found[0]

    def usable(self) -> list[set[str]]:
        """By report, the names of the interfaces that could announce."""
        return [{each.name for each in announcing(report)} for report in self.reports]


@contextmanager
def watching(host: Host) -> Iterator[Watched]:
    watched = Watched()
    with host.inside():
        watch = InterfaceWatch(watched.reports.append)
    watch.start()
    try:
        wait_until(lambda: watched.reports, SECONDS, "the first report comes")
        yield watched
        assert watch.alive
    finally:
        watch.stop()


@pytest.fixture
def node(join: Join) -> Host:
    host, _ = join(node=["192.0.2.1/24", "2001:db8::1/64"], other=["192.0.2.2/24"])
    return host


def add_many(host: Host, interface: str, *, first: int = 0, count: int = MANY) -> None:
    numbers = range(first, first + count)
    host.run_ip(*(f"address add 10.{n >> 16}.{n >> 8 & 255}.{n & 255}/32 dev {interface}" for n in numbers))


def index_of(host: Host, interface: str) -> int:
    return int(host.ip_json("link", "show", "dev", interface)[0]["ifindex"])


def set_ipv6(host: Host, interface: str, *, enabled: bool) -> None:
    path = Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6")
    host.call(lambda: path.write_text("0" if enabled else "1"))


def test_addresses_subnets_and_default_routes_are_reported_as_they_come_and_go(node: Host) -> None:
    with watching(node) as watched:
        eth0 = watched.of("eth0")
        assert {"192.0.2.1", "2001:db8::1"} < eth0.addresses
        assert {str(subnet) for subnet in eth0.subnets} == {"192.0.2.0/24", "2001:db8::/64"}
        assert not eth0.default_route
        # DHCP sets the address first and the route a moment later, and nothing else changes then.
        time.sleep(0.2)
        node.run_ip("route add default via 192.0.2.9")
        wait_until(lambda: watched.of("eth0").default_route, SECONDS, "the default route is reported")
        node.run_ip("route del default", "address del 192.0.2.1/24 dev eth0")
        wait_until(lambda: not watched.of("eth0").default_route, SECONDS, "it is reported gone")
        wait_until(lambda: "192.0.2.1" not in watched.of("eth0").addresses, SECONDS, "the address is reported gone")


def test_an_interface_with_thousands_of_addresses_that_never_announces_wakes_nobody(node: Host) -> None:
    node.run_ip("link add kube-ipvs0 type bridge", "link set kube-ipvs0 up")
    add_many(node, "kube-ipvs0")
    with node.inside():
        notifications, questions = NotificationSocket(), RouteSocket()
    eth0 = index_of(node, "eth0")
    notifications.follow({eth0})
    taken(notifications)
    with watching(node) as watched:
        assert watched.of("kube-ipvs0").addresses == frozenset()
        reports = len(watched.reports)
        add_many(node, "kube-ipvs0", first=MANY, count=500)
        node.run_ip("route add 198.51.100.0/24 via 192.0.2.9", "address add 192.0.2.7/24 dev eth0")
        wait_until(lambda: "192.0.2.7" in watched.of("eth0").addresses, SECONDS, "eth0's is reported")
        assert len(watched.reports) == reports + 1
    assert [message.kind for message in taken(notifications)] == [Kind.NEW_ADDRESS]
    listed = questions.addresses(eth0)
    questions.close()
    notifications.close()
    assert len(listed) < 10, "the kernel lists the addresses of the link that was asked about, and no others"


def taken(notifications: NotificationSocket) -> list[Message]:
    found: list[Message] = []
    while more := notifications.take():
        found += more
    return found


class Disturbed(RouteSocket):
    """Has something change between the first and the second part of the first answer."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host
        self._parts = 0

    def _receive(self, sequence: int) -> list[Message]:
        found = super()._receive(sequence)
        self._parts += 1
        if self._parts == 1:
            self._host.run_ip("address add 192.0.2.77/32 dev eth0", "address del 10.0.0.1/32 dev eth0")
        return found


def test_a_list_that_was_interrupted_by_a_change_is_repeated(node: Host) -> None:
    add_many(node, "eth0", count=2000)
    with node.inside():
        questions = Disturbed(node)
    with pytest.raises(DumpInterrupted):
        questions.addresses(EVERY_LINK)
    assert len([each for each in questions.addresses(EVERY_LINK) if each.body[0] == socket.AF_INET]) == 2002
    questions.close()


def test_a_change_while_the_addresses_of_a_link_are_listed_is_not_missed(node: Host) -> None:
    """Of one link's addresses the kernel does not say that the list was interrupted."""
    add_many(node, "eth0", count=2000)
    with node.inside():
        watched = Watched()
        watch = InterfaceWatch(watched.reports.append)
        watch._questions.close()
        watch._questions = Disturbed(node)
    watch.start()
    try:
        wait_until(lambda: watched.reports, SECONDS, "a report comes all the same")
        wait_until(lambda: len(watched.of("eth0").addresses) > 2000, SECONDS, "with every address")
        assert "10.0.0.1" not in watched.of("eth0").addresses
    finally:
        watch.stop()


def test_notifications_that_were_lost_are_made_up_for(node: Host) -> None:
    with watching(node) as watched:
        # The host's own pace does not fill a queue of a megabyte: several thousand changes in one batch do.
        for _ in range(3):
            add_many(node, "eth0")
            node.run_ip(*(f"address del 10.0.{n >> 8}.{n & 255}/32 dev eth0" for n in range(MANY)))
        node.run_ip("address add 192.0.2.8/24 dev eth0")
        wait_until(
            lambda: (
                {each for each in watched.of("eth0").addresses if "." in each}
                == {"192.0.2.1", "192.0.2.8"} | own(node)
            ),
            SECONDS,
            "what is reported is what there is",
        )


def own(host: Host) -> set[str]:
    shown = host.ip_json("-4", "address", "show", "dev", "eth0")
    return {each["local"] for each in shown[0]["addr_info"]} if shown else set()


def test_a_link_that_goes_and_comes_back_at_once_is_reported_gone(node: Host) -> None:
    with watching(node) as watched:
        node.run_ip("link set eth0 down", "link set eth0 up")
        wait_until(lambda: set() in watched.usable(), SECONDS, "it is reported down")
        wait_until(lambda: watched.usable()[-1] == {"eth0"}, SECONDS, "and up again")


def test_a_burst_of_changes_is_a_few_reports(node: Host) -> None:
    with watching(node) as watched:
        before = len(watched.reports)
        begun = time.monotonic()
        add_many(node, "eth0", count=1000)
        wait_until(lambda: len(watched.of("eth0").addresses) > 1000, SECONDS, "all are reported")
        passed = time.monotonic() - begun
        assert len(watched.reports) - before <= passed / 0.05 + 2


@pytest.mark.parametrize("addresses", ["with addresses", "without"])
def test_ipv6_that_is_turned_off_and_on_for_an_interface_is_reported(node: Host, addresses: str) -> None:
    if addresses == "without":
        node.run_ip("address flush dev eth0 scope global")
    with watching(node) as watched:
        assert watched.of("eth0").ipv6
        set_ipv6(node, "eth0", enabled=False)
        wait_until(lambda: not watched.of("eth0").ipv6, SECONDS, "it is reported off")
        set_ipv6(node, "eth0", enabled=True)
        wait_until(lambda: watched.of("eth0").ipv6, SECONDS, "it is reported on")


def test_an_address_that_another_host_has_is_not_reported(join: Join) -> None:
    host, _ = join(node=["192.0.2.1/24"], other=["2001:db8::1/64"])
    for name in ("all", "eth0"):
        path = Path(f"/proc/sys/net/ipv6/conf/{name}/accept_dad")
        host.call(lambda path=path: path.write_text("1"))  # type: ignore[misc]
    with watching(host) as watched:
        host.run_ip("address add 2001:db8::1/64 dev eth0", "address add 2001:db8::2/64 dev eth0")
        wait_until(
            lambda: "dadfailed" in host.run("ip", "-6", "address").stdout, SECONDS, "the kernel finds it taken"
        )
        wait_until(lambda: "2001:db8::2" in watched.of("eth0").addresses, SECONDS, "the other one is reported")
        wait_until(lambda: "2001:db8::1" not in watched.of("eth0").addresses, SECONDS, "this one is not")


def test_ports_of_a_bridge_do_not_announce_and_the_bridge_does(node: Host) -> None:
    with watching(node) as watched:
        node.run_ip("link add lan0 type bridge forward_delay 0", "link set lan0 up", "link set eth0 master lan0")
        wait_until(lambda: watched.usable()[-1] == {"lan0"}, SECONDS, "the bridge takes its port's place")
        node.run_ip("link set eth0 nomaster")
        wait_until(lambda: watched.usable()[-1] == {"eth0"}, SECONDS, "and gives it back")


@pytest.mark.parametrize(
    ("kind", "commands", "usable"),
    [
        ("VLAN", ["link add link eth0 name eth0.5 type vlan id 5", "link set eth0.5 up"], {"eth0", "eth0.5"}),
        (
            "bond",
            [
                "link add bond1 type bond mode active-backup",
                "link set eth0 down",
                "link set eth0 master bond1",
                "link set bond1 up",
            ],
            {"bond1"},
        ),
        ("dummy", ["link add lan7 type dummy", "link set lan7 arp on up"], {"eth0"}),
    ],
)
def test_kinds_of_interfaces(node: Host, kind: str, commands: list[str], usable: set[str]) -> None:
    with watching(node) as watched:
        try:
            node.run_ip(*commands[:1])
        except NetworkError as error:
            pytest.skip(f"not tested: this kernel has no {kind} interfaces ({error})")
        node.run_ip(*commands[1:])
        wait_until(lambda: watched.usable()[-1] == usable, SECONDS, f"{usable} can announce")
        time.sleep(0.2)
        assert watched.usable()[-1] == usable
