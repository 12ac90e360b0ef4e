"""However large a cluster is, what is said to one tenant is short, and says nothing of the others."""

from __future__ import annotations

import pytest

from allocator.core.decision import decide
from allocator.core.listing import MESSAGE_CHARACTERS, cut, each_with_reason, listed
from allocator.core.pools import Pool, ServiceAllocation
from allocator.core.requests import ServiceRequest
from allocator.core.selectors import Operator, Requirement, Selector
from tests.unit.core.builders import ask, ledger, pool

SECRET = "team-secret"
LONG = frozenset(f"{'v' * 55}{number}" for number in range(200))
LABELLED = Selector(frozenset({Requirement("app", Operator.IN, LONG)}))


def crowded() -> list[Pool]:
    """Two hundred pools, each closed for one of many reasons."""
    closed = ServiceAllocation(namespaces=frozenset(f"{SECRET}-{number}" for number in range(50)))
    labelled = ServiceAllocation(service_selectors=(LABELLED,) * 20)
    many = [f"10.{number}.0.0-10.{number}.0.1" for number in range(200)]
    return [
        *(pool(f"closed-{n:03}", f"192.168.{n}.0/24", allocation=closed) for n in range(100)),
        *(pool(f"labelled-{n:03}", f"172.16.{n}.0/24", allocation=labelled) for n in range(99)),
        pool("many-ranges", *many, auto_assign=False),
    ]


@pytest.mark.parametrize(
    "request_",
    [
        ask("web", namespace="dev"),
        ask("web", namespace="dev", pins=("203.0.113.1",)),
        ask("web", namespace="dev", pins=("192.168.3.1",)),
        ask("web", namespace="dev", pins=("172.16.3.1",)),
        ask("web", namespace="dev", pins=("192.168.3.1",), pool_name="many-ranges"),
        ask("web", namespace="dev", pool_name="nowhere"),
        ask("web", namespace="dev", pool_name="closed-001"),
        ask("web", namespace="dev", pool_name="labelled-001"),
        ask("web", namespace="dev", pool_name="x" * 100_000),
    ],
)
def test_every_message_is_short_and_names_nobody_else(request_: ServiceRequest) -> None:
    decision = decide(request_, pools=crowded(), ledger=ledger())
    assert decision.refusal is not None
    for text in (decision.refusal.message, *decision.warnings):
        assert len(text) <= MESSAGE_CHARACTERS
        assert SECRET not in text
        assert text.startswith("dev/web: ")


def test_the_rest_of_many_pools_is_counted_by_reason() -> None:
    decision = decide(ask("web", namespace="dev"), pools=crowded(), ledger=ledger())
    assert decision.refusal is not None
    assert "closed-000: not open to namespace dev; " in decision.refusal.message
    assert "90 more: not open to namespace dev" in decision.refusal.message
    assert "99 more: not open to the Service's labels" in decision.refusal.message


def test_lists_end_with_how_many_more_there_are() -> None:
    assert listed("abc") == "a, b, c"
    assert listed("abcdefgh") == "a, b, c, d, e and 3 more"
    assert listed("abcdefgh", counted=False) == listed("abcdefghi", counted=False) == "a, b, c, d, e and others"
    assert each_with_reason([("a", "full"), ("b", "closed")]) == "a: full; b: closed"
    assert each_with_reason([(str(n), "full") for n in range(12)], limit=1) == "0: full; 11 more: full"
    assert each_with_reason([(str(n), str(n)) for n in range(12)], limit=1).endswith("1 more: 5; 6 more")


def test_a_cut_message_keeps_who_and_the_remedy() -> None:
    text = cut("who: " + "x" * 10_000 + "; remedy")
    assert len(text) == MESSAGE_CHARACTERS
    assert text.startswith("who: ")
    assert text.endswith("; remedy")
    assert cut("short") == "short"
