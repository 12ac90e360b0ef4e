"""Claims as IPAllocations and back: nothing is lost, and nothing is written that an API server may not take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address
from allocator.core.claims import Claim, ClaimState, Holder, Port
from allocator.objects.ip_allocation import claim_from, document_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

HOLDERS = st.builds(
    Holder,
    namespace=st.sampled_from(("prod", "team")),
    name=st.sampled_from(("", "web", "api")),
    uid=st.sampled_from((None, "1")),
    generate_name=st.sampled_from(("", "web-")),
    ports=st.frozensets(st.sampled_from((Port("TCP", 80), Port("UDP", 53))), max_size=2),
    sharing_key=st.sampled_from(("", "k", "other")),
    local_traffic=st.booleans(),
    backend_key=st.sampled_from(("", "app=web")),
    sharing_namespaces=st.sampled_from((None, frozenset({"*"}), frozenset({"prod", "team"}))),
    since=st.just("2026-01-01T00:00:00.000000Z"),
).map(lambda holder: holder if holder.local_traffic else replace(holder, backend_key=""))
"""Only externalTrafficPolicy Local has a backend key."""

CLAIMS = st.builds(
    Claim,
    address=st.sampled_from((Address.parse("192.0.2.1"), Address.parse("2001:db8::1"))),
    pool=st.just("p"),
    state=st.sampled_from((ClaimState.TENTATIVE, ClaimState.BOUND)),
    holders=st.lists(HOLDERS, min_size=1, max_size=4).map(tuple),
    original_pool=st.sampled_from(("", "old")),
    reassign=st.booleans(),
)


def values(value: Any) -> Iterator[Any]:
    """Every value below an object of JSON."""
    yield value
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in below:
        yield from values(one)


@given(CLAIMS)
def test_what_is_written_is_read_back(claim: Claim) -> None:
    document = document_of(claim, now=NOW)
    document["metadata"]["resourceVersion"] = "1"

    assert claim_from(document) == replace(claim, version="1")


@given(CLAIMS)
def test_no_text_is_written_empty(claim: Claim) -> None:
    """Kubernetes 1.20 takes an empty text in a list for null, and refuses the object."""
    written = list(values(document_of(claim, now=NOW)))

    assert "" not in written
    assert None not in written
