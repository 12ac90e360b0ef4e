"""What one change costs in the desired state of BGP: 200 advertisements, 50 peers, 5,000 Services; no FRR.

Times are of the thread's processor. The baseline is what MetalLB does at each change: all of it anew.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from allocator.bgp.changes import changes
from allocator.bgp.command import apply
from allocator.bgp.desired import DesiredState
from allocator.bgp.frr_config import Config
from allocator.bgp.inputs import Advertisement, LocalNode, Peer, Service
from allocator.bgp.rendering import Rendering
from allocator.core.addresses import Address, Family
from allocator.core.pool_selection import PoolSelection
from allocator.objects.bgp_community import CommunityValue
from tests.bench.figures import Figure

SECTION = "BGP: the desired state"
_ADVERTISEMENTS, _PEERS, _SERVICES = 200, 50, 5000
_REPEATS = 15
_TARGET_MILLISECONDS = 5.0
_FIRST = Address.parse("10.0.0.0").value
_NODE = LocalNode(name="node-1", ipv4="192.0.2.1")

Change = Callable[[DesiredState, int], None]


def _advertisement(number: int) -> Advertisement:
    """Each for a pool of its own, and to all peers or to five."""
    peers = None if number % 2 else frozenset(f"peer-{(number + step) % _PEERS}" for step in range(5))
    return Advertisement(
        name=f"adv-{number}",
        pools=PoolSelection(names=frozenset({f"pool-{number}"})),
        peers=peers,
        communities=(f"64500:{number % 20}", "customers"),
    )


def _service(number: int) -> Service:
    return Service(
        labels={"app": f"app-{number}"},
        addresses={Address(Family.IPV4, _FIRST + number): (f"pool-{number % _ADVERTISEMENTS}",)},
        has_endpoints=True,
        endpoint_nodes=frozenset({"node-1", "node-2"}),
    )


def _filled() -> DesiredState:
    state = DesiredState(_NODE)
    state.set_aliases({"customers": CommunityValue((64500, 99))})
    for number in range(_ADVERTISEMENTS):
        state.set_pool(f"pool-{number}", {})
        state.set_advertisement(f"adv-{number}", _advertisement(number))
    for number in range(_PEERS):
        address = Address(Family.IPV4, Address.parse("192.0.2.2").value + number)
        peer = Peer(name=f"peer-{number}", my_asn=64500, peer_asn=64501, address=address)
        state.set_peer(peer.name, peer)
    for number in range(_SERVICES):
        state.set_service(f"production/service-{number}", _service(number))
    return state


def _endpoints(state: DesiredState, turn: int) -> None:
    state.set_service("production/service-7", replace(_service(7), has_endpoints=bool(turn % 2)))


def _new_service(state: DesiredState, turn: int) -> None:
    state.set_service(f"production/new-{turn}", _service(_SERVICES + turn))


def _communities(state: DesiredState, turn: int) -> None:
    state.set_advertisement("adv-1", replace(_advertisement(1), communities=(f"64500:{turn}",)))


def _pool_of_all(state: DesiredState, turn: int) -> None:
    state.set_advertisement("everything", Advertisement(name="everything", communities=(f"64500:{turn}",)))


def _alias(state: DesiredState, turn: int) -> None:
    state.set_aliases({"customers": CommunityValue((64500, turn))})


def _peer(state: DesiredState, turn: int) -> None:
    peer = Peer(
        name="late", my_asn=64500, peer_asn=64501, address=Address.parse("192.0.2.200"), description=str(turn)
    )
    state.set_peer("late", peer)


_CHANGES: tuple[tuple[str, Change, bool], ...] = (
    ("endpoints of a Service", _endpoints, True),
    ("new Service", _new_service, True),
    ("communities of an advertisement (25 Services)", _communities, True),
    ("BGPPeer", _peer, True),
    ("alias that all 200 advertisements use (5,000 prefixes change)", _alias, False),
    ("communities of an advertisement of all 5,000 Services", _pool_of_all, False),
)


def measure() -> Iterable[Figure]:
    """Yield the figures."""
    whole = statistics.median(_milliseconds(_filled) for _ in range(3))
    yield from _changes(whole)


def _changes(whole: float) -> Iterator[Figure]:
    state = _filled()
    rendering = Rendering()
    present = Config()
    _follow(state, rendering, present)
    for what, change, bounded in _CHANGES:
        change(state, _REPEATS)
        _follow(state, rendering, present)
        decided, followed = [], []
        for turn in range(_REPEATS):
            decided.append(_milliseconds(partial(change, state, turn)))
            followed.append(_milliseconds(partial(_follow, state, rendering, present)))
        yield Figure(
            section=SECTION,
            what=what,
            value=statistics.median(decided),
            unit="ms",
            baseline="all of it anew, as at each change in MetalLB",
            baseline_value=whole,
            target=_TARGET_MILLISECONDS if bounded else None,
            remark=f"median of {_REPEATS}; as commands for FRR {statistics.median(followed):.1f} ms more",
            samples=tuple(decided),
        )


def _follow(state: DesiredState, rendering: Rendering, present: Config) -> None:
    rendering.update(state.take_difference())
    wanted = rendering.config(present)
    for command in changes(present, wanted, rendering.take_touched()):
        apply(present, command, wanted)


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return 1000 * (time.thread_time() - started)
