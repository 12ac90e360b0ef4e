"""Which releases of FRR this works with, and what is known to be wrong with some."""

from __future__ import annotations

import re

from allocator.bgp.inputs import Peer

OLDEST = (8, 4)
"""The oldest that the tests run (Debian 12)."""

_LATE_BFD = {(10, 4): 4, (10, 5): 4}
"""By release, the last patch release whose bgpd waits 30 s after BFD went down where a session's hold time is zero.

FRR's pull request 18901 brought it, 20223 fixes it: in 10.6.0, and in the patch releases that come next."""

_NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


def numbers(version: str) -> tuple[int, int, int] | None:
    """Return the numbers of a version as `show version` has it (10.3, 8.4.4, 10.5.1-dev); None for no such text."""
    found = _NUMBERS.match(version)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def too_old(version: str) -> str:
    """Say that a release is older than what is supported, with the remedy; empty where it is not."""
    found = numbers(version)
    if found is None or found[:2] >= OLDEST:
        return ""
    oldest = ".".join(map(str, OLDEST))
    return f"FRR {version} is older than {oldest}, and nobody tries it: renew the Pod of frr (admitlb bgp roll)"


def late_bfd(version: str, peer: Peer) -> str:
    """Say that BFD does not end this session at once, with the remedy; empty where it does, or there is none.

    A session without `holdTime` is safe: with BFD it is always given its timers (`frr_config`), whose absence is a
    hold time of zero to the releases concerned.
    """
    found = numbers(version)
    if found is None or not peer.bfd_profile or peer.hold_seconds != 0 or found[2] > _LATE_BFD.get(found[:2], -1):
        return ""
    return f"FRR {version} ends a session with holdTime 0s only 30 s after BFD went down: set another holdTime"
