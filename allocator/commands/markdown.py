"""A change's plan as Markdown for the comment of a pull request: short, and nothing in it is taken for markup."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from allocator.commands.against_cluster import ChangePlan
from allocator.core.listing import listed
from allocator.offline.change_effects import HARMFUL, Effect
from allocator.offline.plan_result import PoolResult

TITLE: Final = "### AdmitLB: what this change does to LoadBalancer addresses"
MOST_CHARACTERS: Final = 60_000
"""A comment on GitHub holds 65,536."""
_CUT: Final = "The rest does not fit into a comment: see the output of the pipeline."
_MOST_ROWS: Final = 200
_MOST_IN_CELL: Final = 300
_LINKED: Final = re.compile(r"[@#!~$%&^]|:(?=//)|www(?=\.)|GH(?=-)", re.IGNORECASE)
"""What GitHub and GitLab link or mention by, once entities are decoded: it goes on behind a space of no width.

GitLab: merge requests `!`, labels `~`, snippets `$`, milestones `%`, epics `&`, alerts `^alert#`.
"""
_PLAIN: Final = frozenset(" .,:;/()'=+-")
_SAID: Final[Mapping[Effect, str]] = {
    Effect.DENIED: "denied",
    Effect.LOSES: "loses an address",
    Effect.MOVES: "moves",
    Effect.UNANNOUNCED: "no longer announced",
    Effect.WAITS: "waits",
    Effect.DELETED: "deleted",
    Effect.GAINS: "gains an address",
    Effect.ANNOUNCED: "announced now",
    Effect.CHANGES_POOL: "changes pool",
}
_VERB: Final = r"\1"
_SINGULAR: Final = re.compile(r"^(lose|move|wait|gain|change)s\b")


def as_markdown(plan: ChangePlan) -> str:
    """Return the comment; what does not fit is counted at its end."""
    lines = list(_lines(plan))
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line) + 1
        if size > MOST_CHARACTERS:
            return "\n".join([*kept, *_ends_of_details(kept), "", _CUT]) + "\n"
        kept.append(line)
    return "\n".join(kept) + "\n"


def _ends_of_details(lines: Sequence[str]) -> Iterator[str]:
    """The ends that the lines lack: what follows would be folded away with the rest."""
    for _ in range(sum(one.startswith("<details>") for one in lines) - lines.count("</details>")):
        yield from ("", "</details>")


def plain(text: str) -> str:
    """Return the text so that Markdown shows it as it is: no markup, no mention, no link, on one line."""
    cut = text if len(text) <= _MOST_IN_CELL else f"{text[:_MOST_IN_CELL]}..."
    return "".join(
        character if character.isascii() and (character.isalnum() or character in _PLAIN) else f"&#{ord(character)};"
        for character in _LINKED.sub("\\g<0>\u200b", " ".join(cut.split()))
    )


def _lines(plan: ChangePlan) -> Iterator[str]:
    yield from (TITLE, "", _summary(plan))
    rows = [
        (
            plain(f"{one.namespace}/{one.name}"),
            f"**{_SAID[one.effect]}**" if one.effect in HARMFUL else _SAID[one.effect],
            _addresses(one.before),
            _addresses(one.after),
            plain(_why(one.message, one.pool_before, one.pool)),
        )
        for one in plan.change.effects
    ]
    yield from _table(("Service", "effect", "before", "after", "why"), rows)
    sessions = plan.bgp_changes.sessions
    if sessions:
        yield from ("", "**BGP sessions:**")
        yield from _table(
            ("peer", "change", "nodes", "why"),
            [(plain(s.peer), plain(s.change), plain(listed(s.nodes)), plain(s.reason)) for s in sessions],
        )
    refused = [answer for answer in plan.given if not answer.verdict.allowed]
    if refused:
        yield from ("", "**Refused by admission:**")
        yield from _table(
            ("document", "code", "why"),
            [(plain(f"{one.kind} {one.name}"), str(one.verdict.code), plain(one.verdict.message)) for one in refused],
        )
    warnings = [(answer, warning) for answer in plan.given for warning in answer.verdict.warnings]
    if warnings:
        yield from ("", "<details><summary>Warnings</summary>")
        yield from _table(("document", "warning"), [(plain(f"{a.kind} {a.name}"), plain(w)) for a, w in warnings])
        yield from ("", "</details>")
    if plan.pools:
        yield from ("", "<details><summary>Pools after it</summary>")
        yield from _table(("pool", "family", "assigned", "available"), list(_pools(plan.pools)))
        yield from ("", "</details>")


def _summary(plan: ChangePlan) -> str:
    parts = [_counted(count, _SAID[effect]) for effect, count in plan.change.counts.items()]
    routes = Counter(change for change, _, _ in plan.bgp_changes.routes)
    parts += [f"{count} BGP route{'s' * (count > 1)} {change}" for change, count in sorted(routes.items())]
    denied = sum(not answer.verdict.allowed for answer in plan.given)
    if denied:
        parts.append(f"{denied} of {len(plan.given)} documents refused")
    said = ", ".join(parts) or "Nothing changes for any Service"
    unchanged = plan.change.unchanged
    return f"{said}; {unchanged} {'Service stays as it is' if unchanged == 1 else 'Services stay as they are'}."


def _counted(count: int, said: str) -> str:
    """`1 moves`, `2 move`."""
    return f"{count} {said}" if count == 1 else f"{count} {_SINGULAR.sub(_VERB, said)}"


def _why(message: str, before: str, after: str) -> str:
    moved = f"pool {after}, was {before}" if before and after and before != after else ""
    return "; ".join(part for part in (message, moved) if part)


def _addresses(addresses: Sequence[str]) -> str:
    return ", ".join(f"`{address}`" for address in addresses) or "none"


def _pools(pools: Iterable[PoolResult]) -> Iterator[tuple[str, ...]]:
    for pool in pools:
        for family, assigned, available in (
            ("IPv4", pool.assigned_ipv4, pool.available_ipv4),
            ("IPv6", pool.assigned_ipv6, pool.available_ipv6),
        ):
            if assigned or available:
                yield plain(pool.name), family, str(assigned), str(available)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    yield from ("", f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}")
    for row in rows[:_MOST_ROWS]:
        yield f"| {' | '.join(row)} |"
    if len(rows) > _MOST_ROWS:
        yield from ("", f"and {len(rows) - _MOST_ROWS} more.")
