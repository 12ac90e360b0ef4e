"""The objects for BGP of a whole cluster as values, read from documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from allocator.bgp.inputs import Advertisement, BFDProfile, Inputs, LocalNode, Password, Peer, Service
from allocator.bgp.object_values import advertisement_value, peer_value
from allocator.core.pools import Pool
from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.objects.bgp_advertisement import advertisement_from
from allocator.objects.bgp_bfd_profile import bfd_profile_from
from allocator.objects.bgp_community import CommunityValue, all_aliases
from allocator.objects.bgp_peer import peer_from
from allocator.objects.document import Document, InvalidDocument, in_order_of_age

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """What users have configured, by name. An object that cannot be read takes no part.

    Nobody who reads documents alone knows the passwords in Secrets: they count as there, and as others where another
    Secret is named.
    """

    peers: Mapping[str, Peer] = field(default_factory=dict)
    profiles: Mapping[str, BFDProfile] = field(default_factory=dict)
    advertisements: Mapping[str, Advertisement] = field(default_factory=dict)
    aliases: Mapping[str, CommunityValue] = field(default_factory=dict)
    pools: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The labels of each."""

    def on(self, node: LocalNode, services: Mapping[str, Service] = MappingProxyType({})) -> Inputs:
        """Return what one node goes by."""
        return Inputs(
            node=node,
            peers=self.peers,
            profiles=self.profiles,
            advertisements=self.advertisements,
            aliases=self.aliases,
            pools=self.pools,
            services=services,
        )


def configured(documents: Mapping[Resource, Sequence[Document]], pools: Iterable[Pool]) -> Configured:
    """Read the documents of each kind in `names.BGP_KINDS`, and the pools that are in use."""
    peers: dict[str, Peer] = {}
    for document in documents.get(names.BGP_PEERS, ()):
        peer = _readable(document, peer_from)
        if peer is not None:
            secret = Password(peer.password_secret) if peer.password_secret else None
            created = document["metadata"].get("creationTimestamp") or ""
            peers[peer.name] = peer_value(peer, created=created, secret=secret)
    advertisements = (
        _readable(document, advertisement_from) for document in documents.get(names.BGP_ADVERTISEMENTS, ())
    )
    profiles = (_readable(document, bfd_profile_from) for document in documents.get(names.BFD_PROFILES, ()))
    return Configured(
        peers=peers,
        profiles={each.name: each for each in profiles if each is not None},
        advertisements={each.name: advertisement_value(each) for each in advertisements if each is not None},
        aliases=all_aliases(in_order_of_age(documents.get(names.COMMUNITIES, ()))),
        pools={pool.name: pool.labels for pool in pools},
    )


def _readable(document: Document, read: Callable[[Document], _Value]) -> _Value | None:
    try:
        return read(document)
    except InvalidDocument:
        return None
