"""Who hears whom one way only: behind whom each node is, also through others, and where that leads in a circle.

A node is behind another that it hears and that does not hear it, if the other's side is no smaller: the other cannot
know what it claims, so only it can give way. Each says behind whom it is, and passes on what those it is behind say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

Ways = Mapping[str, frozenset[str]]
"""Behind whom each node is."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The nodes that this one is behind, also through others; those `in_cycle` are behind it as well: a cycle."""

    ahead: frozenset[str] = frozenset()
    in_cycle: frozenset[str] = frozenset()


def pass_on(node: str, behind: Collection[str], said: Mapping[str, Ways]) -> dict[str, frozenset[str]]:
    """Return what the node says, who is behind these: what it and all say that it is behind through others.

    What one says of itself is taken from whoever hears it directly, along the shortest way to here: it is never older
    than that way is long, and ends with it, though what is said goes in a circle.
    """
    if not behind:
        return {}
    found = {node: frozenset(behind)}
    through = {each: each for each in behind}
    pending = deque(sorted(behind))
    while pending:
        each = pending.popleft()
        found[each] = said.get(through[each], {}).get(each, frozenset())
        for other in sorted(found[each] - through.keys() - {node}):
            through[other] = through[each]
            pending.append(other)
    return found


def ahead_of(node: str, behind: Collection[str], ways: Ways) -> Ahead:
    """Return who is ahead of the node that is behind these, by what all say."""
    if not behind:
        return Ahead()
    found = _reachable(behind, ways)
    backwards: dict[str, set[str]] = {}
    for each in found:
        for other in ways.get(each, frozenset()):
            backwards.setdefault(other, set()).add(each)
    in_cycle = _reachable(backwards.get(node, set()), backwards)
    return Ahead(found - in_cycle - {node}, (found & in_cycle) - {node})


def _reachable(start: Collection[str], ways: Mapping[str, Collection[str]]) -> frozenset[str]:
    found, pending = set(start), list(start)
    while pending:
        more = set(ways.get(pending.pop(), ())) - found
        found |= more
        pending += more
    return frozenset(found)
