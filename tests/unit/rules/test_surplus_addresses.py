"""A status may show several addresses of one family: other load balancers give them. What is dropped is said."""

from __future__ import annotations

import pytest

from allocator.core.addresses import Address
from allocator.rules.service_report import events_of_addresses
from tests.unit.commands.manifests import service


def said(before: tuple[str, ...], after: tuple[str, ...]) -> list[str]:
    events = events_of_addresses(service("web", shows=before), [Address.parse(text) for text in after])
    return [event.message for event in events]


@pytest.mark.parametrize(
    ("before", "after", "dropped", "kept"),
    [
        (("192.0.2.1", "192.0.2.2"), ("192.0.2.1",), "192.0.2.2", "192.0.2.1"),
        (("203.0.113.9", "192.0.2.2", "192.0.2.3"), ("192.0.2.2",), "203.0.113.9, 192.0.2.3", "192.0.2.2"),
        (("192.0.2.1", "2001:db8::1", "2001:db8::2"), ("192.0.2.1", "2001:db8::2"), "2001:db8::1", "2001:db8::2"),
    ],
)
def test_what_is_dropped_beside_another_of_its_family_is_named(
    before: tuple[str, ...], after: tuple[str, ...], dropped: str, kept: str
) -> None:
    (message,) = said(before, after)
    assert message.startswith(f"no longer shows {dropped}: a Service has one address of each family")
    assert message.endswith(kept)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Replaced, as asked or taken over: the new address is what is said.
        (("192.0.2.1",), ("192.0.2.2",)),
        (("203.0.113.1", "203.0.113.2"), ("192.0.2.2",)),
        # The Service asks for one family less.
        (("192.0.2.1", "2001:db8::1"), ("192.0.2.1",)),
        (("192.0.2.1",), ("192.0.2.1",)),
        ((), ("192.0.2.1",)),
    ],
)
def test_nothing_is_said_to_be_dropped_otherwise(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    assert not [message for message in said(before, after) if "no longer shows" in message]
