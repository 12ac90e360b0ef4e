"""What an Event on a Node says: the field, the value, why, and what to do."""

from __future__ import annotations

import pytest

from allocator.core.addresses import Address
from speaker.node_warnings import NodeWarnings


class Events:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    def record_node(self, name: str, *, reason: str, message: str) -> None:
        self.seen.append((name, reason, message))


IN_USE = OSError(98, "Address already in use")


@pytest.mark.parametrize(
    ("which", "port", "named"),
    [
        ("heartbeat_port_held", 7946, "UDP 7946 (--heartbeat-port)"),
        ("monitor_port_held", 9122, "TCP 9122 (--monitor-port)"),
        ("bgp_metrics_port_held", 9121, "TCP 9121 (--bgp-metrics-port)"),
    ],
)
def test_a_held_port_is_named_with_its_option_the_reason_and_the_remedy(which: str, port: int, named: str) -> None:
    events = Events()
    getattr(NodeWarnings("node-1", events), which)(port, IN_USE)
    ((node, reason, message),) = events.seen
    assert (node, reason) == ("node-1", "PortHeld")
    assert message.startswith(f"{named} cannot be opened: [Errno 98] Address already in use; this node ")
    assert message.endswith(f"; free the port, or set another by {named.partition('(')[2].rstrip(')')}")


def test_addresses_that_are_refused_no_longer_are_no_event() -> None:
    events = Events()
    warnings = NodeWarnings("node-1", events)
    warnings.addresses_refused({})
    assert events.seen == []
    warnings.addresses_refused({Address.parse("192.0.2.1"): "filter on eth0: Cannot allocate memory"})
    assert [reason for _, reason, _ in events.seen] == ["AddressRefused"]
