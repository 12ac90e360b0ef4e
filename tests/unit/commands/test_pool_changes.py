"""Any sequence of changes of pools: nobody's address is lost, every part says the same of whose it is."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.core.claims import Claim
from allocator.core.pools import Applicant, Pool, owning_pool
from allocator.objects.document import annotations_of
from allocator.objects.names import ADDRESS_POOL_ANNOTATIONS, ASSIGNED_IPS_ANNOTATION, FROM_POOL_ANNOTATION
from allocator.objects.pool import pool_from
from allocator.offline.input_documents import InputDocument
from allocator.offline.plan_result import count_pools, service_results
from allocator.offline.replay import Answer, Replay
from allocator.offline.schemas import Schemas
from allocator.rules.verdict import Rules
from tests.unit.commands.manifests import deleted, pool, service

SCHEMAS = Schemas.shipped()
POOLS = ("p", "q")
RANGES = ((0, 1), (0, 3), (2, 3), (0, 0), (1, 3), (1, 2))
SERVICES = ("a", "b")

Object = dict[str, Any]


@st.composite
def pool_documents(draw: st.DrawFn) -> Object:
    """A pool of a few addresses, the first of which ends in .0; most take something from another, or give it away."""
    first, last = draw(st.sampled_from(RANGES))
    spec: Object = {
        "shrinkPolicy": draw(st.sampled_from(("Reject", "Drain", "Reassign"))),
        "reuseDelaySeconds": draw(st.sampled_from((0, 60))),
    }
    if draw(st.integers(0, 3)) == 0:
        spec["excludeAddresses"] = [f"192.0.2.{draw(st.sampled_from((first, first + 1)))}"]
    if draw(st.integers(0, 3)) == 0:
        spec["avoidBuggyIPs"] = True
    if draw(st.integers(0, 3)) == 0:
        spec["autoAssign"] = False
    name, other = draw(st.permutations(POOLS))
    if draw(st.integers(0, 2)) == 0:
        spec["addressesFrom"] = [other]
    match draw(st.integers(0, 5)):
        case 0:
            spec["serviceAllocation"] = {"namespaces": ["elsewhere"]}
        case 1:
            spec["serviceAllocation"] = {"namespaces": ["prod"], "priority": draw(st.integers(0, 2))}
        case 2:
            spec["serviceAllocation"] = {"serviceSelectors": [{"matchLabels": {"tier": "gold"}}]}
    return pool(name, f"192.0.2.{first}-192.0.2.{last}", **spec)


@st.composite
def steps(draw: st.DrawFn) -> Object:
    """One document: a pool comes, changes or goes; or a Service does."""
    if draw(st.integers(0, 2)):
        document = draw(pool_documents())
    else:
        document = service(draw(st.sampled_from(SERVICES)))
        if draw(st.booleans()):
            document["metadata"]["labels"] = {"tier": "gold"}
        if draw(st.booleans()):
            document["metadata"]["annotations"] = {"metallb.io/address-pool": draw(st.sampled_from(POOLS))}
    return deleted(document) if draw(st.integers(0, 4)) == 0 else document


@dataclass
class Cluster:
    """A replay that is looked at after each document."""

    replay: Replay = field(default_factory=lambda: Replay(Rules(), SCHEMAS))
    steps: int = 0

    def step(self, document: Object) -> Answer:
        self.steps += 1
        (answer,) = self.replay.run(
            [InputDocument(index=self.steps, source="-", content=copy.deepcopy(document), first_line=1)]
        )
        return answer

    def held(self) -> dict[str, tuple[str, ...]]:
        return {one.name: one.ips for one in service_results(self.replay, lb_class="") if one.ips}

    def claims(self) -> dict[str, Claim]:
        return {str(claim.address): claim for claim in self.replay.services.ledger if claim.in_use}

    def pools(self) -> dict[str, Pool]:
        return {one.name: one for one in self.replay.pools()}

    def stored_pools(self) -> dict[str, Pool]:
        return {one.name: one for one in self.replay.stored_pools()}


def check_one_owner(cluster: Cluster) -> None:
    """Claim, annotation, `plan` and counters name the one pool that the address is of."""
    pools, claims = cluster.pools(), cluster.claims()
    for one in service_results(cluster.replay, lb_class=""):
        for ip in one.ips:
            claim = claims[ip]
            assert [holder.name for holder in claim.holders] == [one.name]
            spanning = [pool.name for pool in pools.values() if pool.spans(claim.address)]
            assert len(spanning) <= 1
            owner = owning_pool(claim.address, pools.values(), recorded=claim.pool)
            assert claim.pool == (owner.name if owner is not None else claim.pool)
            assert spanning in ([], [claim.pool])
            assert one.pool == claim.pool
            stored = dict(cluster.replay.services)["prod", one.name].stored
            assert annotations_of(stored)[FROM_POOL_ANNOTATION] == claim.pool
            assert annotations_of(stored)[ASSIGNED_IPS_ANNOTATION] == ip
    counted = {one.name: one.assigned_ipv4 for one in count_pools(cluster.replay.pools(), claims.values())}
    used = Counter(claim.pool for claim in claims.values() if claim.pool in pools)
    assert counted == {name: used[name] for name in pools}


def losers(before: Cluster, stored: Pool | None, after: Pool | None) -> set[str]:
    """Who would lose an address by the change, found by asking each holder alone."""
    found = set()
    for address, claim in before.claims().items():
        owner = owning_pool(claim.address, before.stored_pools().values(), recorded=claim.pool)
        if stored is None or owner is None or owner.name != stored.name:
            continue
        for holder in claim.holders:
            state = dict(before.replay.services)[holder.namespace, holder.name].stored
            labels = ((state or {}).get("metadata") or {}).get("labels") or {}
            if (
                after is None
                or (
                    _served(stored, claim, labels, holder.namespace)
                    and not _served(after, claim, labels, holder.namespace)
                )
                or (stored.contains(claim.address) and not after.contains(claim.address))
            ) and not passed_on(before, stored, after, claim):
                found.add(f"{address} ({holder.namespace}/{holder.name})")
    return found


def passed_on(before: Cluster, stored: Pool, after: Pool | None, claim: Claim) -> bool:
    """Whether another pool has the address, too, and takes over what is taken out of this one."""
    others = (pool for pool in before.stored_pools().values() if pool.name != stored.name)
    kept = after is not None and after.contains(claim.address)
    return not kept and any(other.spans(claim.address) for other in others)


def _served(pool: Pool, claim: Claim, labels: dict[str, str], namespace: str) -> bool:
    return pool.takes_away(claim.address, Applicant(namespace, {}, labels)) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(steps(), max_size=25))
def test_no_change_of_pools_loses_an_address_or_its_owner(documents: list[Object]) -> None:
    cluster = Cluster()
    for document in documents:
        name = document["metadata"]["name"]
        going = "deletionTimestamp" in document["metadata"]
        is_pool = document["kind"] == "IPAddressPool"
        before_ips, before_claims, before_pools = cluster.held(), cluster.claims(), cluster.stored_pools()
        stored = before_pools.get(name) if is_pool else None
        wanted = None if going or not is_pool else pool_from(document)
        expected = losers(cluster, stored, wanted)
        answer = cluster.step(document)
        if is_pool:
            policy = stored if going else wanted
            if answer.verdict.code == 409:
                assert expected
                assert all(loser in answer.verdict.message for loser in expected), answer.verdict.message
                assert cluster.held() == before_ips
                assert cluster.stored_pools() == before_pools
            elif answer.verdict.allowed and policy is not None and str(policy.shrink_policy) == "Reject":
                assert not expected, answer
            _check_kept(cluster, before_ips, before_claims)
        held = Counter(ip for ips in cluster.held().values() for ip in ips)
        assert all(count == 1 for count in held.values())
        check_one_owner(cluster)


def _check_kept(cluster: Cluster, before: dict[str, tuple[str, ...]], claims: dict[str, Claim]) -> None:
    """Nobody lost an address but to another that was free, and only where a pool reassigns."""
    after, pools = cluster.held(), cluster.pools()
    for name, (ip,) in before.items():
        assert name in after, f"{name} lost {ip}"
        if after[name] != (ip,):
            owner = owning_pool(claims[ip].address, pools.values(), recorded=claims[ip].pool)
            state = dict(cluster.replay.services)["prod", name]
            if annotations_of(state.stored).get(ADDRESS_POOL_ANNOTATIONS[0]) == cluster.claims()[after[name][0]].pool:
                # It has got what it had asked for all the time.
                continue
            assert owner.reassigns if owner is not None else claims[ip].reassign, f"{name} moved off {ip}"
