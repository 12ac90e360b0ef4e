"""The facts that follow from a decision, and which of them have changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from allocator.core.addresses import Address
from allocator.kube.reflector import Key
from allocator.rules.left_out import NO_SUBNET, few_by_reason, in_one_line
from allocator.rules.local_sharing import without_traffic
from speaker.cluster.eligibility import Nobody
from speaker.cluster.eligible_nodes import LeftOut
from speaker.cluster.scope import EVERYWHERE
from speaker.cluster.state import View
from speaker.election.candidates import Candidates
from speaker.election.holder import Holder
from speaker.election.holder_state import HolderState
from speaker.election.inputs import Inputs
from speaker.status.facts import Announced, Asked, Awaited, Elsewhere, Fact, Subject, Unannounced

_NO_SPEAKER = "no speaker runs on a node that may announce it"
_REFUSED = "the kernel of the only node that could announce it refuses what that needs; its Node has an Event"
_NO_INTERFACE = "no node that may announce it has an interface for it that is up"


class DecisionFacts:
    """Remembers what followed from decisions so far, address by address. Owned by the controller's thread."""

    def __init__(
        self, *, node: str, protocol: str, view: View, holder: Holder, announced_otherwise: bool = False
    ) -> None:
        """`announced_otherwise`: what no advertisement of this protocol covers, another protocol may announce."""
        self._node = node
        self._protocol = protocol
        self._view = view
        self._holder = holder
        self._announced_otherwise = announced_otherwise
        self._facts: dict[Address, dict[Key, Fact]] = {}

    def changed(self, addresses: Iterable[Address], inputs: Inputs, state: HolderState) -> dict[Subject, Fact | None]:
        """Return what is to be reported of these addresses: facts that are other than before, and those of which
        another node that announced the same address may have said otherwise. None is for what a Service
        does not have any more."""
        changed: dict[Subject, Fact | None] = {}
        for address in addresses:
            before = self._facts.get(address, {})
            facts: dict[Key, Fact] = {}
            for key, fact in self._found(address, before, inputs, state):
                facts.setdefault(key, fact)
            for key, fact in facts.items():
                if fact != before.get(key) or address in state.regained:
                    changed[Subject(self._protocol, key, address)] = fact
            for key in before.keys() - facts.keys():
                changed[Subject(self._protocol, key, address)] = None
            if facts:
                self._facts[address] = facts
            else:
                self._facts.pop(address, None)
        return changed

    def _found(
        self, address: Address, before: dict[Key, Fact], inputs: Inputs, state: HolderState
    ) -> Iterator[tuple[Key, Fact]]:
        group = self._holder.group_of(address)
        unserved = self._without_traffic(address) if address in state.claims else frozenset()
        for key, its in group.services if group is not None else ():
            if its == address and group is not None:
                fact = self._fact(address, key, before.get(key), group, inputs, state)
                if isinstance(fact, Announced) and key in unserved:
                    fact = replace(fact, traffic=False)
                if fact is not None:
                    yield key, fact
        if self._holder.claimants(address) or address in state.scopes:
            return
        for key in self._view.users_of(address):
            for each in self._view.addresses_of(key):
                if each.nobody is Nobody.NO_ADVERTISEMENT and self._announced_otherwise:
                    continue
                if each.address == address and each.nobody is not None:
                    left_out = self._view.left_out(key, address)
                    yield key, _unannounced(self._view.uid_of(key), each.nobody, left_out)

    def _left_out(self, key: Key, address: Address) -> LeftOut:
        """The nodes that may not announce it, and those that come after others however much speaks for them."""
        outside = self._holder.outside(address)
        left_out = self._view.left_out(key, address)
        return (*left_out, *few_by_reason(dict.fromkeys(outside, NO_SUBNET))) if outside else left_out

    def _without_traffic(self, address: Address) -> frozenset[Key]:
        """The Services that share the address and get no traffic while this node announces it."""
        users = self._view.users_of(address)
        if len(users) < 2:
            return frozenset()
        every = ((key, each) for key in users for each in self._view.addresses_of(key))
        return without_traffic(((key, each.nodes) for key, each in every if each.address == address), self._node)

    def _fact(
        self,
        address: Address,
        key: Key,
        before: Fact | None,
        group: Candidates,
        inputs: Inputs,
        state: HolderState,
    ) -> Fact | None:
        uid = self._view.uid_of(key)
        help_ = state.help.get(address)
        if address in state.claims and help_ is None:
            return Announced(
                uid=uid,
                interfaces=tuple(sorted(state.scopes[address].interfaces or ())),
                left_out=self._left_out(key, address),
            )
        if address in state.probing:
            return Asked(uid=uid)
        claimants = self._holder.claimants(address)
        holder = help_.node if help_ is not None else next((one for one in claimants if one in group.eligible), None)
        if holder is not None:
            if before is None:
                return None
            candidate = group.eligible.get(holder)
            scope = EVERYWHERE if candidate is None else candidate.scopes[group.addresses.index(address)]
            return Elsewhere(uid=uid, node=holder, interfaces=tuple(sorted(scope.interfaces or ())))
        if address in state.unable and address in inputs.refused:
            return Unannounced(uid=uid, reason="Refused", message=_REFUSED, own=True)
        if address in state.unable:
            return Unannounced(uid=uid, reason="NoInterface", message=_NO_INTERFACE, own=True)
        if inputs.alive.isdisjoint(group.eligible.names()):
            return Unannounced(uid=uid, reason="NoSpeaker", message=_NO_SPEAKER)
        return None if before is None else Awaited(uid=uid)


def _unannounced(uid: str, nobody: Nobody, left_out: LeftOut) -> Unannounced:
    reason = "".join(part.capitalize() for part in nobody.name.split("_"))
    message = f"{nobody}: {in_one_line(left_out)}" if left_out else str(nobody)
    return Unannounced(uid=uid, reason=reason, message=message)
