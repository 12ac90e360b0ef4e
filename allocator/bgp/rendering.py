"""The configuration that a desired state comes to, kept up to date difference by difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from allocator.bgp.desired import Desired, Difference
from allocator.bgp.frr_config import (
    DENY_IN_LINES,
    GLOBAL_LINES,
    Config,
    Key,
    Line,
    NetworkKey,
    class_lines,
    class_name,
    mark_of,
    numbers,
    out_lines,
    profile_lines,
    session_lines,
    split,
)
from allocator.bgp.inputs import BFDProfile, Peer
from allocator.bgp.route_class import Prefix, RouteClass
from allocator.core.addresses import Family


def render(desired: Desired, present: Config | None = None, *, graceful_shutdown: bool = False) -> Config:
    """Return the configuration of a desired state, its numbers taken from what is configured at present."""
    rendering = Rendering()
    rendering.update(Difference(desired.sessions, desired.profiles, desired.prefixes))
    rendering.set_graceful_shutdown(graceful_shutdown)
    return rendering.config(present or Config())


class Rendering:
    """The configuration of one node's desired state. Belongs to one thread; does no I/O.

    Networks are kept by prefix. All other lines are few and are made anew when sessions or the classes in use change.
    """

    def __init__(self) -> None:
        self._sessions: Mapping[str, Peer] = {}
        self._ending: tuple[Peer, ...] = ()
        self._profiles: Mapping[str, BFDProfile] = {}
        self._prefixes: dict[Prefix, RouteClass] = {}
        self._in_use: Counter[RouteClass] = Counter()
        self._graceful_shutdown = False
        self._networks: dict[NetworkKey, str] = {}
        self._targets: dict[tuple[RouteClass, Family], Mapping[str, str]] = {}
        self._touched: set[NetworkKey] = set()
        self._lines: dict[Key, Line] | None = None
        self._numbered_from: Config | None = None

    @property
    def sessions(self) -> Mapping[str, Peer]:
        """The sessions, by the name of their peer."""
        return self._sessions

    @property
    def prefixes(self) -> Mapping[Prefix, RouteClass]:
        """The prefixes and their classes."""
        return self._prefixes

    @property
    def profiles(self) -> Mapping[str, BFDProfile]:
        """The BFD profiles, by name."""
        return self._profiles

    def update(self, difference: Difference) -> None:
        """Take in a difference; a prefix of None is gone."""
        if difference.profiles is not None:
            self._profiles = difference.profiles
            self._lines = None
        for prefix, route_class in difference.prefixes.items():
            if (before := self._prefixes.pop(prefix, None)) is not None:
                self._in_use[before] -= 1
                if not self._in_use[before]:
                    del self._in_use[before]
                    self._lines = None
            if route_class is not None:
                self._prefixes[prefix] = route_class
                if not self._in_use[route_class]:
                    self._lines = None
                self._in_use[route_class] += 1
        if difference.sessions is not None and difference.sessions != self._sessions:
            self._sessions = difference.sessions
            self._place_all(difference.prefixes)
        else:
            self._place(difference.prefixes)

    def set_ending(self, peers: Iterable[Peer]) -> None:
        """Render these sessions as well, which wait for the turn of their node to end: they go on with all prefixes.

        Each is of a BGPPeer that has another session now.
        """
        if (ending := tuple(peers)) != self._ending:
            self._ending = ending
            self._place_all()

    def rebuild(self) -> None:
        """Derive everything anew from sessions, profiles and prefixes, after an update that failed half-way.

        Give it the difference that failed once more: of its prefixes one may be missing.
        """
        self._in_use = Counter(self._prefixes.values())
        self._networks.clear()
        self._targets.clear()
        self._lines = None
        self._place(self._prefixes)

    def set_graceful_shutdown(self, enabled: bool) -> None:
        """Mark all routes for the time before this node leaves (RFC 8326)."""
        if self._graceful_shutdown != enabled:
            self._graceful_shutdown = enabled
            self._lines = None

    def take_touched(self) -> set[NetworkKey]:
        """Return the networks that may be others than at the last call."""
        touched, self._touched = self._touched, set()
        return touched

    def config(self, present: Config) -> Config:
        """Return the configuration, its numbers taken from `present`.

        It is the rendering's own: read it before the next `update`, and change nothing in it.
        """
        if self._lines is None or self._numbered_from is not present:
            self._lines, self._numbered_from = self._all_lines(present), present
        return Config(self._lines, self._networks)

    def _all_lines(self, present: Config) -> dict[Key, Line]:
        sessions = self._running
        classes = {
            class_name(each): each
            for each in self._in_use
            if any(each.for_peer(name) is not None for name in self._sessions)
        }
        numbered = numbers(present, map(mark_of, classes))
        lines = {**GLOBAL_LINES, **profile_lines(self._profiles.values())}
        if sessions:
            lines |= DENY_IN_LINES
        marks: dict[int, RouteClass] = {}
        for name, route_class in classes.items():
            number = numbered[mark_of(name)]
            lines |= class_lines(name, route_class, number)
            marks[number] = split(route_class)[1]
        for peer in sessions:
            lines |= out_lines(peer, marks)
        return lines | session_lines(sessions, graceful_shutdown=self._graceful_shutdown)

    @property
    def _running(self) -> list[Peer]:
        """All sessions; where they share a router, it is as those want it that do not end."""
        return [*self._ending, *self._sessions.values()]

    def _place_all(self, also: Iterable[Prefix] = ()) -> None:
        """Put all prefixes into the routers that there are now."""
        self._lines = None
        self._targets.clear()
        vrfs = {peer.vrf for peer in self._running}
        for key in [key for key in self._networks if key[0] not in vrfs]:
            self._set_network(key, None)
        self._place({*self._prefixes, *also})

    def _place(self, prefixes: Iterable[Prefix]) -> None:
        """Put prefixes into the routers that have a session which they reach."""
        vrfs = {peer.vrf for peer in self._running}
        for prefix in prefixes:
            route_class = self._prefixes.get(prefix)
            reached = self._reached(route_class, prefix.family) if route_class is not None else {}
            for vrf in vrfs:
                self._set_network((vrf, prefix), reached.get(vrf))

    def _set_network(self, key: NetworkKey, name: str | None) -> None:
        if self._networks.get(key) == name:
            return
        if name is None:
            del self._networks[key]
        else:
            self._networks[key] = name
        self._touched.add(key)

    def _reached(self, route_class: RouteClass, family: Family) -> Mapping[str, str]:
        """Return the class's name for each VRF with a session that gets such prefixes."""
        known = self._targets.get((route_class, family))
        if known is None:
            name = class_name(route_class)
            known = self._targets[route_class, family] = {
                peer.vrf: name
                for peer in self._running
                if family in peer.families and route_class.for_peer(peer.name) is not None
            }
        return known
