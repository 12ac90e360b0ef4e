"""Keeps the candidates that are alive in step with the speakers and their interfaces, class by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator

from allocator.core.addresses import Address, Family
from speaker.election.candidates import Candidates, CandidateSet
from speaker.election.elected_group import ElectedGroup
from speaker.election.inputs import Inputs
from speaker.election.live_candidates import LiveCandidates
from speaker.membership.link import Link, Subnet

Signature = tuple[tuple[Family, tuple[Subnet, ...]], ...]
"""For each address of a group its family, and the subnets of interfaces, of any node, that it lies in: all that the
reach of a node depends on."""


class Electorate:
    """One LiveCandidates for all groups with the same CandidateSet and Signature. Owned by the holder.

    What changes is only marked as stale; `refresh` looks at it, as far as there is time.
    """

    def __init__(self, node: str, *, by_subnet: bool) -> None:
        """`by_subnet` ranks nodes without an interface in an address's subnet behind those that have one."""
        self._node = node
        self._by_subnet = by_subnet
        self._live: dict[CandidateSet, dict[Signature, LiveCandidates]] = {}
        self._unconfined: dict[LiveCandidates, None] = {}
        self._confined_to: dict[str, dict[LiveCandidates, None]] = {}
        self._stale: dict[LiveCandidates, set[str] | None] = {}
        self._with_lesser: dict[LiveCandidates, None] = {}
        self._unready: dict[LiveCandidates, None] = {}
        self._links: dict[str, tuple[Link, ...]] = {}
        self._subnets: dict[str, tuple[Subnet, ...]] = {}
        self._known: Counter[Subnet] = Counter()
        self._lengths: Counter[tuple[Family, int]] = Counter()
        self._alive: frozenset[str] = frozenset()
        self._by_lease: frozenset[str] = frozenset()
        self.outside_changed = False
        """Set when `LiveCandidates.outside` is another somewhere; for its owner to clear."""

    @property
    def alive(self) -> frozenset[str]:
        """All that may take an address."""
        return self._alive

    @property
    def unready(self) -> bool:
        """Whether this node is a candidate somewhere, and not Ready."""
        return bool(self._unready)

    def join(self, group: Candidates) -> LiveCandidates:
        """Return the candidates of a group; `leave` them when it is no more."""
        signature = tuple(self._signature(address) for address in group.addresses)
        by_signature = self._live.setdefault(group.eligible, {})
        live = by_signature.get(signature)
        if live is None:
            live = LiveCandidates(group.eligible, group.addresses, signature, node=self._node)
            by_signature[signature] = live
            self._stale[live] = None
            confined = group.eligible.confined_to
            if confined is None:
                self._unconfined[live] = None
            for node in confined or ():
                self._confined_to.setdefault(node, {})[live] = None
        live.groups += 1
        return live

    def leave(self, live: LiveCandidates) -> None:
        """One group less has these candidates."""
        live.groups -= 1
        if live.groups:
            return
        by_signature = self._live[live.eligible]
        del by_signature[live.key]  # type: ignore[arg-type]
        if not by_signature:
            del self._live[live.eligible]
        for index in (self._stale, self._with_lesser, self._unready, self._unconfined):
            index.pop(live, None)
        for node in live.eligible.confined_to or ():
            del self._confined_to[node][live]
            if not self._confined_to[node]:
                del self._confined_to[node]

    def note_eligible(self, eligible: CandidateSet, nodes: Collection[str] | None) -> None:
        """These nodes, or any, are other candidates than before, or none."""
        for live in self._live.get(eligible, {}).values():
            self._mark(live, nodes)

    def follow(self, inputs: Inputs, renewed: Iterable[str]) -> set[Subnet]:
        """Follow who is alive and the interfaces of those whose state is `renewed`; return the subnets that have
        appeared or gone: the addresses in them are to join anew."""
        alive, by_lease = inputs.alive, inputs.by_lease
        changed = (alive ^ self._alive) | (by_lease ^ self._by_lease)
        self._alive, self._by_lease = alive, by_lease
        altered: set[Subnet] = set()
        states = inputs.liveness.states
        links = {node: states[node].links if node in states else None for node in renewed if node != self._node}
        links[self._node] = inputs.links
        for node, now in links.items():
            if now != self._links.get(node):
                changed |= {node}
                self._note_links(node, now)
                altered |= self._note_subnets(node, {each for link in now or () for each in link.subnets})
        leased = {f"Lease of {node}": inputs.subnets_by_lease.get(node, ()) for node in by_lease}
        for source in leased.keys() | {source for source in self._subnets if source.startswith("Lease of ")}:
            if set(leased.get(source, ())) != set(self._subnets.get(source, ())):
                changed |= {source.removeprefix("Lease of ")}
                altered |= self._note_subnets(source, set(leased.get(source, ())))
        for node in changed:
            for live in self._unconfined:
                self._mark(live, (node,))
            for live in self._confined_to.get(node, ()):
                self._mark(live, (node,))
        return altered

    def refresh(self, inputs: Inputs, may_go_on: Callable[[], bool]) -> Iterator[ElectedGroup]:
        """Look again at what is stale, and yield the groups that are to be decided about for that."""
        while self._stale and may_go_on():
            live = next(iter(self._stale))
            nodes = self._stale.pop(live)
            outside = live.outside
            own = live.refresh(nodes, inputs, self._alive, by_subnet=self._by_subnet)
            self.outside_changed |= live.outside != outside
            _keep(self._with_lesser, live, bool(live.lesser))
            _keep(self._unready, live, live.own is not None and live.own.handicap > 0)
            yield from list(live.woken(nodes, own=own))

    @property
    def stale(self) -> bool:
        """Whether `refresh` has work left."""
        return bool(self._stale)

    def with_lesser(self) -> Iterable[LiveCandidates]:
        """Those in which this node has less against it than some candidate, or is preferred to it."""
        return self._with_lesser

    def _mark(self, live: LiveCandidates, nodes: Collection[str] | None) -> None:
        known = self._stale.get(live, _UNMARKED)
        if nodes is None or known is None:
            self._stale[live] = None
        elif known is _UNMARKED:
            self._stale[live] = set(nodes)
        else:
            known.update(nodes)

    def _note_links(self, node: str, links: tuple[Link, ...] | None) -> None:
        if links is None:
            self._links.pop(node, None)
        else:
            self._links[node] = links

    def _note_subnets(self, source: str, subnets: set[Subnet]) -> set[Subnet]:
        """Count the subnets of a source; return those known now for the first time, or no more."""
        before = set(self._subnets.get(source, ()))
        altered = set()
        for subnet in subnets - before:
            self._known[subnet] += 1
            if self._known[subnet] == 1:
                self._lengths[subnet.family, subnet.length] += 1
                altered.add(subnet)
        for subnet in before - subnets:
            self._known[subnet] -= 1
            if not self._known[subnet]:
                del self._known[subnet]
                self._lengths[subnet.family, subnet.length] -= 1
                altered.add(subnet)
        if subnets:
            self._subnets[source] = tuple(subnets)
        else:
            self._subnets.pop(source, None)
        return altered

    def _signature(self, address: Address) -> tuple[Family, tuple[Subnet, ...]]:
        found = []
        for (family, length), count in self._lengths.items():
            if count and family == address.family:
                host_bits = address.family.bits - length
                subnet = Subnet(address.family, address.value >> host_bits << host_bits, length)
                if subnet in self._known:
                    found.append(subnet)
        return address.family, tuple(sorted(found))


_UNMARKED: set[str] = set()


def _keep(index: dict[LiveCandidates, None], live: LiveCandidates, wanted: bool) -> None:
    if wanted:
        index[live] = None
    else:
        index.pop(live, None)
