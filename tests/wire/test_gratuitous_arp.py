"""Telling the LAN, unasked, where an address is now."""

from __future__ import annotations

import itertools
import time

from speaker.cluster.scope import EVERYWHERE
from speaker.frames.arp import ArpFrame, Operation
from speaker.frames.ethernet import BROADCAST
from tests.lab.waiting import wait_until
from tests.wire.conftest import Join
from tests.wire.speaking import Speaking, Tap, resolve, resolved_as, tap

VIP = "192.0.2.100"


def gratuitous_frames(wire: Tap, count: int, within_seconds: float = 5) -> list[tuple[float, ArpFrame]]:
    frames = []
    for frame in wire.frames(within_seconds):
        if frame.sender_ip == frame.target_ip:
            frames.append((time.monotonic(), frame))
        if len(frames) == count:
            break
    return frames


def test_taking_an_address_sends_both_forms_at_once_and_repeats_them(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    with Speaking(node) as speaking, tap(client) as wire:
        taken_at = time.monotonic()
        speaking.announce(VIP)
        frames = gratuitous_frames(wire, 8)
        # Counted after they were sent.
        wait_until(lambda: speaking.metrics.gratuitous_sent.value(VIP) == 8, 5, "all are counted")
    assert [frame.operation for _, frame in frames] == [Operation.REQUEST, Operation.REPLY] * 4
    for _, frame in frames:
        assert str(frame.sender_ip) == VIP
        assert frame.destination == frame.target_mac == BROADCAST
        assert frame.source.hex(":") == frame.sender_mac.hex(":") == node.mac("eth0")
    # 0, 100, 300 and 700 ms after taking it: never early, and the last proves that the burst goes on.
    offsets = [moment - taken_at for moment, _ in frames[::2]]
    for offset, planned in zip(offsets, (0.0, 0.1, 0.3, 0.7), strict=True):
        assert offset >= planned


def test_a_client_that_knew_the_old_holder_follows_without_asking(join: Join) -> None:
    old, new, client = join(old=["192.0.2.1/24"], new=["192.0.2.3/24"], client=["192.0.2.2/24"])
    with Speaking(old) as former, Speaking(new) as latter:
        former.announce(VIP)
        resolve(client, [VIP])
        resolved_as(client, VIP, old.mac("eth0"))
        former.announce()
        latter.announce(VIP)
        resolved_as(client, VIP, new.mac("eth0"))
        # Nobody asked: the kernel took the news from the broadcast alone.
        assert latter.metrics.requests_received.value(VIP) == 0


def test_nothing_is_sent_for_an_address_once_it_is_withdrawn(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    with Speaking(node) as speaking, tap(client) as wire:
        speaking.announce(VIP)
        gratuitous_frames(wire, 2)
        speaking.announce("192.0.2.101")
        # The burst of the second address outlasts what the first one's had left of its first second.
        later = gratuitous_frames(wire, 8)
    assert {str(frame.sender_ip) for _, frame in later} == {"192.0.2.101"}


def test_many_addresses_go_out_at_a_limited_rate_and_each_once_before_any_again(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    addresses = [f"198.18.{index // 200}.{index % 200}" for index in range(300)]
    speaking = Speaking(node, announcements_per_second=1000.0, announcements_at_once=50.0)
    with speaking, tap(client) as wire:
        started = time.monotonic()
        speaking.announce(*addresses)
        frames = gratuitous_frames(wire, 2 * len(addresses))
    # Repeats of the first were due after 100 ms, while most had not been announced at all.
    assert [str(frame.sender_ip) for _, frame in frames[::2]] == addresses
    assert frames[-1][0] - started >= 0.25


def test_an_address_is_announced_again_and_again_at_a_slow_pace(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    with Speaking(node, refresh_seconds=0.4) as speaking, tap(client) as wire:
        speaking.announce(VIP)
        frames = gratuitous_frames(wire, 20, within_seconds=10)
        # The burst has seven announcements of two frames.
        gaps = [after - before for (before, _), (after, _) in itertools.pairwise(frames[14::2])]
        assert gaps
        assert min(gaps) >= 0.28
        # Counted after it was sent, so the third may have been seen before it was counted.
        wait_until(lambda: speaking.announcements("refresh") >= 3, 5, "three refreshes are counted")
        assert speaking.announcements("taken") == 1
        assert speaking.announcements("repeat") == 6


def test_an_interface_that_comes_back_is_announced_on_again(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    with Speaking(node) as speaking, tap(client) as wire:
        speaking.announce(VIP)
        gratuitous_frames(wire, 14, within_seconds=10)
        node.links["eth0"].down()
        wait_until(lambda: not speaking.announcer.interfaces_of(EVERYWHERE), 5, "the interface is given up")
        node.links["eth0"].up()
        assert gratuitous_frames(wire, 2)
        wire.ask(VIP)
        wire.until_reply(VIP)


def test_an_interface_that_appears_later_is_announced_on(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    node.run_ip("link set eth0 down")
    node.run_ip("link add other type bridge", "link set other up")
    with Speaking(node) as speaking, tap(client) as wire:
        speaking.announce(VIP)
        node.run_ip("link set eth0 up")
        assert gratuitous_frames(wire, 2)
