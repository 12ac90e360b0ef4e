"""Releases of FRR that are too old, or known to end sessions late."""

from __future__ import annotations

from dataclasses import replace

import pytest

from allocator.bgp.desired import Desired
from allocator.bgp.frr_versions import late_bfd, numbers, too_old
from allocator.bgp.inputs import Peer
from allocator.bgp.rendering import render
from allocator.core.addresses import Address

PEER = Peer(
    name="tor",
    my_asn=64500,
    peer_asn=64501,
    address=Address.parse("192.0.2.1"),
    router_id="1.1.1.1",
    bfd_profile="fast",
)
BAD = [f"10.4.{patch}" for patch in range(5)] + [f"10.5.{patch}" for patch in range(5)]
GOOD = ["8.4.4", "9.1", "10.3", "10.3.4", "10.4.5", "10.5.5", "10.6.0", "10.7.0", "11.0", "unknown", ""]


@pytest.mark.parametrize("version", BAD + GOOD)
def test_late_bfd_is_of_all_patch_releases_up_to_the_mended_one(version: str) -> None:
    without_hold_time = replace(PEER, keepalive_seconds=0, hold_seconds=0)
    assert bool(late_bfd(version, without_hold_time)) is (version in BAD)
    for other in (
        PEER,
        replace(PEER, keepalive_seconds=3, hold_seconds=9),
        replace(without_hold_time, bfd_profile=""),
    ):
        assert not late_bfd(version, other)


@pytest.mark.parametrize("timers", [None, 9, 0])
def test_session_with_bfd_has_its_timers_written(timers: int | None) -> None:
    peer = replace(PEER, hold_seconds=timers, keepalive_seconds=None if timers is None else timers // 3)
    written = {key[3:]: line for key, line in render(Desired({"tor": peer})).lines.items() if key[0] == "neighbor"}
    assert written["timers",] == {None: "timers 60 180", 9: "timers 3 9", 0: "timers 0 0"}[timers]


def test_session_without_bfd_goes_by_the_timers_of_frr() -> None:
    plain = render(Desired({"tor": replace(PEER, bfd_profile="")}))
    assert not [key for key in plain.lines if key[-1] == "timers"]


@pytest.mark.parametrize(
    ("version", "old"), [("8.3.1", True), ("7.5", True), ("8.4", False), ("10.3-dev", False), ("unknown", False)]
)
def test_what_is_too_old(version: str, old: bool) -> None:
    assert bool(too_old(version)) is old


def test_numbers() -> None:
    assert numbers("10.5.1-my-build") == (10, 5, 1)
    assert numbers("10.3") == (10, 3, 0)
    assert numbers("unknown") is None
