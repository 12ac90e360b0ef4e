"""What happened to addresses lately: who got one, who gave one up, and which node announces it since when."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from allocator.core.claims import Claim, ClaimState
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.kube.timestamps import read_time
from allocator.objects import names
from allocator.objects.ip_allocation import claim_from

KEPT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One thing that happened to one address."""

    at: datetime
    ip: str
    what: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """Which node answers for an address, on which interfaces; `node` is empty while nobody is known to."""

    node: str = ""
    interfaces: tuple[str, ...] = ()
    since: str = ""

    @classmethod
    def of(cls, allocation: Object | None) -> Announcement:
        """Read what an IPAllocation's status says."""
        announced: Any = ((allocation or {}).get("status") or {}).get("announcedBy") or {}
        return cls(
            announced.get("node") or "", tuple(announced.get("interfaces") or ()), announced.get("since") or ""
        )


class Moves:
    """The latest moves, newest first, as this process has seen them since `begin`.

    `_lock` owns `_moves`: reflectors' threads append, the page's threads read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moves: deque[Move] = deque(maxlen=KEPT)
        self._begun = threading.Event()

    def begin(self) -> None:
        """Take changes for moves from now on; before that they are what the first list brought."""
        self._begun.set()

    def note(self, change: Change) -> None:
        """Take in a change of any cached object."""
        if change.resource is not names.IP_ALLOCATIONS or not self._begun.is_set():
            return
        try:
            moves = _moves(change)
        except (KeyError, ValueError):
            # Anybody who may can write a claim that cannot be read.
            return
        with self._lock:
            self._moves.extendleft(moves)

    def latest(self) -> tuple[Move, ...]:
        """Return them, newest first."""
        with self._lock:
            return tuple(self._moves)


def holders_of(claim: Claim) -> str:
    """Name the Services that hold the claim, or held it last."""
    return ", ".join(sorted(holder.label for holder in claim.holders))


def _moves(change: Change) -> list[Move]:
    now = datetime.now(UTC)
    old, new = _claim(change.old), _claim(change.new)
    known = new or old
    if known is None:
        return []
    ip = str(known.address)
    held = _what_of_holders(old, new)
    moves = [Move(at=now, ip=ip, what=held)] if held else []
    before, after = Announcement.of(change.old), Announcement.of(change.new)
    if new is not None and before.node != after.node:
        at = read_time(after.since) if after.since else now
        moves.append(Move(at=at, ip=ip, what=_what_of_nodes(before.node, after.node)))
    return moves


def _claim(document: Object | None) -> Claim | None:
    return claim_from(document) if document is not None else None


def _what_of_holders(old: Claim | None, new: Claim | None) -> str:
    if new is None:
        return "free again"
    if new.state is ClaimState.CONFLICTED:
        return f"answered for by another host, {new.foreign_host or 'unknown'}; not handed out"
    if new.state is ClaimState.COOLING:
        return (
            "" if old is not None and old.state is ClaimState.COOLING else f"given up by {holders_of(new)}; it cools"
        )
    held_before = holders_of(old) if old is not None and old.in_use else ""
    if holders_of(new) == held_before:
        return ""
    return f"held by {holders_of(new)}" + (f", before by {held_before}" if held_before else "")


def _what_of_nodes(before: str, after: str) -> str:
    if not after:
        return f"no longer announced by {before}"
    return f"announced by {after}" + (f", before by {before}" if before else "")
