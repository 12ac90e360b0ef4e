"""Whatever is replayed: no address twice, none idle while somebody waits for it, counters true."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from allocator.offline.input_documents import InputDocument
from allocator.offline.plan_result import ServiceResult, State, count_pools, service_results
from allocator.offline.replay import Replay
from allocator.offline.schemas import Schemas
from allocator.rules.verdict import Rules
from tests.unit.commands.manifests import deleted, pool, service

SCHEMAS = Schemas.shipped()
NAMES = ("a", "b", "c", "d", "e")

Object = dict[str, Any]


@st.composite
def steps(draw: st.DrawFn) -> Object:
    """One document: a Service comes, changes or goes, or the pool is resized or deleted."""
    if draw(st.integers(0, 5)) == 0:
        size = draw(st.integers(1, 4))
        document = pool(
            "main",
            f"192.0.2.10-192.0.2.{9 + size}",
            shrinkPolicy=draw(st.sampled_from(("Reject", "Drain", "Reassign"))),
            reuseDelaySeconds=draw(st.sampled_from((0, 60))),
        )
    else:
        document = service(draw(st.sampled_from(NAMES)), type=draw(st.sampled_from(("LoadBalancer", "ClusterIP"))))
    return deleted(document) if draw(st.integers(0, 3)) == 0 else document


def replayed(documents: list[Object]) -> Replay:
    replay = Replay(Rules(), SCHEMAS)
    replay.run(
        [
            InputDocument(index=index, source="-", content=document, first_line=1)
            for index, document in enumerate(documents)
        ]
    )
    return replay


@given(st.lists(steps(), max_size=30))
def test_addresses_are_held_once_and_never_idle_while_somebody_waits(documents: list[Object]) -> None:
    replay = replayed(documents)
    services = service_results(replay, lb_class="")
    held = Counter(ip for one in services for ip in one.ips)
    assert all(count == 1 for count in held.values()), held
    for counted in count_pools(replay.pools(), replay.services.ledger):
        if any(one.state is State.PENDING for one in services):
            assert counted.available_ipv4 == 0
        assert counted.assigned_ipv4 == sum(one.pool == counted.name for one in services)


@given(st.lists(steps(), max_size=15), st.lists(steps(), max_size=15))
def test_a_replay_may_be_interrupted_anywhere(first: list[Object], second: list[Object]) -> None:
    def outcome(replay: Replay) -> list[ServiceResult]:
        return service_results(replay, lb_class="")

    halves = replayed(first)
    halves.run(
        [
            InputDocument(index=len(first) + index, source="-", content=document, first_line=1)
            for index, document in enumerate(second)
        ]
    )
    assert outcome(halves) == outcome(replayed(first + second))
