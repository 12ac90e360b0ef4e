"""When BGP's UPDATEs reach a router: what comes before is the node's, and what comes after the router's."""

from __future__ import annotations

import re

from tests.lab.capture import Capture
from tests.lab.network import Host
from tests.lab.waiting import wait_until

_UPDATE = re.compile(rb"\xff{16}..\x02", re.DOTALL)
"""RFC 4271, section 4.1: marker, length, type."""
_SECONDS = 10.0


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
