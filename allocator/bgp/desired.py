"""What this node is to announce: sessions, BFD profiles and prefixes, kept up to date change by change.

`desired(inputs)` says what a state of the cluster comes to. `DesiredState` says the same of the sum of all changes
it was given, and recomputes only what each of them touches.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

from allocator.bgp.address_groups import AddressGroups
from allocator.bgp.announced_prefixes import AnnouncedPrefixes
from allocator.bgp.eligibility import Readable, Reason, endpoint_reason, node_reason, readable
from allocator.bgp.inputs import Advertisement, BFDProfile, Inputs, LocalNode, Peer, Service
from allocator.bgp.kept_routes import KeptRoutes
from allocator.bgp.route_class import Attributes, Prefix, RouteClass, prefix_of
from allocator.bgp.sessions import Sessions, sessions
from allocator.core.addresses import Address
from allocator.objects.bgp_community import CommunityValue

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Announcement:
    """One address of a Service here: its prefixes with the advertisements of each, or why there are none."""

    prefixes: Mapping[Prefix, tuple[str, ...]] = field(default_factory=dict)
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Desired:
    """All that FRR is to do on a node."""

    sessions: Mapping[str, Peer] = field(default_factory=dict)
    profiles: Mapping[str, BFDProfile] = field(default_factory=dict)
    prefixes: Mapping[Prefix, RouteClass] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """What became different: None is unchanged; a prefix of None is gone."""

    sessions: Mapping[str, Peer] | None = None
    profiles: Mapping[str, BFDProfile] | None = None
    prefixes: Mapping[Prefix, RouteClass | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.sessions is not None or self.profiles is not None or bool(self.prefixes)


def desired(inputs: Inputs) -> Desired:
    """Return what a state of the cluster comes to on its node."""
    return desired_state(inputs).desired


def desired_state(inputs: Inputs) -> DesiredState:
    """Return the same, and how it came to it."""
    state = DesiredState(inputs.node)
    for pool, labels in inputs.pools.items():
        state.set_pool(pool, labels)
    state.set_aliases(inputs.aliases)
    for name, advertisement in inputs.advertisements.items():
        state.set_advertisement(name, advertisement)
    for name, peer in inputs.peers.items():
        state.set_peer(name, peer)
    for name, profile in inputs.profiles.items():
        state.set_profile(name, profile)
    for key, service in inputs.services.items():
        state.set_service(key, service)
    return state


@dataclass(frozen=True, slots=True)
class _Choice:
    """What is announced of an address, whichever it is: one value for most of them."""

    lengths: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """The length of each prefix, and the advertisements that it is of."""
    reason: Reason | None = None
    detail: str = ""

    def prefixes(self, address: Address) -> dict[Prefix, tuple[str, ...]]:
        """Return the prefixes of an address, with the advertisements of each."""
        return {prefix_of(address, length): names for length, names in self.lengths}


_NOTHING = _Choice()


class DesiredState:
    """The desired state of one node. Belongs to one thread; does no I/O."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node
        self._peers: dict[str, Peer] = {}
        self._peers_in_use: frozenset[str] = frozenset()
        self._router_ids: Mapping[str, str] = {}
        self._kept = KeptRoutes()
        self._profiles: dict[str, BFDProfile] = {}
        self._pools: dict[str, Mapping[str, str]] = {}
        self._aliases: Mapping[str, CommunityValue] = {}
        self._advertisements: dict[str, Advertisement] = {}
        self._services: dict[str, Service] = {}
        self._here: dict[str, Readable] = {}
        self._groups = AddressGroups(self._here, self._pools)
        self._choices: dict[str, tuple[tuple[Address, _Choice], ...]] = {}
        self._prefixes = AnnouncedPrefixes()
        self._sessions = Sessions({}, {})
        self._sessions_changed = False
        self._profiles_changed = False
        self._services_changed: set[str] = set()

    @property
    def desired(self) -> Desired:
        """All that FRR is to do now; a copy."""
        return Desired(dict(self._sessions.running), dict(self._profiles), dict(self._prefixes.announced))

    @property
    def sessions(self) -> Sessions:
        """The peers with a session here, and why others have none."""
        return self._sessions

    @property
    def profiles(self) -> Mapping[str, BFDProfile]:
        """The BFD profiles; a copy."""
        return dict(self._profiles)

    @property
    def prefix_count(self) -> int:
        """How many prefixes are announced."""
        return len(self._prefixes.announced)

    @property
    def wanted(self) -> dict[str, int]:
        """How many prefixes each session is to carry; costs as much as there are classes, not prefixes."""
        totals = self._prefixes.totals
        return {
            name: sum(
                count
                for (family, route_class), count in totals.items()
                if family in peer.families and route_class.for_peer(name) is not None
            )
            for name, peer in self._sessions.running.items()
        }

    def take_difference(self) -> Difference:
        """Return what became different since the last call."""
        difference = Difference(
            dict(self._sessions.running) if self._sessions_changed else None,
            dict(self._profiles) if self._profiles_changed else None,
            self._prefixes.take_changed(),
        )
        self._sessions_changed = self._profiles_changed = False
        return difference

    @property
    def prefixes(self) -> Mapping[Prefix, RouteClass]:
        """The prefixes that are announced now; read them before the next change."""
        return self._prefixes.announced

    def take_services_changed(self) -> frozenset[str]:
        """Return the Services of which something else may be said than at the last call, sessions apart.

        That is what `announcements` says, and `peers_of` where the sessions are the same.
        """
        if self._prefixes.take_held_back_changed():
            # Who else is in such a prefix is kept nowhere, as hardly any cluster has one.
            self._services_changed |= self._services.keys()
        changed, self._services_changed = frozenset(self._services_changed), set()
        return changed

    @property
    def peers(self) -> Mapping[str, Peer]:
        """The BGPPeers that are known, with a session here or without."""
        return self._peers

    @property
    def services(self) -> Collection[str]:
        """The Services that are known."""
        return self._services.keys()

    def announcements(self, service: str) -> Mapping[Address, Announcement]:
        """Return what is announced of each address of a Service, or why it is not."""
        return {address: self._judged(address, choice) for address, choice in self._choices.get(service, ())}

    def peers_of(self, service: str) -> frozenset[str]:
        """Return the peers that a Service is configured to be announced to, by its own advertisements."""
        return frozenset(
            name
            for announcement in self.announcements(service).values()
            for prefix, names in announcement.prefixes.items()
            for name in self._sessions.running
            if self.told(prefix, names, name) is not None
        )

    def told(self, prefix: Prefix, names: Iterable[str], peer: str) -> Attributes | None:
        """Return what a peer with a session gets with a prefix, if any advertisement of these names is for it."""
        announced = self._prefixes.announced.get(prefix)
        told = announced.for_peer(peer) if announced is not None else None
        if told is None or prefix.family not in self._sessions.running[peer].families:
            return None
        return told if self._prefixes.reaches(names, peer) else None

    def waiting_for(self, service: str, address: Address, peer: str) -> set[str]:
        """Return the advertisements for a peer of an address's prefixes that wait for a community."""
        choice = dict(self._choices.get(service, ())).get(address, _NOTHING)
        return {name for prefix in choice.prefixes(address) for name in self._prefixes.waiting_for(prefix, peer)}

    def set_node(self, node: LocalNode) -> None:
        """Take in the node: its labels choose sessions and advertisements, its conditions whether it announces."""
        before, self._node = self._node, node
        if (before.labels, before.ipv4) != (node.labels, node.ipv4):
            self._choose_sessions()
        if before.labels != node.labels:
            self._cover(self._advertisements)
        if before != node:
            self._announce(self._services)

    def set_peer(self, name: str, peer: Peer | None) -> None:
        """Take in a BGPPeer, or that it is gone."""
        if _put(self._peers, name, peer):
            self._choose_sessions()

    def set_peers_in_use(self, names: frozenset[str]) -> None:
        """Take in the peers to which another program of this node has a session."""
        if names != self._peers_in_use:
            self._peers_in_use = names
            self._choose_sessions()

    def set_router_ids(self, ids: Mapping[str, str]) -> None:
        """Take in the router IDs, by VRF, that count before the node's own where no BGPPeer sets one."""
        if ids != self._router_ids:
            self._router_ids = ids
            self._choose_sessions()

    def set_kept(self, kept: KeptRoutes) -> None:
        """Take in prefixes that go on as they are in place of advertisements that cannot be read."""
        changed = self._kept.contributions.keys() | kept.contributions.keys()
        self._kept = kept
        touched = self._contribute(changed)
        self._announce(self._services if changed else (), touched)

    def hold(self, running: Callable[[], Mapping[Prefix, RouteClass]]) -> None:
        """Have prefixes that wait for a community stay as FRR runs them."""
        if self._prefixes.waits:
            self._prefixes.hold(running())

    def set_profile(self, name: str, profile: BFDProfile | None) -> None:
        """Take in a BFDProfile, or that it is gone."""
        self._profiles_changed |= _put(self._profiles, name, profile)

    def set_pool(self, name: str, labels: Mapping[str, str] | None) -> None:
        """Take in the labels of an IPAddressPool, or that it is gone."""
        if _put(self._pools, name, labels):
            self._announce(self._groups.reselect(lambda group: name in group[1]))

    def set_aliases(self, aliases: Mapping[str, CommunityValue]) -> None:
        """Take in the aliases of all Community objects."""
        before, self._aliases = self._aliases, dict(aliases)
        differ = {alias for alias in before.keys() | aliases.keys() if before.get(alias) != aliases.get(alias)}
        self._cover(name for name, each in self._advertisements.items() if not differ.isdisjoint(each.communities))

    def set_advertisement(self, name: str, advertisement: Advertisement | None) -> None:
        """Take in a BGPAdvertisement, or that it is gone."""
        if _put(self._advertisements, name, advertisement):
            self._cover([name])

    def set_service(self, key: str, service: Service | None) -> None:
        """Take in a Service (`namespace/name`) and its endpoints, or that it is gone."""
        before = self._services.get(key)
        if not _put(self._services, key, service):
            return
        if before is not None and (service is None or _place(service) != _place(before)):
            self._groups.leave(key, before)
        self._announce([key])

    def _choose_sessions(self) -> None:
        before, self._sessions = (
            self._sessions,
            sessions(self._peers.values(), self._node, in_use=self._peers_in_use, router_ids=self._router_ids),
        )
        self._sessions_changed |= before.running != self._sessions.running

    def _cover(self, names: Iterable[str]) -> None:
        """Look at advertisements again, of which each may be new, changed or gone, here or altogether."""
        changed: set[str] = set()
        reselect = False
        for name in list(names):
            before, now = self._here.get(name), None
            advertisement = self._advertisements.get(name)
            if advertisement is not None and advertisement.covers_node(self._node.labels):
                now = readable(advertisement, self._aliases)
            if _put(self._here, name, now):
                changed.add(name)
                reselect |= _selects_differently(before, now)
        if not changed:
            return
        touched = self._contribute(changed)
        self._services_changed |= self._groups.announced_by(changed)
        if self._groups.regroup():
            self._announce(self._services, touched)
        else:
            self._announce(self._groups.reselect() if reselect else (), touched)

    def _contribute(self, changed: AbstractSet[str]) -> set[Prefix]:
        own = {name: each.contribution for name, each in self._here.items()}
        return self._prefixes.set_contributions(own | self._kept.contributions, changed)

    def _announce(self, keys: Iterable[str], touched: AbstractSet[Prefix] = frozenset()) -> None:
        """Decide about Services anew, and settle what else was touched with what they touch: each prefix once."""
        moved: set[Prefix] = set()
        node = node_reason(self._node)
        for key in keys:
            before = self._choices.pop(key, ())
            service = self._services.get(key)
            now = self._choices_for(key, service, node) if service is not None else ()
            if now:
                self._choices[key] = now
            if now == before:
                continue
            self._services_changed.add(key)
            old, new = dict(before), dict(now)
            for address in old.keys() | new.keys():
                was, will = (each.get(address, _NOTHING).prefixes(address) for each in (old, new))
                if was != will:
                    moved |= self._prefixes.contribute(was, will)
        self._prefixes.settle(moved, touched)

    def _choices_for(self, key: str, service: Service, node: Reason | None) -> tuple[tuple[Address, _Choice], ...]:
        choices = []
        for address, pools in service.addresses.items():
            chosen = self._groups.join(key, address, pools, service)
            kept = self._kept.of(address)
            if reason := (None if kept else chosen.reason) or node or endpoint_reason(service, self._node):
                choices.append((address, _refusal(reason, chosen.detail)))
            else:
                choices.append((address, _choice((*chosen.advertisements, *kept))))
        return tuple(choices)

    def _judged(self, address: Address, choice: _Choice) -> Announcement:
        """Return what is announced of an address, or why none of its prefixes can be."""
        prefixes = choice.prefixes(address)
        if not prefixes or any(prefix in self._prefixes.announced for prefix in prefixes):
            return Announcement(prefixes, choice.reason, choice.detail)
        for prefix in prefixes:
            if waiting := self._prefixes.waiting_for(prefix):
                return Announcement(reason=Reason.UNKNOWN_COMMUNITY, detail=", ".join(waiting))
        return Announcement(reason=Reason.TOO_MANY_COMMUNITIES, detail=str(next(iter(prefixes))))


