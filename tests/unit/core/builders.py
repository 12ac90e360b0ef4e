"""Short ways to say what a test is about."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from allocator.core import lifecycle
from allocator.core.addresses import Address, AddressRange, Family
from allocator.core.claims import Claim, ClaimState, Holder, Port
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.pools import Applicant, Pool
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision

HTTP = frozenset({Port("TCP", 80)})
HTTPS = frozenset({Port("TCP", 443)})


def pool(name: str, *texts: str, **fields: Any) -> Pool:
    return Pool(name=name, ranges=tuple(AddressRange.parse(text) for text in texts), **fields)


def ask(
    name: str = "web", *, namespace: str = "prod", labels: Mapping[str, str] | None = None, **fields: Any
) -> ServiceRequest:
    fields["pins"] = tuple(Address.parse(pin) for pin in fields.get("pins", ()))
    for listed in ("status_addresses", "annotated_addresses"):
        fields[listed] = tuple(Address.parse(text) for text in fields.get(listed, ()))
    fields.setdefault("ports", HTTP)
    return ServiceRequest(applicant=Applicant(namespace, {}, labels or {}), name=name, **fields)


def claim(text: str, pool_name: str, *requests: ServiceRequest, cooling_since: str = "", key: str = "") -> Claim:
    return Claim(
        address=Address.parse(text),
        pool=pool_name,
        state=ClaimState.COOLING if cooling_since else ClaimState.BOUND,
        holders=tuple(replace(request.as_holder(), sharing_key=key) for request in requests)
        or (Holder(namespace="other", name="svc", ports=HTTP, sharing_key=key),),
        released_at=cooling_since,
        version="1",
    )


def ledger(*claims: Claim) -> Ledger:
    book = Ledger()
    for one in claims:
        book.put(one)
    return book


def given(decision: Decision) -> list[str]:
    return [str(place.address) for place in decision.placements]


def apply(decision: Decision, request: ServiceRequest, book: Ledger) -> None:
    """Write a decision into the ledger the way the shell does."""
    wanted = {place.address for place in decision.placements}
    for held in book.held_by(request.namespace, request.name):
        if held.address not in wanted:
            release(book, held, request)
    for place in decision.placements:
        book.put(lifecycle.bind(place, request, now="t1"))


def release(book: Ledger, held: Claim, request: ServiceRequest) -> None:
    left = lifecycle.leave(held, *request.key, now="t1", cool=True)
    if left is not None:
        book.put(left)


def decided(request: ServiceRequest, pools: list[Pool], *claims: Claim) -> Decision:
    return decide(request, pools=pools, ledger=ledger(*claims))


DUAL = (Family.IPV4, Family.IPV6)
