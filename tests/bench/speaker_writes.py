"""How often speakers write to the API server, as its own audit log has it."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.speaker_crowd import Crowd

USER = "system:serviceaccount:metallb-system:speaker"
_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_SECONDS = 60.0
_CHURN_PER_SECOND = 4.0
_STAY_SECONDS = 2.0
_TELLING_SECONDS = 300.0
_LULL_SECONDS = 5.0


class Writes:
    """Counts what the speakers of a lab have written so far, by the address of their node."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def so_far(self) -> Counter[tuple[str, str]]:
        """Return how many requests changed something or tried to, by address and kind."""
        counts: Counter[tuple[str, str]] = Counter()
        for line in self._log.read_text().splitlines():
            event = json.loads(line)
            answered = event["stage"] == "ResponseComplete"
            if answered and event["user"]["username"] == USER and event["verb"] in _WRITES and "objectRef" in event:
                counts[event["sourceIPs"][0], f"{event['verb']} {event['objectRef']['resource']}"] += 1
        return counts


def measure(there: Crowd, log: Path) -> Iterator[Figure]:
    """Count for a while in which nothing changes, and for one in which Services come and go."""
    writes = Writes(log)
    count = len(there.addresses)
    _until_all_is_told(writes, there)
    yield _at_rest(f"{count} Services there, none changing", writes, lambda: there.site.let_it_run(_SECONDS))
    yield _for_each_service(
        f"{count} Services there, {_CHURN_PER_SECOND:g} a second created and deleted", writes, lambda: _churn(there)
    )


def _until_all_is_told(writes: Writes, there: Crowd) -> None:
    """Wait until everything about the Services that were just created has been written."""
    end = time.monotonic() + _TELLING_SECONDS
    while time.monotonic() < end:
        before = writes.so_far().total()
        there.site.let_it_run(_LULL_SECONDS)
        if writes.so_far().total() - before < _LULL_SECONDS * 3:
            return


def _at_rest(what: str, writes: Writes, happen: Callable[[], object]) -> Figure:
    before, started = writes.so_far(), time.monotonic()
    happen()
    seconds = time.monotonic() - started
    written = writes.so_far() - before
    nodes: Counter[str] = Counter()
    for (address, _), times in written.items():
        nodes[address] += times
    return Figure(
        section="what a speaker costs",
        what=f"API writes a second by the busiest node, {what}",
        value=max(nodes.values(), default=0) / seconds,
        unit="/s",
        baseline="",
        baseline_value=0.0,
        target=0.5,
        remark=f"all nodes in {seconds:.0f} s: {_by_kind(written)}",
        samples=tuple(round(times / seconds, 3) for times in nodes.values()),
    )


def _for_each_service(what: str, writes: Writes, happen: Callable[[], int]) -> Figure:
    before = writes.so_far()
    services = happen()
    written = writes.so_far() - before
    return Figure(
        section="what a speaker costs",
        what=f"API writes of all speakers for one Service that comes and goes, {what}",
        value=written.total() / services,
        unit="",
        baseline="",
        baseline_value=0.0,
        # Claim, ServiceL2Status and Event when it comes; claim and ServiceL2Status when it goes.
        target=5.0,
        remark=f"{services} Services: {_by_kind(written)}",
        samples=(),
    )


def _by_kind(written: Counter[tuple[str, str]]) -> str:
    kinds: Counter[str] = Counter()
    for (_, kind), times in written.items():
        kinds[kind] += times
    return ", ".join(f"{times} {kind}" for kind, times in kinds.most_common()) or "0"


def _churn(there: Crowd) -> int:
    """Create and delete Services for a while; return how many."""
    end = time.monotonic() + _SECONDS
    passing: deque[str] = deque()
    number = 0
    while (begun := time.monotonic()) < end:
        there.create(f"passing-{number}")
        passing.append(f"passing-{number}")
        number += 1
        # Long enough to be announced, so that there is something to write.
        if len(passing) > _STAY_SECONDS * _CHURN_PER_SECOND:
            there.delete(passing.popleft())
        there.site.let_it_run(max(0.0, begun + 1 / _CHURN_PER_SECOND - time.monotonic()))
    for name in passing:
        there.delete(name)
    there.site.let_it_run(_LULL_SECONDS)
    return number
