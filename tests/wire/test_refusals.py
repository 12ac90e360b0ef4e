"""A kernel that refuses what answering for an address needs."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from allocator.core.addresses import Address
from speaker.layer2 import refusals
from speaker.netdev.multicast_groups import GroupMemberships
from tests.lab.network import Host
from tests.lab.waiting import wait_until
from tests.lab.who_has import who_has
from tests.wire.conftest import Join
from tests.wire.speaking import Speaking

FIRST = "192.0.2.100"
SCATTERED = [f"198.18.{index // 100}.{index % 100 * 2}" for index in range(200)]
SECONDS = 15.0
ENOUGH, SCARCE = "20480", "3000"


@pytest.fixture
def hosts(join: Join, monkeypatch: pytest.MonkeyPatch) -> tuple[Host, Host]:
    monkeypatch.setattr(refusals, "RETRY_SECONDS", 3.0)
    node, client = join(node=["192.0.2.1/24", "2001:db8::1/64"], client=["192.0.2.2/24", "2001:db8::2/64"])
    return node, client


def allow_memory(host: Host, value: str) -> None:
    """Limit what a socket may take for its filter."""
    setting = Path("/proc/sys/net/core/optmem_max")

    def write() -> None:
        if not setting.exists():
            pytest.skip("not tested: before Linux 6.8 this is set for the machine, which a test must not change")
        setting.write_text(value)

    host.call(write)


def refused_now(speaking: Speaking) -> float | None:
    return speaking.registry.get_sample_value("admitlb_addresses_refused")


def test_addresses_whose_filter_is_refused_are_reported_and_tried_again_and_the_others_stay(
    hosts: tuple[Host, Host],
) -> None:
    node, client = hosts
    with Speaking(node) as speaking:
        speaking.announce(FIRST)
        allow_memory(node, SCARCE)
        speaking.announce(FIRST, *SCATTERED)
        assert set(speaking.refused[-1]) == set(SCATTERED)
        assert speaking.refused[-1][SCATTERED[0]].startswith("filter on eth0: ")
        assert refused_now(speaking) == len(SCATTERED)
        assert speaking.errors("filter") > 0
        assert speaking.announcer.answered() == {Address.parse(FIRST)}
        assert who_has(client, FIRST) == {node.mac("eth0")}, "what was answered is answered still"
        assert who_has(client, SCATTERED[0]) == set()
        taken = speaking.metrics.gratuitous_sent.value(SCATTERED[0])
        assert taken == 0, "nobody is sent to where nobody answers"

        speaking.announce(FIRST)
        assert set(speaking.refused[-1]) == set(SCATTERED), "given away they are refused until they are tried again"
        wait_until(lambda: not speaking.refused[-1], SECONDS, "they may be taken again")
        speaking.announce(FIRST, *SCATTERED)
        assert set(speaking.refused[-1]) == set(SCATTERED)
        known, failures = len(speaking.refused), speaking.errors("filter")
        wait_until(lambda: speaking.errors("filter") > failures, SECONDS, "they are tried again")
        assert speaking.refused[known:] == [], "and refused again, so that nothing has changed"
        allow_memory(node, ENOUGH)
        wait_until(lambda: not speaking.refused[-1], SECONDS, "they are accepted at last")
        assert refused_now(speaking) == 0
        assert who_has(client, SCATTERED[0]) == {node.mac("eth0")}


def test_an_ipv6_address_whose_group_cannot_be_joined_is_refused_alone(
    hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, client = hosts
    join = GroupMemberships.join
    broken = Address.parse("ff02::1:ff00:66")

    def refuse_one(self: GroupMemberships, group: Address) -> None:
        # No limit of the kernel's fails one join and not the next.
        if group == broken:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        join(self, group)

    monkeypatch.setattr(GroupMemberships, "join", refuse_one)
    with Speaking(node) as speaking:
        speaking.announce("2001:db8::66", "2001:db8::67")
        wait_until(lambda: speaking.refused, SECONDS, "one is refused")
        assert set(speaking.refused[-1]) == {"2001:db8::66"}
        assert who_has(client, "2001:db8::67") == {node.mac("eth0")}
        monkeypatch.setattr(GroupMemberships, "join", join)
        wait_until(lambda: not speaking.refused[-1], SECONDS, "it is accepted at last")
        assert who_has(client, "2001:db8::66") == {node.mac("eth0")}


def test_an_interface_that_cannot_be_opened_is_tried_again_and_its_addresses_are_refused(
    hosts: tuple[Host, Host],
) -> None:
    node, client = hosts
    with Speaking(node) as speaking:
        speaking.announce(FIRST)
        # Too little even for the filter that lets nothing through.
        allow_memory(node, "32")
        node.run_ip("link set eth0 down", "link set eth0 up")
        wait_until(lambda: speaking.refused and FIRST in speaking.refused[-1], SECONDS, "it is refused")
        assert speaking.refused[-1][FIRST].startswith("open on eth0: ")
        assert speaking.announcer.answered() == frozenset()
        allow_memory(node, ENOUGH)
        wait_until(lambda: not speaking.refused[-1], SECONDS, "the interface is opened at last")
        wait_until(lambda: who_has(client, FIRST) == {node.mac("eth0")}, SECONDS, "the address is answered")
