"""What a replay ends with, Service by Service and pool by pool."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from allocator.core.claims import Claim
from allocator.core.pools import Pool
from allocator.core.usage import Usage, usage_of
from allocator.objects.document import Document
from allocator.objects.service import wants_address
from allocator.offline.replay import Replay
from allocator.offline.simulated_services import Key, SimulatedService
from allocator.rules.foreign_status import why_left_alone
from allocator.rules.pool_status import counters
from allocator.rules.service_report import message_of


class State(StrEnum):
    """What became of a Service."""

    ASSIGNED = "Assigned"
    PENDING = "Pending"
    DENIED = "Denied"
    """Admission refused to create it."""
    IGNORED = "Ignored"
    """Not ours to serve: of another type, of another loadBalancerClass, or served by another controller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceResult:
    """One Service; `message` says why not, or what is still wanted beside the addresses it has."""

    namespace: str
    name: str
    state: State
    ips: tuple[str, ...] = ()
    pool: str = ""
    message: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the entry in the JSON output's `services`."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "state": str(self.state),
            "ips": list(self.ips),
            "pool": self.pool,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolResult:
    """One pool's counters, as its status would show them."""

    name: str
    assigned_ipv4: int
    assigned_ipv6: int
    available_ipv4: int
    available_ipv6: int

    @classmethod
    def of(cls, pool: Pool, usage: Usage) -> PoolResult:
        """Count a pool's addresses."""
        counts = counters(pool, usage)
        return cls(
            name=pool.name,
            assigned_ipv4=counts["assignedIPv4"],
            assigned_ipv6=counts["assignedIPv6"],
            available_ipv4=counts["availableIPv4"],
            available_ipv6=counts["availableIPv6"],
        )

    def as_json(self) -> dict[str, Any]:
        """Return the entry in the JSON output's `pools`."""
        return {
            "name": self.name,
            "assignedIPv4": self.assigned_ipv4,
            "assignedIPv6": self.assigned_ipv6,
            "availableIPv4": self.available_ipv4,
            "availableIPv6": self.available_ipv6,
        }


def service_results(replay: Replay, *, lb_class: str) -> list[ServiceResult]:
    """Return every Service that is there or was refused, in the order of their first documents."""
    return [_service(key, state, lb_class) for key, state in replay.services]


def count_pools(pools: Iterable[Pool], claims: Iterable[Claim]) -> list[PoolResult]:
    """Count every pool's addresses, in the order given."""
    by_name = {pool.name: pool for pool in pools}
    usage = usage_of(by_name, claims)
    return [PoolResult.of(pool, usage[name]) for name, pool in by_name.items()]


def _service(key: Key, state: SimulatedService, lb_class: str) -> ServiceResult:
    namespace, name = key
    if state.stored is None:
        return ServiceResult(namespace=namespace, name=name, state=State.DENIED, message=state.refused)
    if not wants_address(state.stored, lb_class=lb_class):
        return ServiceResult(
            namespace=namespace, name=name, state=State.IGNORED, message=why_ignored(state.stored, lb_class)
        )
    decision = state.decision
    if decision is None:
        return ServiceResult(
            namespace=namespace, name=name, state=State.IGNORED, message=why_left_alone(state.stored)
        )
    return ServiceResult(
        namespace=namespace,
        name=name,
        state=State.ASSIGNED if decision.placements else State.PENDING,
        ips=tuple(str(place.address) for place in decision.placements),
        pool=decision.pools,
        message=message_of(decision),
    )


def why_ignored(service: Document, lb_class: str) -> str:
    """Say what about a Service makes it none of ours."""
    spec = service.get("spec") or {}
    if spec.get("type") != "LoadBalancer":
        return f"type {spec.get('type') or 'ClusterIP'} needs no load balancer address"
    theirs = spec.get("loadBalancerClass")
    served = f"only {lb_class} is" if lb_class else "only Services without a class are"
    return f"loadBalancerClass {theirs or '(none)'} is not served here; {served}"
