"""The decision core alone: no process, no network, one thread."""

from __future__ import annotations

import time
from collections.abc import Iterator

from allocator.core.addresses import Address, AddressRange, Family
from allocator.core.claims import Claim, ClaimState, Holder, Port
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.pools import Applicant, Pool
from allocator.core.requests import ServiceRequest
from tests.bench.figures import Figure

SECTION = "decision core"

_ALLOCATIONS = 20_000
_SCANNED = 2_000
_SAMPLE = 1_000
_REPEATS = 5
_POOLS = (
    ("10.0.0.0/16", Family.IPV4),
    ("10.0.0.0/8", Family.IPV4),
    ("2001:db8::/64", Family.IPV6),
)
_SHARED_CLAIMS = 250
_SHARED_PORTS = 2_000
_HTTP = frozenset({Port("TCP", 80)})
_APPLICANT = Applicant("default", {}, {})


def measure() -> Iterator[Figure]:
    """Yield the cost of allocations one after another, and how it grows with the number of addresses used."""
    scanned = _scan(AddressRange.parse(_POOLS[0][0]), _SCANNED)
    for text, family in _POOLS:
        pool = _pool(text)
        yield Figure(
            section=SECTION,
            what=f"{_ALLOCATIONS:,} allocations one after another, {text}",
            value=_allocate(pool, family, Ledger(), _ALLOCATIONS),
            unit="s",
            target=1.0,
            baseline=f"a scan from the first address each time: {_SCANNED:,} took {scanned:.2f} s, times 100",
            baseline_value=scanned * (_ALLOCATIONS / _SCANNED) ** 2,
        )
    for text, family in _POOLS:
        pool = _pool(text)
        # The best of several: whatever else runs on the machine only ever adds.
        at_100 = min(_allocate(pool, family, _used(pool, 100), _SAMPLE) for _ in range(_REPEATS)) / _SAMPLE
        at_60_000 = min(_allocate(pool, family, _used(pool, 60_000), _SAMPLE) for _ in range(_REPEATS)) / _SAMPLE
        yield Figure(
            section=SECTION,
            what=f"cost at 60,000 used, in costs at 100 used, {text}",
            value=at_60_000 / at_100,
            unit="x",
            target=2.0,
            baseline="µs per allocation at 100 used",
            baseline_value=at_100 * 1e6,
        )
    yield _fragmented()
    yield from _sharing()


def _sharing() -> Iterator[Figure]:
    """One decision of a Service whose key many addresses carry, all with the port it needs, or all without."""
    pool = _pool(_POOLS[0][0])
    first = pool.ranges[0].first
    ports = frozenset(Port("TCP", number) for number in range(1, _SHARED_PORTS + 1))
    ledger = Ledger()
    for number in range(_SHARED_CLAIMS):
        holder = Holder(namespace="other", name=f"used-{number}", ports=ports, sharing_key="key")
        address = Address(Family.IPV4, first + number)
        ledger.put(Claim(address=address, pool=pool.name, state=ClaimState.BOUND, holders=(holder,)))
    joined = min(_joined(ledger) for _ in range(_REPEATS))
    for what, asked in (
        ("none can be shared", ports),
        ("the first can be shared", frozenset(Port("UDP", port.number) for port in ports)),
    ):
        request = ServiceRequest(applicant=_APPLICANT, name="web", ports=asked, sharing_key="key")
        yield Figure(
            section=SECTION,
            what=f"one decision, {_SHARED_CLAIMS} addresses under its key with {_SHARED_PORTS:,} ports each, {what}",
            value=min(_decided(request, pool, ledger) for _ in range(_REPEATS)) * 1e3,
            unit="ms",
            target=20.0,
            baseline="joining all ports of every address under the key first, ms",
            baseline_value=joined * 1e3,
        )


def _decided(request: ServiceRequest, pool: Pool, ledger: Ledger) -> float:
    started = time.perf_counter()
    decide(request, pools=(pool,), ledger=ledger)
    return time.perf_counter() - started


def _joined(ledger: Ledger) -> float:
    started = time.perf_counter()
    for claim in ledger.shared_under("key"):
        frozenset(port for holder in claim.holders for port in holder.ports)
    return time.perf_counter() - started


def _fragmented() -> Figure:
    """Every third address of a /16 free again, so that the index is as fine-grained as it can become."""
    pool = _pool(_POOLS[0][0])
    whole = min(_allocate(pool, Family.IPV4, _used(pool, 100), _SAMPLE) for _ in range(_REPEATS)) / _SAMPLE
    best = float("inf")
    for _ in range(_REPEATS):
        ledger = _used(pool, 60_000)
        for value in range(pool.ranges[0].first, pool.ranges[0].first + 60_000, 3):
            ledger.discard(Address(Family.IPV4, value))
        best = min(best, _allocate(pool, Family.IPV4, ledger, _SAMPLE) / _SAMPLE)
    return Figure(
        section=SECTION,
        what="cost at 40,000 used with a gap after every second, in costs at 100 used",
        value=best / whole,
        unit="x",
        target=2.0,
        baseline="µs per allocation at 100 used",
        baseline_value=whole * 1e6,
    )


def _pool(text: str) -> Pool:
    return Pool(name="pool", ranges=(AddressRange.parse(text),))


def _used(pool: Pool, count: int) -> Ledger:
    ledger = Ledger()
    owned = pool.ranges[0]
    for number in range(count):
        holder = Holder(namespace="other", name=f"used-{number}", ports=_HTTP)
        address = Address(owned.family, owned.first + number)
        ledger.put(Claim(address=address, pool=pool.name, state=ClaimState.BOUND, holders=(holder,)))
    return ledger


def _allocate(pool: Pool, family: Family, ledger: Ledger, count: int) -> float:
    """Decide for `count` new Services and keep each claim, as the webhook does; return the seconds it took."""
    started = time.perf_counter()
    for number in range(count):
        request = ServiceRequest(applicant=_APPLICANT, name=f"service-{number}", ports=_HTTP, families=(family,))
        decision = decide(request, pools=(pool,), ledger=ledger)
        place = decision.placements[0]
        holders = (request.as_holder(),)
        ledger.put(Claim(address=place.address, pool=place.pool, state=ClaimState.TENTATIVE, holders=holders))
    return time.perf_counter() - started


def _scan(owned: AddressRange, count: int) -> float:
    """Give `count` addresses away by looking at every one from the first on, which is what MetalLB does."""
    used: dict[int, str] = {}
    started = time.perf_counter()
    for number in range(count):
        value = owned.first
        while value in used:
            value += 1
        used[value] = f"service-{number}"
    return time.perf_counter() - started