@lru_cache(maxsize=4096)
def _choice(advertisements: tuple[tuple[str, int], ...]) -> _Choice:
    """Return what announces an address by these advertisements, each with the length of its prefix."""
    lengths: dict[int, tuple[str, ...]] = {}
    for name, length in advertisements:
        lengths[length] = (*lengths.get(length, ()), name)
    return _Choice(tuple(lengths.items()))


@lru_cache(maxsize=4096)
def _refusal(reason: Reason, detail: str) -> _Choice:
    return _Choice(reason=reason, detail=detail)


def _selects_differently(before: Readable | None, now: Readable | None) -> bool:
    """Return whether a change of an advertisement may select other addresses, or give them other prefixes."""
    if before is None or now is None or before.waits != now.waits:
        return True
    one, other = before.advertisement, now.advertisement
    return (
        one.pools != other.pools
        or one.service_selectors != other.service_selectors
        or one.aggregation_v4 != other.aggregation_v4
        or one.aggregation_v6 != other.aggregation_v6
        or (one.local_pref or 0) != (other.local_pref or 0)
        or one.peers != other.peers
    )


def _place(service: Service) -> tuple[object, ...]:
    """What chooses the groups of a Service's addresses."""
    return service.labels, service.addresses


def _put(table: dict[Key, Value], key: Key, value: Value | None) -> bool:
    """Set or delete an entry; return whether that changed anything."""
    if value is None:
        return table.pop(key, None) is not None
    if table.get(key) == value:
        return False
    table[key] = value
    return True
