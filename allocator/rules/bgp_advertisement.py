"""What admission answers for a BGPAdvertisement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from allocator.core.addresses import quoted
from allocator.core.listing import listed
from allocator.core.pools import Pool
from allocator.objects import names
from allocator.objects.bgp_advertisement import LENGTH_FIELDS, SELECTORS, Advertisement, advertisement_from
from allocator.objects.bgp_community import CommunityError, CommunityValue, all_aliases, resolved
from allocator.objects.bgp_peer import Peer
from allocator.objects.document import Document, InvalidDocument, Problem, name_of
from allocator.objects.selectors import repeated_in
from allocator.rules.bgp_advertisement_conflicts import added_communities, conflicts
from allocator.rules.bgp_aggregation import too_wide_for
from allocator.rules.bgp_conflict import split
from allocator.rules.bgp_nodes import Nodes
from allocator.rules.bgp_peer import peers_of
from allocator.rules.cluster_context import ClusterContext
from allocator.rules.verdict import Rules, Verdict, denied

WAITS: Final = (
    "until one does, prefixes that are announced stay as they are and no others are, whatever else covers them"
)
"""What becomes of the prefixes of an advertisement that uses a name which no Community gives."""

MOST_COMMUNITIES: Final = 63
"""MetalLB's limit for one prefix (internal/bgp/frr/frr.go)."""


def review_bgp_advertisement(
    new: Document, old: Document | None, *, context: ClusterContext, rules: Rules
) -> Verdict:
    """Answer the creation (`old` is None) or change of a BGPAdvertisement."""
    label = f"BGPAdvertisement {name_of(new)}"
    try:
        advertisement = advertisement_from(new)
        repeated_in(new, SELECTORS).raise_if_any()
        aliases = all_aliases(context.expected(names.COMMUNITIES))
        nodes, pools = Nodes(context.nodes()), context.pools()
        stored = (one for one in context.objects(names.BGP_ADVERTISEMENTS) if name_of(one) != advertisement.name)
        others = advertisements_of(stored)
        before = advertisements_of([old] if old is not None else [])
        known = [conflict for one in before for conflict in conflicts(one, others, pools, nodes)]
        new_conflicts, stored_conflicts = split(conflicts(advertisement, others, pools, nodes), known)
        problems = [
            *unfit_communities(advertisement, aliases),
            *too_wide_for(advertisement, pools),
            *new_conflicts,
        ]
        if problems:
            raise InvalidDocument(problems)
    except InvalidDocument as error:
        return denied(422, f"{label}: {error}")
    peers = peers_of(context.expected(names.BGP_PEERS))
    absent = [f"{label}: {text}" for text in _absent(advertisement, aliases, context)]
    notes = [
        *(f"{label}: {problem}" for problem in stored_conflicts),
        *(f"{label}: {text}" for text in added_communities(advertisement, others, pools, nodes)),
        *(f"{label}: {text}" for text in _notes(advertisement, peers, nodes)),
        *(f"{label}: {text}" for text in _drawn_traffic(advertisement, pools, context)),
    ]
    if absent and rules.strict:
        return denied(422, "; ".join(absent), tuple(notes))
    return Verdict(warnings=(*absent, *notes))


def advertisements_of(documents: Iterable[Document]) -> list[Advertisement]:
    """Return the BGPAdvertisements that can be read."""
    found = []
    for document in documents:
        try:
            found.append(advertisement_from(document))
        except InvalidDocument:
            continue
    return found


def unfit_communities(advertisement: Advertisement, aliases: Mapping[str, CommunityValue]) -> list[Problem]:
    """List the communities that cannot mean anything, and say where they are too many."""
    problems: list[Problem] = []
    meant: set[CommunityValue | str] = set()
    for index, text in enumerate(advertisement.communities):
        try:
            # A name without a meaning yet will have one of its own.
            meant.add(resolved(text, aliases) or text)
        except CommunityError as error:
            problems.append(Problem(f"spec.communities[{index}]", str(error)))
    if len(meant) > MOST_COMMUNITIES:
        why = f"are {len(meant)} different ones; a prefix has {MOST_COMMUNITIES} at most, remove some"
        problems.append(Problem("spec.communities", why))
    return problems


def unknown_aliases(advertisement: Advertisement, aliases: Mapping[str, CommunityValue]) -> list[tuple[int, str]]:
    """Return the communities that no Community gives a meaning to (yet), each with its place."""
    return [
        (index, text)
        for index, text in enumerate(advertisement.communities)
        if ":" not in text and resolved(text, aliases) is None
    ]


def selected_peers(advertisement: Advertisement, peers: Iterable[Peer]) -> list[Peer]:
    """Return those of the peers that the advertisement goes to."""
    return [peer for peer in peers if not advertisement.peers or peer.name in advertisement.peers]


def _absent(
    advertisement: Advertisement, aliases: Mapping[str, CommunityValue], context: ClusterContext
) -> Iterator[str]:
    """What the advertisement names and is not there: it may come."""
    pools = {name_of(one) for one in context.expected(names.IP_ADDRESS_POOLS)}
    for name in sorted(advertisement.pools.names - pools):
        yield f"spec.ipAddressPools: there is no pool {name} (yet), nothing of it is announced; create or remove it"
    peers = {name_of(one) for one in context.expected(names.BGP_PEERS)}
    for index, name in enumerate(advertisement.peers):
        if name not in peers:
            yield (
                f"spec.peers[{index}]: there is no BGPPeer {name} (yet), nothing is announced to it; names are those "
                "of BGPPeer objects: create it, correct it or remove it"
            )
    for index, text in unknown_aliases(advertisement, aliases):
        yield (
            f"spec.communities[{index}]: no Community gives the name {quoted(text)} (yet), and it is not well-known; "
            f"{WAITS}: create it, or write numbers"
        )


def _drawn_traffic(advertisement: Advertisement, pools: Iterable[Pool], context: ClusterContext) -> Iterator[str]:
    """Name the Services whose prefixes bring traffic of others to nodes where those have no endpoint."""
    for family, field in LENGTH_FIELDS.items():
        if advertisement.length(family) == family.bits:
            continue
        owned = [one for pool in pools if advertisement.pools.covers(pool) for one in pool.ranges]
        claims = [claim for one in owned if one.family is family for claim in context.claims_within(one)]
        local = {holder.label for claim in claims if claim.in_use for holder in claim.holders if holder.local_traffic}
        if local:
            yield (
                f"spec.{field}: {advertisement.length(family)} covers {listed(sorted(local))} with "
                "externalTrafficPolicy Local and addresses around them, whose traffic then comes to nodes without "
                "their endpoints; give the Local ones a pool that is not aggregated"
            )


def _notes(advertisement: Advertisement, peers: Sequence[Peer], nodes: Nodes) -> Iterator[str]:
    mine = selected_peers(advertisement, peers)
    if advertisement.attributes.local_pref is not None and mine and not any(peer.is_internal for peer in mine):
        yield (
            f"spec.localPref: {advertisement.attributes.local_pref} has no effect, no peer it goes to is of our own "
            "AS; use med or asPathPrepend"
        )
    if not nodes:
        return
    if not nodes.chosen(advertisement.node_selectors):
        yield "spec.nodeSelectors: no node's labels match, so that nothing is announced"
    elif mine and all(nodes.shared(advertisement.node_selectors, peer.node_selectors) is None for peer in mine):
        yield "spec.nodeSelectors: none of these nodes connects to a peer it goes to, so that nothing is announced"
