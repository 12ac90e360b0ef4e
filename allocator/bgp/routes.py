"""What each peer gets of a Service from one node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from allocator.bgp.desired import DesiredState
from allocator.bgp.inputs import Peer
from allocator.bgp.route_class import Attributes, Prefix
from allocator.core.addresses import Address
from allocator.objects.bgp_community import CommunityValue


@dataclass(frozen=True, slots=True)
class Route:
    """A prefix that a peer gets because of one address of a Service, and with which attributes."""

    service: str
    address: Address
    peer: str
    prefix: Prefix
    attributes: Attributes

    def as_json(self) -> dict[str, Any]:
        """Return the JSON output; an attribute that is not sent is null."""
        return {
            "service": self.service,
            "ip": str(self.address),
            "peer": self.peer,
            "prefix": str(self.prefix),
            "communities": [str(CommunityValue(parts)) for parts in sorted(self.attributes.communities)],
            "localPref": self.attributes.local_pref,
            "med": self.attributes.med,
            "asPathPrepend": self.attributes.prepend,
        }


def routes_of(state: DesiredState, service: str) -> Iterator[Route]:
    """Yield what a Service's own advertisements have the node announce.

    Those of other Services may add attributes to the prefix; they are there, too.
    """
    for address, announcement in state.announcements(service).items():
        for prefix, names in announcement.prefixes.items():
            for name, peer in state.sessions.running.items():
                told = state.told(prefix, names, name)
                if told is not None:
                    yield Route(service, address, name, prefix, _sent(told, peer))


def attributes_text(attributes: Attributes) -> str:
    """Return the attributes in one line; empty for none."""
    parts = [str(CommunityValue(each)) for each in sorted(attributes.communities)]
    for name, value in (("localPref", attributes.local_pref), ("MED", attributes.med)):
        if value is not None:
            parts.append(f"{name} {value}")
    if attributes.prepend:
        parts.append(f"own AS prepended {attributes.prepend}x")
    return ", ".join(parts)


def _sent(attributes: Attributes, peer: Peer) -> Attributes:
    """Leave out what FRR does not send: a local preference to another AS, prepends to its own."""
    if peer.external:
        return replace(attributes, local_pref=None)
    return replace(attributes, prepend=None)
