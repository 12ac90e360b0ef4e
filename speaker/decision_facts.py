"""The facts that follow from a decision, and which of them have changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from allocator.core.addresses import Address
from allocator.kube.reflector import Key
from speaker.cluster.eligibility import Nobody
from speaker.cluster.scope import EVERYWHERE
from speaker.cluster.service_address import ServiceAddress
from speaker.cluster.state import View
from speaker.election.candidates import Candidates
from speaker.election.holder import HolderState
from speaker.election.inputs import Inputs, claims_of_others
from speaker.status.facts import Announced, Asked, Awaited, Elsewhere, Fact, Subject, Unannounced

_NO_SPEAKER = "no speaker runs on a node that may announce it"
_NO_INTERFACE = "no node that may announce it has an interface for it that is up"


class DecisionFacts:
    """Compares each decision with the one before, as a whole. Owned by the controller's thread."""

    def __init__(self, *, node: str, protocol: str) -> None:
        self._node = node
        self._protocol = protocol
        self._facts: dict[Subject, Fact] = {}

    def changed(
        self, view: View, groups: Iterable[Candidates], inputs: Inputs, state: HolderState
    ) -> dict[Subject, Fact | None]:
        """Return what is to be reported: facts that are other than before, and those of which another node that
        announced the same address may have said otherwise. None is for what a Service does not have any more."""
        heard = claims_of_others(self._node, inputs.liveness).heard
        facts: dict[Subject, Fact] = {}
        for subject, fact in self._found(view, groups, inputs, state, heard):
            facts.setdefault(subject, fact)
        changed: dict[Subject, Fact | None] = {
            subject: fact
            for subject, fact in facts.items()
            if fact != self._facts.get(subject) or subject.address in state.regained
        }
        changed.update(dict.fromkeys(self._facts.keys() - facts.keys()))
        self._facts = facts
        return changed

    def _found(
        self,
        view: View,
        groups: Iterable[Candidates],
        inputs: Inputs,
        state: HolderState,
        heard: Mapping[Address, Iterable[str]],
    ) -> Iterator[tuple[Subject, Fact]]:
        for group in groups:
            for key, address in group.services:
                subject = Subject(self._protocol, key, address)
                fact = self._fact(subject, _uid(view, key), group, inputs, state, heard.get(address, ()))
                if fact is not None:
                    yield subject, fact
        for each in _of_nobody(view):
            if each.nobody is not None and each.address not in heard and each.address not in state.scopes:
                subject = Subject(self._protocol, each.service, each.address)
                yield subject, _unannounced(_uid(view, each.service), each.nobody)

    def _fact(
        self,
        subject: Subject,
        uid: str,
        group: Candidates,
        inputs: Inputs,
        state: HolderState,
        claiming: Iterable[str],
    ) -> Fact | None:
        address = subject.address
        help_ = state.help.get(address)
        if address in state.claims and help_ is None:
            return Announced(uid=uid, interfaces=tuple(sorted(state.scopes[address].interfaces or ())))
        if address in state.probing:
            return Asked(uid=uid)
        holder = help_.node if help_ is not None else next((node for node in claiming if node in group.nodes), None)
        before = self._facts.get(subject)
        if holder is not None:
            if before is None:
                return None
            scope = group.nodes[holder].scopes[address] if holder in group.nodes else EVERYWHERE
            return Elsewhere(uid=uid, node=holder, interfaces=tuple(sorted(scope.interfaces or ())))
        if address in state.unable:
            return Unannounced(uid=uid, reason="NoInterface", message=_NO_INTERFACE, own=True)
        if not any(node in inputs.alive for node in group.nodes):
            return Unannounced(uid=uid, reason="NoSpeaker", message=_NO_SPEAKER)
        return None if before is None else Awaited(uid=uid)


def _of_nobody(view: View) -> Iterator[ServiceAddress]:
    for of_service in view.service_addresses():
        yield from (each for each in of_service if not each.nodes)


def _unannounced(uid: str, nobody: Nobody) -> Unannounced:
    reason = "".join(part.capitalize() for part in nobody.name.split("_"))
    return Unannounced(uid=uid, reason=reason, message=str(nobody))


def _uid(view: View, key: Key) -> str:
    service = view.service(key)
    return "" if service is None else service["metadata"].get("uid") or ""
