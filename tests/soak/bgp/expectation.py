"""Which router is to send which address to which node, and from when on it has to be so. Times are handed in."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

CHANGE_SECONDS = 8.0
"""A planned leave marks routes for two seconds before it withdraws them."""
RETURN_SECONDS = 25.0
"""Sessions that ended are dialled anew, and a node that returns waits for kube-proxy."""


@dataclass(frozen=True, slots=True, order=True)
class Hop:
    """A router sends what is for an address to a node."""

    router: str
    node: str
    address: str


@dataclass(frozen=True, slots=True)
class Scope:
    """Some routers' sessions with some nodes."""

    routers: frozenset[str]
    nodes: frozenset[str]

    def has(self, router: str, node: str) -> bool:
        """Whether the session is one of them."""
        return router in self.routers and node in self.nodes


@dataclass(slots=True)
class _Lasting:
    """Something that lasts, and the hops that have time until well after its end, those of `scope` beside them."""

    scope: Scope
    waiting: set[Hop]


@dataclass
class Expectation:
    """What has to be, for any thread; `_lock` guards all of it.

    A hop that changes may be either until `CHANGE_SECONDS` after the change is made. While something befalls a
    session, its hops may be anything, and for `RETURN_SECONDS` longer. While a node is slow to follow, its changes
    have that time from its end on, and what does not change has to stay. No bound that there is becomes shorter.

    Where routers choose among nodes by what changes, a node that follows late makes the others' hops late: as long as
    it is the better one, they are left out.
    """

    clock: Callable[[], float]
    patience: float = 1.0
    wanted: set[Hop] = field(default_factory=set)
    _due: dict[Hop, float] = field(default_factory=dict)
    _chosen_due: dict[Hop, float] = field(default_factory=dict)
    """The same of hops among which routers choose by the last such change."""
    _sessions_due: dict[tuple[str, str], float] = field(default_factory=dict)
    _changing: list[set[Hop]] = field(default_factory=list)
    _befallen: list[_Lasting] = field(default_factory=list)
    _slow: list[_Lasting] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def changing(self, after: Callable[[], Iterable[Hop]], touched: Collection[Hop] = ()) -> Iterator[None]:
        """Make a change in the block; `after` returns what is wanted once it is made, and is called before it.

        `touched` are hops that stay, and that routers may leave out while only some nodes have changed.
        """
        hops = set(after())
        with self._lock:
            changed = (self.wanted ^ hops).union(touched)
            self._changing.append(changed)
        try:
            yield
        finally:
            with self._lock:
                self.wanted = hops
                self._changing.remove(changed)
                for hop in changed:
                    self._extend(hop, CHANGE_SECONDS)
                for hop in touched:
                    self._chosen_due[hop] = self._due[hop]
                for lasting in (*self._befallen, *self._slow):
                    lasting.waiting |= self._late(lasting.scope)

    @contextmanager
    def befalling(self, scope: Scope) -> Iterator[None]:
        """What happens in the block may end these sessions and take their routes away."""
        with self._lock:
            befallen = _Lasting(scope, self._late(scope))
            self._befallen.append(befallen)
        try:
            yield
        finally:
            with self._lock:
                self._befallen.remove(befallen)
                hops = {hop for hop in {*self.wanted, *self._due} if scope.has(hop.router, hop.node)}
                for hop in hops | befallen.waiting:
                    self._extend(hop, RETURN_SECONDS)
                until = self.clock() + RETURN_SECONDS * self.patience
                for router in scope.routers:
                    for node in scope.nodes:
                        self._sessions_due[router, node] = until

    @contextmanager
    def slow(self, scope: Scope) -> Iterator[None]:
        """What happens in the block keeps changes from arriving; what is there stays."""
        with self._lock:
            now = self.clock()
            pending = {hop for hop, due in self._due.items() if due > now and scope.has(hop.router, hop.node)}
            slow = _Lasting(scope, pending | self._late(scope))
            self._slow.append(slow)
        try:
            yield
        finally:
            with self._lock:
                self._slow.remove(slow)
                for hop in slow.waiting:
                    self._extend(hop, RETURN_SECONDS)

    def wrong(self, router: str, seen: Iterable[Hop], at: float) -> set[Hop]:
        """Return the hops of a router that are there and may not be, or are not and have to."""
        there = set(seen)
        with self._lock:
            wanted = {hop for hop in self.wanted if hop.router == router}
            return {hop for hop in there ^ wanted if not self._may_be_anything(hop, at)}

    def may_move(self, router: str, address: str, at: float) -> bool:
        """Whether a router may change how it sends what is for an address."""
        with self._lock:
            known = {*self.wanted, *self._due}.union(*self._changing)
            hops = {hop for hop in known if (hop.router, hop.address) == (router, address)}
            return any(self._may_be_anything(hop, at) for hop in hops)

    def story(self, router: str, address: str, at: float) -> str:
        """Say which nodes the router is to send it to, and for how long each hop could have been anything."""
        with self._lock:
            hops = [hop for hop in {*self.wanted, *self._due} if (hop.router, hop.address) == (router, address)]
            said = [
                f"{hop.node} {'wanted' if hop in self.wanted else 'not wanted'}"
                + (f", anything until {self._due[hop] - at:+.2f} s of it" if hop in self._due else "")
                for hop in sorted(hops)
            ]
            return "; ".join(said) or "no node is or was to have it"

    def may_reset(self, router: str, node: str, at: float) -> bool:
        """Whether a session may end or be down."""
        with self._lock:
            if any(each.scope.has(router, node) for each in self._befallen):
                return True
            return at < self._sessions_due.get((router, node), 0.0)

    def is_wanted(self, hop: Hop) -> bool:
        """Whether the hop has to be there once all has settled."""
        with self._lock:
            return hop in self.wanted

    def settled_at(self) -> float:
        """When the last of what may still be anything has to be as it is wanted; infinite while something lasts."""
        with self._lock:
            if self._changing or self._befallen or self._slow:
                return math.inf
            return max((*self._due.values(), *self._sessions_due.values()), default=0.0)

    def _may_be_anything(self, hop: Hop, at: float) -> bool:
        if any(each.scope.has(hop.router, hop.node) for each in self._befallen):
            return True
        if any(hop in changed for changed in self._changing):
            return True
        if any(hop in each.waiting for each in (*self._befallen, *self._slow)):
            return True
        # What comes to be wanted of a session that may still be down has the session's time.
        return at < max(self._due.get(hop, 0.0), self._sessions_due.get((hop.router, hop.node), 0.0))

    def _extend(self, hop: Hop, seconds: float) -> None:
        self._due[hop] = max(self.clock() + seconds * self.patience, self._due.get(hop, 0.0))
        for slow in self._slow:
            if slow.scope.has(hop.router, hop.node):
                slow.waiting.add(hop)

    def _late(self, scope: Scope) -> set[Hop]:
        """Return the hops among which routers choose at present, where one of them is of these sessions."""
        now = self.clock()
        chosen = {hop for hop, due in self._chosen_due.items() if due > now}
        late = {(hop.router, hop.address) for hop in chosen if scope.has(hop.router, hop.node)}
        return {hop for hop in chosen if (hop.router, hop.address) in late}
