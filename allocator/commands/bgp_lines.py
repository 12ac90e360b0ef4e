"""What becomes of an address at the routers, in lines: one for all nodes with which the same becomes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from allocator.bgp.routes import attributes_text
from allocator.commands.bgp_explanation import BgpOutcome
from allocator.core.listing import listed

Line = tuple[str, str, str]
"""Nodes, BGPPeer, and what becomes of it."""


def grouped_outcomes(outcomes: Iterable[BgpOutcome]) -> list[tuple[bool, Line]]:
    """Return the lines, each with whether the routers have it; those first that have."""
    nodes: dict[tuple[bool, str, str], list[str]] = {}
    for outcome in outcomes:
        nodes.setdefault((not outcome.reaches, outcome.peer, _what(outcome)), []).append(outcome.node)
    return [(not lacks, (listed(names), peer, what)) for (lacks, peer, what), names in sorted(nodes.items())]


def bgp_lines(outcomes: Iterable[BgpOutcome]) -> Iterator[str]:
    """Yield one line each: `BGP: node-1, node-2 to BGPPeer tor: advertised as 198.51.100.1/32`."""
    for _, (nodes, peer, what) in grouped_outcomes(outcomes):
        yield f"BGP: {nodes} to BGPPeer {peer}: {what}"


def _what(outcome: BgpOutcome) -> str:
    if outcome.silent_since:
        return f"{_told(outcome)} (as reported before {outcome.silent_since}: its speaker is silent since)"
    return _told(outcome)


def _told(outcome: BgpOutcome) -> str:
    if outcome.obstacle is not None:
        return f"not advertised ({outcome.obstacle.step}): {outcome.obstacle.why}"
    if outcome.route is None:
        return ""
    told = attributes_text(outcome.route.attributes)
    return f"advertised as {outcome.route.prefix}{f' with {told}' if told else ''}"
