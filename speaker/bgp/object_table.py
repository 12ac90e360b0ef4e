"""The objects for BGP as last seen, and what of them goes into the desired state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from allocator.bgp.desired import DesiredState
from allocator.bgp.frr_config import Config
from allocator.bgp.inputs import Advertisement, BFDProfile, Password
from allocator.bgp.kept_routes import KeptRoutes, unaccounted
from allocator.bgp.object_values import peer_value
from allocator.bgp.running_values import neighbors, passwords, peer_of, profile_of, routes_of
from allocator.core.selectors import matches_any
from allocator.objects.bgp_community import CommunityValue
from allocator.objects.names import BFD_PROFILES, BGP_ADVERTISEMENTS, BGP_PEERS, COMMUNITIES, IP_ADDRESS_POOLS
from speaker.bgp.observed import Aliases, Observed, PeerObject, PoolLabels, Unreadable


class ObjectTable:
    """Keeps a desired state in step with the objects and the passwords. Belongs to one thread; does no I/O.

    An object that cannot be read counts as it last could. One that this process never could read counts as what FRR
    runs of it (`adopt`): a speaker that restarts, or is of a release with stricter rules, changes nothing.

    A session that runs goes on with its password while a Secret that its BGPPeer names anew has none, and as it is
    while that has not been asked for: what a new password comes to is a reset, in this node's turn.
    """

    def __init__(self, state: DesiredState) -> None:
        self._state = state
        self._peers: dict[str, PeerObject] = {}
        self._communities: dict[str, Aliases] = {}
        self._node_labels: Mapping[str, str] = {}
        self._passwords: Mapping[str, Password] = {}
        self._asked: frozenset[str] = frozenset()
        self._running_passwords: Mapping[tuple[str, str], Password] = {}
        self._readable: set[tuple[str, str]] = set()
        """Those that could be read, by plural and name."""
        self._unreadable: dict[tuple[str, str], Unreadable] = {}
        """Those that never could."""

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the Secrets that BGPPeers name which select this node."""
        named = [each.peer for each in self._peers.values() if each.peer.password_secret]
        return frozenset(
            peer.password_secret
            for peer in named
            if not peer.node_selectors or matches_any(peer.node_selectors, self._node_labels)
        )

    def password_problems(self, of_secrets: Mapping[str, str]) -> dict[str, str]:
        """Return what is wrong with the Secret that a BGPPeer names, by the BGPPeer's name, given that by Secret."""
        named = {name: each.peer.password_secret for name, each in self._peers.items()}
        return {
            name: f"Secret {secret}: {of_secrets[secret]}" for name, secret in named.items() if secret in of_secrets
        }

    def set_node_labels(self, labels: Mapping[str, str]) -> None:
        """Take in the labels of this node."""
        if labels == self._node_labels:
            return
        self._node_labels = labels
        for name, each in self._peers.items():
            if each.peer.password_secret and each.peer.password_secret not in self._asked:
                # Where its session ends now, the next one is not to begin without the password.
                self._put_peer(name, as_it_is=False)

    def take(self, seen: Observed) -> None:
        """Take in an object, or that it is gone."""
        name, value = seen.name, seen.value
        key = (seen.plural, name)
        if isinstance(value, Unreadable):
            if key not in self._readable:
                self._unreadable[key] = value
            return
        (self._readable.discard if value is None else self._readable.add)(key)
        healed = self._unreadable.pop(key, None) is not None
        match seen.plural:
            case BGP_PEERS.plural:
                if isinstance(value, PeerObject):
                    self._peers[name] = value
                else:
                    self._peers.pop(name, None)
                self._put_peer(name)
            case BGP_ADVERTISEMENTS.plural:
                self._state.set_advertisement(name, value if isinstance(value, Advertisement) else None)
            case BFD_PROFILES.plural:
                self._state.set_profile(name, value if isinstance(value, BFDProfile) else None)
            case COMMUNITIES.plural:
                if isinstance(value, Aliases):
                    self._communities[name] = value
                else:
                    self._communities.pop(name, None)
                self._state.set_aliases(self._aliases())
            case IP_ADDRESS_POOLS.plural:
                self._state.set_pool(name, value.labels if isinstance(value, PoolLabels) else None)
        if healed and not self._routes_unread:
            self._state.set_kept(KeptRoutes())

    def set_passwords(self, passwords: Mapping[str, Password], asked: frozenset[str]) -> None:
        """Take in the passwords by the name of their Secret; one that was `asked` for and has none is missing."""
        before, self._passwords = self._passwords, dict(passwords)
        differ, self._asked = self._asked ^ asked, asked
        for name, each in self._peers.items():
            secret = each.peer.password_secret
            if secret and (before.get(secret) != passwords.get(secret) or secret in differ):
                self._put_peer(name)

    def adopt_passwords(self, running: Config) -> None:
        """Take in the passwords that FRR has: they count until a Secret has been read.

        Where a Secret was deleted, a speaker that restarts would otherwise end a session that runs.
        """
        self._running_passwords = {**self._running_passwords, **passwords(running)}
        for name, each in self._peers.items():
            if each.peer.password_secret and each.peer.password_secret not in self._passwords:
                self._put_peer(name)

    def adopt(self, running: Config) -> None:
        """Have objects that cannot be read count as what FRR runs of them; once, when all have been seen."""
        for name in self._unread(BFD_PROFILES.plural):
            self._state.set_profile(name, profile_of(running, name))
        for name, neighbor in self._unread_neighbors(running).items():
            seen = self._unreadable[BGP_PEERS.plural, name]
            peer = peer_of(running, neighbor, name=name, created=seen.created, router_id=seen.router_id)
            self._state.set_peer(name, peer)
        sessions = self._state.sessions.running.values()
        self._state.hold(lambda: routes_of(running, sessions))
        if self._routes_unread:
            self._state.set_kept(unaccounted(running, sessions, self._state.prefixes))

    @property
    def _routes_unread(self) -> bool:
        """Whether there may be more advertisements than those that can be read."""
        return bool(self._unread(BGP_ADVERTISEMENTS.plural) or self._unread(COMMUNITIES.plural))

    def _unread(self, plural: str) -> list[str]:
        return sorted(name for kind, name in self._unreadable if kind == plural)

    def _unread_neighbors(self, running: Config) -> dict[str, tuple[str, str]]:
        """Return the neighbour of each BGPPeer that cannot be read; of no more than FRR has and nobody else is."""
        found = {}
        free = neighbors(running) - {(peer.vrf, peer.id) for peer in self._state.peers.values()}
        unread = {name: self._unreadable[BGP_PEERS.plural, name].neighbor for name in self._unread(BGP_PEERS.plural)}
        for name, neighbor in unread.items():
            if neighbor in free:
                found[name] = neighbor
        unknown = (name for name, neighbor in unread.items() if neighbor is None)
        return found | dict(zip(unknown, sorted(free - set(found.values())), strict=False))

    def _put_peer(self, name: str, *, as_it_is: bool = True) -> None:
        """Have the desired state know a BGPPeer; `as_it_is` has its session go on while its Secret is not read."""
        known = self._peers.get(name)
        if known is None:
            self._state.set_peer(name, None)
            return
        value = peer_value(known.peer, created=known.created)
        if secret := known.peer.password_secret:
            runs = self._state.sessions.running.get(name)
            if runs is not None and (runs.vrf, runs.id) != (value.vrf, value.id):
                runs = None
            had = (runs.password if runs is not None else None) or self._running_passwords.get((value.vrf, value.id))
            value = peer_value(known.peer, created=known.created, secret=self._passwords.get(secret) or had)
            if runs is not None and as_it_is and secret not in self._asked:
                value = replace(value, needs_password=False)
        self._state.set_peer(name, value)

    def _aliases(self) -> dict[str, CommunityValue]:
        """Of two Communities that give one name the older counts, as for the webhook and the conditions."""
        merged: dict[str, CommunityValue] = {}
        for _, each in sorted(self._communities.items(), key=lambda item: (item[1].created, item[0])):
            merged = {**each.values, **merged}
        return merged
