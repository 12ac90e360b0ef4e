"""What is wrong with stored BGP objects: admission refuses it, and it came in while nothing checked it.

Of two that contradict one another the one created later is invalid, as with pools.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from allocator.core.pools import Pool
from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.objects.bgp_advertisement import Advertisement, advertisement_from
from allocator.objects.bgp_community import alias_owners, all_aliases
from allocator.objects.bgp_peer import Peer, peer_from
from allocator.objects.document import Document, InvalidDocument, Problem, in_order_of_age, name_of
from allocator.rules.bgp_advertisement import unfit_communities
from allocator.rules.bgp_advertisement_conflicts import conflicts as advertisement_conflicts
from allocator.rules.bgp_aggregation import too_wide_for
from allocator.rules.bgp_community import repeated_aliases
from allocator.rules.bgp_nodes import Nodes
from allocator.rules.bgp_peer_conflicts import conflicts as peer_conflicts

Finding = tuple[str, str, str]
"""An object's name, the reason of its fault, and the message."""
_Value = TypeVar("_Value")


def peer_faults(documents: Iterable[Document], nodes: Nodes) -> Iterator[Finding]:
    """Say which of the BGPPeers contradict an older one."""
    sound: list[Peer] = []
    for peer in _readable(documents, peer_from):
        problems = [conflict.problem for conflict in peer_conflicts(peer, sound, nodes)]
        if problems:
            yield peer.name, "Conflict", str(InvalidDocument(problems))
        else:
            sound.append(peer)


def advertisement_faults(
    documents: Iterable[Document], communities: Iterable[Document], pools: Sequence[Pool], nodes: Nodes
) -> Iterator[Finding]:
    """Say which of the BGPAdvertisements do not fit their communities, pools, or an older one."""
    aliases = all_aliases(in_order_of_age(communities))
    sound: list[Advertisement] = []
    for advertisement in _readable(documents, advertisement_from):
        conflicts = advertisement_conflicts(advertisement, sound, pools, nodes)
        for reason, problems in (
            ("Invalid", unfit_communities(advertisement, aliases)),
            ("PrefixTooWide", too_wide_for(advertisement, pools)),
            ("Conflict", [conflict.problem for conflict in conflicts]),
        ):
            if problems:
                yield advertisement.name, reason, str(InvalidDocument(problems))
                break
        else:
            sound.append(advertisement)


def community_faults(documents: Iterable[Document]) -> Iterator[Finding]:
    """Say which of the Communities give a name that an older one gives."""
    older: list[Document] = []
    for document in in_order_of_age(documents):
        problems: list[Problem] = repeated_aliases(document, alias_owners(older))
        if problems:
            yield name_of(document), "Conflict", str(InvalidDocument(problems))
        older.append(document)


def faults(
    objects: Mapping[Resource, Sequence[Document]], pools: Sequence[Pool], nodes: Nodes
) -> Iterator[tuple[str, Finding]]:
    """Say by kind what is wrong between objects; `objects` has those kinds that are known."""
    communities = objects.get(names.COMMUNITIES, ())
    for kind, findings in (
        (names.BGP_PEERS, peer_faults(objects.get(names.BGP_PEERS, ()), nodes)),
        (
            names.BGP_ADVERTISEMENTS,
            advertisement_faults(objects.get(names.BGP_ADVERTISEMENTS, ()), communities, pools, nodes),
        ),
        (names.COMMUNITIES, community_faults(communities)),
    ):
        for finding in findings:
            yield kind.kind, finding


def _readable(documents: Iterable[Document], read: Callable[[Document], _Value]) -> Iterator[_Value]:
    for document in in_order_of_age(documents):
        try:
            yield read(document)
        except InvalidDocument:
            continue
