"""What a change does to every Service: addresses that move, go, come, or are no longer announced. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from allocator.core.pool_selection import origin_of
from allocator.objects import names
from allocator.objects.document import labels_of
from allocator.offline.plan_result import ServiceResult, State, service_results
from allocator.offline.replay import Replay
from allocator.offline.simulated_services import Key
from allocator.rules.announcement_coverage import covers_service


class Effect(StrEnum):
    """What becomes of a Service, the most important first; the first that fits is named."""

    DENIED = "Denied"
    """Admission refuses to create it."""
    LOSES = "Loses"
    """An address goes and none comes, though the Service stays."""
    MOVES = "Moves"
    """Another address takes the place of one."""
    UNANNOUNCED = "Unannounced"
    """It keeps its addresses, and no advertisement covers one any more."""
    WAITS = "Waits"
    """It gets no address, or not what it asks for now."""
    DELETED = "Deleted"
    """The change deletes it."""
    GAINS = "Gains"
    """It gets an address and loses none."""
    ANNOUNCED = "Announced"
    """An advertisement covers its addresses now."""
    CHANGES_POOL = "ChangesPool"
    """It keeps its addresses, which belong to another pool."""


HARMFUL = frozenset({Effect.DENIED, Effect.LOSES, Effect.MOVES, Effect.UNANNOUNCED, Effect.WAITS})
"""What a person should look at before the change is merged. A deletion is what its author wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A Service at one moment: its result, and which of its addresses an advertisement covers."""

    result: ServiceResult
    announced: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEffect:
    """One Service that the change does something to."""

    namespace: str
    name: str
    effect: Effect
    before: tuple[str, ...]
    after: tuple[str, ...]
    pool_before: str
    pool: str
    message: str

    def as_json(self) -> dict[str, Any]:
        """Return the entry in the JSON output's `effects`."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "effect": str(self.effect),
            "before": list(self.before),
            "after": list(self.after),
            "poolBefore": self.pool_before,
            "pool": self.pool,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEffects:
    """All of it; `unchanged` counts the Services that want an address and stay as they are."""

    effects: tuple[ServiceEffect, ...]
    unchanged: int

    @property
    def counts(self) -> Mapping[Effect, int]:
        """How many Services each effect has, in the order of effects; only those that occur."""
        found = Counter(one.effect for one in self.effects)
        return {effect: found[effect] for effect in Effect if found[effect]}

    @property
    def harmful(self) -> bool:
        """Whether a Service loses or waits for anything."""
        return any(one.effect in HARMFUL for one in self.effects)


def outcomes(replay: Replay, *, lb_class: str) -> dict[Key, Outcome]:
    """Return the state of every Service of the replay."""
    pools = {pool.name: pool for pool in replay.pools()}
    advertisements = [*replay.objects(names.L2_ADVERTISEMENTS), *replay.objects(names.BGP_ADVERTISEMENTS)]
    stored = {key: state.stored for key, state in replay.services if state.stored is not None}
    origins = {
        str(claim.address): origin_of(
            claim.address, pools, recorded=[name for name in (claim.pool, claim.original_pool) if name]
        )
        for claim in replay.services.ledger
        if claim.in_use
    }

    def announced(key: Key, ips: Collection[str]) -> frozenset[str]:
        labels = labels_of(stored.get(key) or {"metadata": {}})
        covered = (ip for ip in ips if ip in origins)
        return frozenset(
            ip for ip in covered if any(covers_service(one, origins[ip], labels) for one in advertisements)
        )

    return {
        (one.namespace, one.name): Outcome(result=one, announced=announced((one.namespace, one.name), one.ips))
        for one in service_results(replay, lb_class=lb_class)
    }


def effects_of(before: Mapping[Key, Outcome], after: Mapping[Key, Outcome]) -> ChangeEffects:
    """Compare two moments, Service by Service; the gravest effects come first, then by namespace and name."""
    found = []
    unchanged = 0
    for key in sorted(before.keys() | after.keys()):
        effect = _effect(before.get(key), after.get(key))
        if effect is not None:
            found.append(_service_effect(key, effect, before.get(key), after.get(key)))
        elif key in after and after[key].result.state in (State.ASSIGNED, State.PENDING):
            unchanged += 1
    order = list(Effect)
    found.sort(key=lambda one: order.index(one.effect))
    return ChangeEffects(effects=tuple(found), unchanged=unchanged)


def _effect(before: Outcome | None, after: Outcome | None) -> Effect | None:
    had = before.result if before is not None else None
    if after is None:
        return Effect.DELETED if had is not None and (had.ips or had.state is State.PENDING) else None
    has = after.result
    old, new = set(had.ips) if had is not None else set(), set(has.ips)
    if has.state is State.DENIED:
        return Effect.DENIED if had is None or had.state is not State.DENIED else None
    if old - new:
        return Effect.MOVES if new - old else Effect.LOSES
    if new - old:
        return Effect.GAINS
    if before is not None and (before.announced - after.announced) & new:
        return Effect.UNANNOUNCED
    if has.state is State.PENDING and (had is None or had.state is not State.PENDING):
        return Effect.WAITS
    if has.state is State.ASSIGNED and has.message and (had is None or has.message != had.message):
        return Effect.WAITS
    if before is not None and after.announced - before.announced:
        return Effect.ANNOUNCED
    return Effect.CHANGES_POOL if had is not None and new and had.pool != has.pool else None


def _service_effect(key: Key, effect: Effect, before: Outcome | None, after: Outcome | None) -> ServiceEffect:
    had = before.result if before is not None else None
    has = after.result if after is not None else None
    message = has.message if has is not None else ""
    if effect is Effect.UNANNOUNCED and before is not None and after is not None:
        lost = ", ".join(sorted(before.announced - after.announced))
        message = f"no advertisement covers {lost} any more, so that no node announces it"
    return ServiceEffect(
        namespace=key[0],
        name=key[1],
        effect=effect,
        before=had.ips if had is not None else (),
        after=has.ips if has is not None else (),
        pool_before=had.pool if had is not None else "",
        pool=has.pool if has is not None else "",
        message=message.removeprefix(f"{key[0]}/{key[1]}: "),
    )
