"""Who else claims what, by address, kept in step with what the other speakers advertise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from allocator.core.addresses import Address
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import NOTHING, AdvertisedState, Claim
from speaker.persistent_map import changed_keys

_NOBODY: tuple[str, ...] = ()


class ClaimIndex:
    """The claims of every speaker by what each was last heard to advertise, the dead ones included. One owner.

    A claim is heard, rumoured, or of no account, by what its node is. `heard` are nodes whose claims are known as of
    now. `rumoured` are those that only others hear, or that do not hear this node: they keep an address from being
    taken, and nobody yields to them unless somebody heard names them.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self.states: Mapping[str, AdvertisedState] = {}
        self.heard: frozenset[str] = frozenset()
        self.rumoured: frozenset[str] = frozenset()
        self._claimants: dict[Address, tuple[str, ...]] = {}
        self._probers: dict[Address, tuple[str, ...]] = {}
        self._namers: dict[Address, tuple[str, ...]] = {}
        self._mutual: frozenset[str] = frozenset()
        self.confirmed: set[Address] = set()
        """The addresses as whose holder this node was named since the update before."""
        self._alone: dict[str, tuple[str, ...]] = {}

    def update(self, liveness: Liveness) -> tuple[set[Address], set[str]]:
        """Follow what is heard; return the addresses about which anything is new, and the nodes whose state is."""
        touched: set[Address] = set()
        self.confirmed.clear()
        renewed: set[str] = set()
        before, self.states = self.states, liveness.states
        if before is not self.states:
            for node in before.keys() | self.states.keys():
                old, new = before.get(node), self.states.get(node)
                if old is not new and node != self._node:
                    renewed.add(node)
                    touched |= self._follow(node, old or NOTHING, new or NOTHING)
                    if new is None:
                        self._alone.pop(node, None)
        heard = liveness.heard - {self._node}
        rumoured = (liveness.alive | liveness.overheard) - heard - {self._node}
        for node in (heard ^ self.heard) | (rumoured ^ self.rumoured):
            state = self.states.get(node)
            if state is not None:
                touched.update(state.claims, state.probed, state.helped, state.named)
        self.heard, self.rumoured = heard, rumoured
        known = liveness.mutual | {self._node}
        changed, self._mutual = known ^ self._mutual, known
        if changed:
            touched.update(address for address in self._namers if not changed.isdisjoint(self._named_by(address)))
        return touched, renewed

    def last_claims(self, address: Address) -> dict[str, Claim]:
        """Return what each node was last heard to claim of an address, the dead included."""
        return {node: self.states[node].claims[address] for node in self._claimants.get(address, _NOBODY)}

    def claims(self, address: Address) -> dict[str, Claim]:
        """Return the claims heard on an address, by node."""
        claimants = self._claimants.get(address, _NOBODY)
        return {node: self.states[node].claims[address] for node in claimants if node in self.heard}

    def rumours(self, address: Address) -> dict[str, Claim]:
        """Return the claims on an address that are rumoured, by node."""
        claimants = self._claimants.get(address, _NOBODY)
        return {node: self.states[node].claims[address] for node in claimants if node in self.rumoured}

    def probers(self, address: Address) -> list[str]:
        """Return the nodes that are heard to ask the LAN for an address."""
        return [node for node in self._probers.get(address, _NOBODY) if node in self.heard]

    def named(self, address: Address) -> frozenset[str]:
        """Return whom those that are heard name as the holder, of the nodes with which hearing is not mutual."""
        return frozenset(self._named_by(address) - self._mutual) if address in self._namers else frozenset()

    def _named_by(self, address: Address) -> set[str]:
        return {self.states[node].named[address] for node in self._namers[address] if node in self.heard}

    def claimed_by(self, nodes: Iterable[str]) -> Iterable[Address]:
        """Return the addresses that these nodes were last heard to claim."""
        return (address for node in nodes if node in self.states for address in self.states[node].claims)

    def _follow(self, node: str, old: AdvertisedState, new: AdvertisedState) -> set[Address]:
        claims = changed_keys(old.claims, new.claims)
        self._note(self._claimants, node, claims, new.claims)
        probed = old.probed ^ new.probed
        self._note(self._probers, node, probed, new.probed)
        named = changed_keys(old.named, new.named)
        self._note(self._namers, node, named, new.named)
        self.confirmed.update(address for address in named if new.named.get(address) == self._node)
        return claims | probed | named | changed_keys(old.helped, new.helped)

    def _note(
        self,
        index: dict[Address, tuple[str, ...]],
        node: str,
        changed: Iterable[Address],
        current: Mapping[Address, object] | frozenset[Address],
    ) -> None:
        alone = self._alone.setdefault(node, (node,))
        for address in changed:
            known = index.get(address, _NOBODY)
            if address in current:
                if node not in known:
                    index[address] = (*known, node) if known else alone
            elif known == alone:
                del index[address]
            else:
                index[address] = tuple(each for each in known if each != node)
