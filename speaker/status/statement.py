"""What an IPAllocation's status is to say about the announcement of its address, and how it is amended to say it.

Several speakers write one status, each from what it knows. Every write is a compare-and-swap from the status as just
read, and what is written is always whole: that nobody announces an address is said with its reason, not by removing
what was there. The rules here keep the late report of a former holder from undoing what the rightful holder has said:

- Who announces the address says so whatever is there.
- Who announced it and knows who does now says that in its place, if it is still named itself.
- That nobody announces it is said by who is named, or where nobody is, or the one named is known to have gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from allocator.kube.client import Object
from allocator.rules.conditions import READY, Condition, merged
from speaker.status.facts import Announced, Asked, Elsewhere, Fact, Unannounced

CONFLICT_CONDITION = "AddressConflict"
_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Contested:
    """Whether another host claims an address, and what is known of it."""

    claimed: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The node announces it on these interfaces (empty: on all), since then.

    `without_traffic` names the Services that share it and get none there.
    """

    node: str
    interfaces: tuple[str, ...]
    since: str
    without_traffic: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoHolder:
    """No node announces it. `own` is what no other node can know."""

    reason: str
    message: str
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """All that a node says of an address; None of what it has nothing to say about."""

    announcement: Holder | NoHolder | None = None
    contested: Contested | None = None


class Occupied(Exception):
    """Another node that may be alive is named; what is true of the address is for that one to say."""

    def __init__(self, node: str) -> None:
        super().__init__(f"node {node} says that it announces the address")
        self.node = node


RELEASED = NoHolder(reason="NoService", message="no Service of type LoadBalancer has it", own=True)


def statement_of(node: str, facts: Mapping[Any, Fact], contested: Contested | None, *, since: str) -> Statement:
    """Return what the facts about one address, one for each Service that has it, come to."""
    return Statement(announcement=_announcement(node, facts, contested, since), contested=contested)


def _announcement(
    node: str, by_service: Mapping[Any, Fact], contested: Contested | None, since: str
) -> Holder | NoHolder | None:
    facts = [by_service[key] for key in sorted(by_service)]
    without_traffic = tuple(
        "/".join(key)
        for key, fact in sorted(by_service.items(), key=lambda item: item[0])
        if isinstance(fact, Announced) and not fact.traffic
    )
    for fact in facts:
        if isinstance(fact, Announced):
            return Holder(node=node, interfaces=fact.interfaces, since=since, without_traffic=without_traffic)
    for fact in facts:
        if isinstance(fact, Elsewhere):
            return Holder(node=fact.node, interfaces=fact.interfaces, since=since)
    if any(isinstance(fact, Asked) for fact in facts):
        if contested is not None and contested.claimed:
            return NoHolder(reason=CONFLICT_CONDITION, message=contested.message, own=True)
        return None
    for fact in facts:
        if isinstance(fact, Unannounced):
            return NoHolder(reason=fact.reason, message=fact.message, own=fact.own)
    return None


def amended(
    status: Object, say: Statement, *, node: str, is_gone: Callable[[str], bool], now: datetime
) -> Object | None:
    """Return the fields of the status to write, as a merge patch has them; None where it says all of it.

    `is_gone` returns whether another node that is named can be known to announce nothing. Raises Occupied.
    """
    named = named_in(status)
    conditions = list(status.get("conditions") or ())
    announced_by, wanted = status.get("announcedBy"), list[Condition]()
    match say.announcement:
        case Holder() as holder if node in (holder.node, named):
            kept = announced_by.get("since") if announced_by and named == holder.node else None
            announced_by = {
                "node": holder.node,
                "interfaces": list(holder.interfaces),
                "since": kept or holder.since,
            }
            wanted.append(_ready(holder))
            if holder.node == node and say.contested is None and _is_contested(conditions):
                # The node that was named met a host that has the address. This one has met none.
                wanted.append(_conflict(Contested(claimed=False, message=f'nobody but node "{node}" claims it')))
        case NoHolder() as nobody:
            if named not in ("", node) and not is_gone(named):
                raise Occupied(named)
            announced_by = None
            message = f"announced by no node: {nobody.message}"
            wanted.append(Condition(type=READY, status="False", reason=nobody.reason, message=message))
            if say.contested is None and _is_contested(conditions):
                # Whoever met that host asks no more.
                wanted.append(_conflict(Contested(claimed=False, message="no node announces it, or asks who has it")))
    if say.contested is not None:
        wanted.append(_conflict(say.contested))
    owned = [condition.type for condition in wanted]
    after = merged(conditions, wanted, owned=owned, now=now)
    if announced_by == status.get("announcedBy") and _by_type(after) == _by_type(conditions):
        return None
    return {"announcedBy": announced_by, "conditions": after or None}


def named_in(status: Object) -> str:
    """Return the node that announces the address, as an IPAllocation's status says; empty for none."""
    return str((status.get("announcedBy") or {}).get("node") or "")


def _ready(holder: Holder) -> Condition:
    where = ", ".join(holder.interfaces) or "all of its interfaces"
    message = f'announced by node "{holder.node}" on {where}'
    if holder.without_traffic:
        listed = ", ".join(holder.without_traffic[:_LISTED])
        more = f" and {len(holder.without_traffic) - _LISTED} more" if len(holder.without_traffic) > _LISTED else ""
        message += f"; no traffic there for {listed}{more}: externalTrafficPolicy Local, and no endpoint on that node"
    return Condition(type=READY, status="True", reason="Announced", message=message)


def _conflict(contested: Contested) -> Condition:
    return Condition(
        type=CONFLICT_CONDITION,
        status="True" if contested.claimed else "False",
        reason="ForeignClaim" if contested.claimed else "NoForeignClaim",
        message=contested.message,
    )


def _is_contested(conditions: list[Object]) -> bool:
    return any(one.get("type") == CONFLICT_CONDITION and one.get("status") == "True" for one in conditions)


def _by_type(conditions: list[Object]) -> dict[str, Object]:
    return {str(one.get("type")): one for one in conditions}
