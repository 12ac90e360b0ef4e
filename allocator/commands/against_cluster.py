"""`admitlb plan --against-cluster`: what a change does to the Services of a live cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from allocator.commands import answers
from allocator.commands.bgp_tables import BgpChanges, bgp_as_json
from allocator.commands.live import connected
from allocator.commands.live_cluster import read_live_cluster
from allocator.commands.offline import documents_in, new_replay
from allocator.core.addresses import Family
from allocator.kube.access import Access
from allocator.offline.bgp_plan import (
    BgpPlan,
    bgp_plan,
    nodes_for,
    replayed_bgp,
    route_changes,
    session_changes,
)
from allocator.offline.change_effects import ChangeEffects, effects_of, outcomes
from allocator.offline.input_documents import InputDocument
from allocator.offline.live_cluster import LiveCluster, applied_to
from allocator.offline.plan_result import PoolResult, count_pools
from allocator.offline.pruning import deletions
from allocator.offline.replay import Answer, Replay


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePlan:
    """What admission answers to the documents of a change, what becomes of Services, and the pools after it."""

    given: tuple[Answer, ...]
    change: ChangeEffects
    pools: tuple[PoolResult, ...]
    bgp: BgpPlan
    bgp_changes: BgpChanges

    @property
    def exit_code(self) -> int:
        """1 where a document is denied, or a Service loses, moves or waits for anything; else 0."""
        return 1 if self.change.harmful or answers.denied(self.given) else 0

    def as_json(self) -> dict[str, Any]:
        """Return the JSON output."""
        return {
            "documents": answers.as_json(self.given),
            "effects": [effect.as_json() for effect in self.change.effects],
            "unchanged": self.change.unchanged,
            "pools": [pool.as_json() for pool in self.pools],
            "bgp": bgp_as_json(self.bgp, self.bgp_changes),
        }


def plan_against_cluster(
    paths: Sequence[str],
    former: Sequence[str],
    *,
    namespace: str,
    access: Access,
    cluster_families: tuple[Family, ...] | None,
    **cluster: Any,
) -> ChangePlan:
    """Read the cluster and the change, and compare. What cannot be read or reached ends the program.

    What only `former` has is deleted. `cluster_families` are the cluster's own where None.
    """
    documents, before = documents_in(paths), documents_in(former)
    with connected(access) as api:
        from allocator.allocation.cluster_families import cluster_families as families_of  # noqa: PLC0415

        live = read_live_cluster(api, namespace=cluster["admitlb_namespace"])
        families = cluster_families or families_of(api)
    replay = new_replay(cluster_families=families, namespace=namespace, **cluster)
    return change_plan(replay, live, documents, before, default_namespace=namespace, lb_class=cluster["lb_class"])


def change_plan(
    replay: Replay,
    live: LiveCluster,
    documents: Sequence[InputDocument],
    former: Sequence[InputDocument],
    *,
    default_namespace: str,
    lb_class: str,
) -> ChangePlan:
    """Replay the live cluster, then the change, and compare the two moments. `replay` is a fresh one."""
    replay.start_from(live)
    before, bgp_before = outcomes(replay, lb_class=lb_class), replayed_bgp(replay, lb_class=lb_class)
    applied = applied_to(live, documents, default_namespace=default_namespace)
    given = replay.run([*applied, *deletions(former, documents, default_namespace=default_namespace)])
    after, bgp_after = outcomes(replay, lb_class=lb_class), replayed_bgp(replay, lb_class=lb_class)
    nodes = nodes_for(bgp_before, bgp_after)
    bgp = bgp_plan(bgp_after, nodes)
    return ChangePlan(
        given=tuple(given),
        change=effects_of(before, after),
        pools=tuple(count_pools(replay.pools(), replay.services.ledger)),
        bgp=bgp,
        bgp_changes=BgpChanges(
            routes=list(route_changes(bgp_plan(bgp_before, nodes), bgp)),
            sessions=session_changes(bgp_before.objects, bgp_after.objects, nodes),
        ),
    )
