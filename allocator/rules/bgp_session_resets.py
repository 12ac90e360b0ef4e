"""Which changes of a BGPPeer end its sessions, to begin them anew.

Measured (tests/frr/driver): timers, description, restart time and another BFD profile keep a session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from allocator.objects.bgp_peer import Peer

_RESETTING: Final[tuple[tuple[str, Callable[[Peer], object]], ...]] = (
    ("myASN", lambda peer: peer.my_asn),
    ("peerASN or dynamicASN", lambda peer: peer.remote),
    ("localASN", lambda peer: peer.local_asn),
    ("peerAddress", lambda peer: peer.address),
    ("interface", lambda peer: peer.interface),
    ("vrf", lambda peer: peer.vrf),
    ("peerPort", lambda peer: peer.port),
    ("sourceAddress", lambda peer: peer.source),
    ("routerID", lambda peer: peer.router_id),
    ("password", lambda peer: peer.password),
    ("passwordSecret", lambda peer: peer.password_secret),
    ("enableGracefulRestart", lambda peer: peer.graceful_restart),
    ("ebgpMultiHop", lambda peer: peer.multi_hop),
    ("ttlSecurityHops", lambda peer: peer.ttl_security_hops),
    ("dualStackAddressFamily", lambda peer: peer.dual_stack),
    ("shutdown", lambda peer: peer.shutdown),
)


def resetting_fields(before: Peer, after: Peer) -> list[str]:
    """Return the fields whose change ends the sessions; never their values, one of which is the password."""
    if before.shutdown:
        return []
    fields = [name for name, value in _RESETTING if value(before) != value(after)]
    # Another profile is taken over by the running session; without one, its BFD session ends, and it with that.
    return [*fields, *(["bfdProfile"] if before.bfd_profile and not after.bfd_profile else [])]
