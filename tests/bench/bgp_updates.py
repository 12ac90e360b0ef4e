"""When BGP's UPDATEs reach a router: what comes before is the node's, and what comes after the router's."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.lab.capture import Capture, Frame
from tests.lab.network import Host
from tests.lab.waiting import wait_until

_UPDATE = re.compile(rb"\xff{16}..\x02", re.DOTALL)
"""RFC 4271, section 4.1: marker, length, type."""
_END_OF_RIB = (
    b"\xff" * 16 + bytes.fromhex("0017 02 0000 0000"),
    b"\xff" * 16 + bytes.fromhex("001d 02 0000 0006 800f 03 0002 01"),
)
"""RFC 4724, section 2: an UPDATE that says nothing, or, of IPv6, withdraws nothing."""
_SECONDS = 10.0
_ETHERNET_BYTES = 14
_IPV4 = 0x0800
_BGP_PORT = 179


def updates(router: Host) -> Capture:
    """Collect the frames with an UPDATE while the block runs."""
    return Capture(router, keep=lambda frame: _UPDATE.search(frame) is not None)


def milliseconds_to_update(captured: Capture, started: float) -> float:
    """Return how long after a time the first UPDATE came, for which the kernel's clock counts."""
    frame = wait_until(
        lambda: next((each for each in captured.frames if each.at >= started and not each.outgoing), None),
        _SECONDS,
        "an UPDATE comes",
    )
    return 1000 * (frame.at - started)


def sessions(router: Host) -> Capture:
    """Collect all frames of BGP while the block runs."""
    return Capture(router, keep=lambda frame: _BGP_PORT in _ports_of(_segment(frame)))


def milliseconds_to_all_routes(captured: Capture, started: float) -> float:
    """Return how long after a time a session of that time had brought all its routes: it says so (End-of-RIB)."""
    frame = wait_until(lambda: _with_end_of_rib(captured.frames, started), _SECONDS, "End-of-RIB comes")
    return 1000 * (frame.at - started)


def _with_end_of_rib(frames: Iterable[Frame], started: float) -> Frame | None:
    """Return the frame that completes it; one message may come in two."""
    last = b""
    for frame in frames:
        if frame.at < started or frame.outgoing:
            continue
        segment = _segment(frame.data)
        last += segment[4 * (segment[12] >> 4) :]
        if any(marker in last for marker in _END_OF_RIB):
            return frame
        last = last[-len(_END_OF_RIB[1]) :]
    return None


def _segment(frame: bytes) -> bytes:
    """Return what TCP has of a frame, or at least of what is not TCP nothing of port 179."""
    packet = frame[_ETHERNET_BYTES:]
    return packet[4 * (packet[0] & 15) :] if int.from_bytes(frame[12:14]) == _IPV4 else packet[40:]


def _ports_of(segment: bytes) -> tuple[int, int]:
    return int.from_bytes(segment[:2]), int.from_bytes(segment[2:4])
