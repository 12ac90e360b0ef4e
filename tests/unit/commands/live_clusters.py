"""A live cluster made of what `plan` said of documents, and a change to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from allocator.commands.against_cluster import ChangePlan, change_plan
from allocator.core.addresses import Family
from allocator.core.pools import PriorityOrder
from allocator.objects.ip_allocation import claim_from, document_of
from allocator.offline.applied import LAST_APPLIED
from allocator.offline.input_documents import InputDocument
from allocator.offline.live_cluster import READ, LiveCluster
from allocator.offline.replay import Replay
from allocator.offline.schemas import Schemas
from allocator.rules.verdict import Rules

Object = dict[str, Any]
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def fresh(*, strict: bool = False, families: tuple[Family, ...] = (Family.IPV4,)) -> Replay:
    rules = Rules(
        namespace="metallb-system",
        lb_class="",
        strict=strict,
        take_over_foreign=False,
        order=PriorityOrder.LOWEST_FIRST,
        families=families,
    )
    return Replay(rules, Schemas.shipped(), default_namespace="default")


def inputs(documents: Iterable[Object]) -> list[InputDocument]:
    # As read from a file: nothing is shared with what is live.
    return [
        InputDocument(index=index, source="git", content=json.loads(json.dumps(document)), first_line=1)
        for index, document in enumerate(documents)
    ]


def live_cluster(*documents: Object, families: tuple[Family, ...] = (Family.IPV4,)) -> LiveCluster:
    """What a cluster has once these documents were applied one after another, as its API server shows it."""
    replay = fresh(families=families)
    for answer in replay.run(inputs(documents)):
        assert answer.verdict.allowed, answer
    last_applied = {_identity(one): json.dumps(one) for one in documents}
    objects: dict[Any, list[Any]] = {
        kind: [_remembering(one, last_applied) for one in replay._stored.get(kind, {}).values()] for kind in READ
    }
    services = [state.stored for _, state in replay.services if state.stored is not None]
    for count, service in enumerate(services):
        metadata = _remembering(service, last_applied)["metadata"]
        metadata |= {"uid": f"uid-{count}", "creationTimestamp": f"2026-01-01T00:00:{count:02}Z"}
        spec = {"clusterIP": f"10.96.0.{count + 1}", "ipFamilyPolicy": "SingleStack", **service["spec"]}
        objects[READ[-1]].append({**service, "metadata": metadata, "spec": spec})
    uids = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): one["metadata"]["uid"] for one in objects[READ[-1]]
    }
    stored = []
    for claim in replay.services.ledger:
        written = document_of(claim, now=_NOW)
        written["metadata"]["resourceVersion"] = "7"
        for holder in written["spec"]["holders"]:
            holder["uid"] = uids.get((holder["namespace"], holder["name"]))
        stored.append(claim_from(written))
    return LiveCluster(objects=objects, claims=stored)


def _identity(document: Any) -> tuple[str, str, str]:
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace") or "", metadata["name"]


def _remembering(document: Any, last_applied: dict[tuple[str, str, str], str]) -> Object:
    """The object with kubectl's annotation of what was applied last."""
    annotations = {**(document["metadata"].get("annotations") or {}), LAST_APPLIED: last_applied[_identity(document)]}
    return {**document, "metadata": {**document["metadata"], "annotations": annotations}}


def change(
    live: LiveCluster,
    *documents: Object,
    former: Sequence[Object] = (),
    strict: bool = False,
    families: tuple[Family, ...] = (Family.IPV4,),
) -> ChangePlan:
    return change_plan(
        fresh(strict=strict, families=families),
        live,
        inputs(documents),
        inputs(former),
        default_namespace="default",
        lb_class="",
    )


def effects(plan: ChangePlan) -> dict[str, tuple[str, list[str], list[str]]]:
    return {one.name: (str(one.effect), list(one.before), list(one.after)) for one in plan.change.effects}
