"""A node's BGP as values: what a reader says is what a test has it say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from allocator.bgp.command import Daemon
from allocator.bgp.inputs import Peer
from allocator.bgp.route_class import Attributes, Contribution, Prefix, RouteClass, merged, prefix_of
from allocator.core.addresses import Address
from speaker.bgp.reports import DaemonState, ServiceRoutes, SessionState, Snapshot
from speaker.bgp.vty import Reply, VtyError

CONNECTED = {daemon: DaemonState(connected=True, version="10.3", pid=7) for daemon in Daemon}
TOR = Peer(name="tor", my_asn=64500, peer_asn=64501, address=Address.parse("192.0.2.1"))
SIX = Peer(name="six", my_asn=64500, peer_asn=64501, address=Address.parse("2001:db8::1"), bfd_profile="fast")


def session(peer: Peer, state: str = "Established", **fields: Any) -> SessionState:
    """A session as bgpd says it is."""
    port = fields.pop("port", peer.port)
    return SessionState(peer=peer.name, vrf=peer.vrf, neighbor=peer.id, state=state, port=port, **fields)


def prefix(text: str) -> Prefix:
    """A prefix as people write it."""
    address, _, length = text.partition("/")
    return prefix_of(Address.parse(address), int(length))


def told(*peers: str) -> RouteClass:
    """What only these peers are told; all of them where none is named."""
    return merged([Contribution(Attributes(), frozenset(peers) or None)])


@dataclass
class SaidByBgp:
    """A `BgpReader` of values."""

    now: Snapshot
    routes: dict[str, ServiceRoutes] = field(default_factory=dict)
    announced: dict[Prefix, RouteClass] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    """JSON by `show` command; a daemon that is asked anything else does not answer."""
    behind: dict[str, float] = field(default_factory=dict)

    def snapshot(self) -> Snapshot:
        return self.now

    def service(self, key: str) -> ServiceRoutes:
        return self.routes.get(key, ServiceRoutes())

    def services(self) -> tuple[str, ...]:
        return tuple(self.routes)

    def lags(self) -> Mapping[str, float]:
        return self.behind

    def wanted(self) -> Mapping[str, int]:
        return {
            name: sum(
                prefix.family in peer.families and each.for_peer(name) is not None
                for prefix, each in self.announced.items()
            )
            for name, peer in self.now.sessions.items()
        }

    def ask(self, daemon: Daemon, command: str) -> Future[Reply]:
        answer: Future[Reply] = Future()
        if command in self.answers:
            answer.set_result(Reply(0, json.dumps(self.answers[command])))
        else:
            answer.set_exception(VtyError(f"{daemon} does not answer"))
        return answer
