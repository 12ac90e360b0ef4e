"""The objects for BGP as last seen, and what of them goes into the desired state."""

from __future__ import annotations

from collections.abc import Mapping

from allocator.bgp.desired import DesiredState
from allocator.bgp.inputs import Advertisement, BFDProfile, Password
from allocator.bgp.object_values import peer_value
from allocator.objects.bgp_community import CommunityValue
from allocator.objects.names import BFD_PROFILES, BGP_ADVERTISEMENTS, BGP_PEERS, COMMUNITIES, IP_ADDRESS_POOLS
from speaker.bgp.observed import Aliases, Observed, PeerObject, PoolLabels


class ObjectTable:
    """Keeps a desired state in step with the objects and the passwords. Belongs to one thread; does no I/O."""

    def __init__(self, state: DesiredState) -> None:
        self._state = state
        self._peers: dict[str, PeerObject] = {}
        self._communities: dict[str, Aliases] = {}
        self._passwords: Mapping[str, Password] = {}
        self._adopted: Mapping[tuple[str, str], Password] = {}

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the Secrets that BGPPeers name."""
        return frozenset(each.peer.password_secret for each in self._peers.values() if each.peer.password_secret)

    def take(self, seen: Observed) -> None:
        """Take in an object, or that it is gone."""
        name, value = seen.name, seen.value
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

    def set_passwords(self, passwords: Mapping[str, Password]) -> None:
        """Take in the passwords by the name of their Secret; those are missing that nobody could read."""
        before, self._passwords = self._passwords, dict(passwords)
        for name, each in self._peers.items():
            secret = each.peer.password_secret
            if secret and before.get(secret) != passwords.get(secret):
                self._put_peer(name)

    def adopt_passwords(self, passwords: Mapping[tuple[str, str], Password]) -> None:
        """Take in the passwords that FRR has, by VRF and neighbour: they count until a Secret has been read.

        Where a Secret was deleted, a speaker that restarts would otherwise end a session that runs.
        """
        self._adopted = {**self._adopted, **passwords}
        for name, each in self._peers.items():
            if each.peer.password_secret and each.peer.password_secret not in self._passwords:
                self._put_peer(name)

    def _put_peer(self, name: str) -> None:
        known = self._peers.get(name)
        if known is None:
            self._state.set_peer(name, None)
            return
        value = peer_value(known.peer, created=known.created)
        if known.peer.password_secret:
            secret = self._passwords.get(known.peer.password_secret) or self._adopted.get((value.vrf, value.id))
            value = peer_value(known.peer, created=known.created, secret=secret)
        self._state.set_peer(name, value)

    def _aliases(self) -> dict[str, CommunityValue]:
        """Of two Communities that give one name the older counts, as for the webhook and the conditions."""
        merged: dict[str, CommunityValue] = {}
        for _, each in sorted(self._communities.items(), key=lambda item: (item[1].created, item[0])):
            merged = {**each.values, **merged}
        return merged
