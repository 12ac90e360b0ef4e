"""The candidates that are alive and can answer, once for all groups that have the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from allocator.core.addresses import Address
from speaker.cluster.eligibility import NOT_READY_HANDICAP
from speaker.cluster.scope import Scope
from speaker.election.candidates import Candidate, CandidateSet
from speaker.election.inputs import Inputs
from speaker.election.reach import Reach, reach
from speaker.membership.state_sync import NOTHING

if TYPE_CHECKING:
    from speaker.election.elected_group import ElectedGroup

NO_SUBNET_HANDICAP = 2 * NOT_READY_HANDICAP
LOST_LINK_HANDICAP = 2 * NO_SUBNET_HANDICAP
"""Each is worse than all before it together: what a node without the link would answer, the clients may not hear."""
NO_CANDIDATE = 2 * LOST_LINK_HANDICAP

Merit = tuple[int, int]
"""All that speaks against a candidate, and its weight as a negative: the least comes first."""


class LiveCandidates:
    """The candidates of groups that share a CandidateSet and whose addresses lie in the same subnets. One owner.

    `order` has the merit of each that is alive and can answer; of equal merit, the rank decides, which differs from
    group to group. `lesser` are those that this node has less against it than, or is preferred to. `settled` are the
    groups about which there is nothing to decide as long as neither their claims nor their holder's merit change, by
    that holder (None: nobody can answer). `outside` are those that come after others for want of an interface in
    the addresses' subnets, ascending; the dead as when they were last alive. `unlinked` are the groups for which this
    node was last seen to have no link: when it has one again is theirs to remember.
    """

    __slots__ = (
        "_outside",
        "addresses",
        "eligible",
        "groups",
        "key",
        "lesser",
        "me",
        "node",
        "order",
        "outside",
        "own",
        "settled",
        "unlinked",
    )

    def __init__(self, eligible: CandidateSet, addresses: tuple[Address, ...], key: object, *, node: str) -> None:
        """`addresses` are those of any of the groups, in whose subnets those of all others lie, too."""
        self.eligible = eligible
        self.addresses = addresses
        self.key = key
        self.node = node
        self.order: dict[str, Merit] = {}
        self.lesser: set[str] = set()
        self.own: Candidate | None = None
        self.me: Merit | None = None
        self.settled: dict[str | None, dict[ElectedGroup, None]] = {}
        self.unlinked: dict[ElectedGroup, None] = {}
        self.groups = 0
        self.outside: tuple[str, ...] = ()
        self._outside: set[str] = set()

    def refresh(
        self, nodes: Collection[str] | None, inputs: Inputs, alive: frozenset[str], *, by_subnet: bool
    ) -> bool:
        """Look at these nodes, or at all, again; return whether this node's own candidate is another.

        Wakes nobody: `woken` says which groups are to be decided about anew.
        """
        if nodes is None:
            nodes = self.order.keys() | set(self.eligible.names()) | self._outside
        for node in nodes:
            merit = self._merit(node, inputs, by_subnet=by_subnet) if node in alive else None
            if merit is None:
                self.order.pop(node, None)
            else:
                self.order[node] = merit
        self._note_outside(nodes)
        before = (self.own, self.me)
        self.own, self.me = self.eligible.get(self.node), self.order.get(self.node)
        changed = before != (self.own, self.me)
        if changed:
            self.lesser = {node for node in self.order if self._is_lesser(node)}
        else:
            for node in nodes:
                (self.lesser.add if self._is_lesser(node) else self.lesser.discard)(node)
        return changed

    def _note_outside(self, nodes: Iterable[str]) -> None:
        for node in nodes:
            merit = self.order.get(node)
            if merit is not None and merit[0] & NO_SUBNET_HANDICAP:
                self._outside.add(node)
            elif merit is not None or node not in self.eligible:
                self._outside.discard(node)
        inside = bool(self._outside) and any(not merit[0] & NO_SUBNET_HANDICAP for merit in self.order.values())
        self.outside = tuple(sorted(self._outside)) if inside else ()

    def woken(self, nodes: Iterable[str] | None, *, own: bool) -> Iterable[ElectedGroup]:
        """Return the groups that a `refresh` of these nodes may concern, unsettled ones apart."""
        holders = set(self.settled) if nodes is None else {None, *nodes}
        if own:
            holders |= {self.node, *self.lesser}
            yield from self.unlinked
        for holder in holders:
            groups = self.settled.get(holder)
            if groups and (holder is None or holder == self.node or self._gives_way(holder)):
                yield from groups

    def note_link(self, group: ElectedGroup, *, unlinked: bool) -> None:
        """Take note of whether this node, a candidate, has no link for the group."""
        if unlinked:
            self.unlinked[group] = None
        else:
            self.unlinked.pop(group, None)

    def settle(self, group: ElectedGroup, holder: str | None) -> None:
        """There is nothing to decide about the group for now."""
        self.settled.setdefault(holder, {})[group] = None

    def unsettle(self, group: ElectedGroup, holder: str | None) -> None:
        """There is again."""
        groups = self.settled[holder]
        del groups[group]
        if not groups:
            del self.settled[holder]

    def _gives_way(self, holder: str) -> bool:
        return holder not in self.order or holder in self.lesser

    def _is_lesser(self, node: str) -> bool:
        merit = self.order.get(node)
        return merit is not None and self.me is not None and self.me < merit

    def _merit(self, node: str, inputs: Inputs, *, by_subnet: bool) -> Merit | None:
        candidate = self.eligible.get(node)
        if candidate is None:
            return None
        handicap = candidate.handicap
        reaches = [
            self._reach(node, address, scope, inputs)
            for address, scope in zip(self.addresses, candidate.scopes, strict=True)
        ]
        if not all(each.possible for each in reaches):
            return None
        handicap += LOST_LINK_HANDICAP if any(each.lost for each in reaches) else 0
        handicap += NO_SUBNET_HANDICAP if by_subnet and not all(each.subnet for each in reaches) else 0
        return handicap, -candidate.weight

    def _reach(self, node: str, address: Address, scope: Scope, inputs: Inputs) -> Reach:
        """How the node reaches those who ask; as far as its Lease shows where that is all there is, else at best."""
        if node == self.node:
            return reach(address, scope, inputs.links)
        state = inputs.liveness.states.get(node, NOTHING)
        if node in inputs.by_lease:
            subnets = inputs.subnets_by_lease.get(node, ())
            return Reach(possible=True, subnet=any(address in subnet for subnet in subnets), lost=False)
        if state is NOTHING:
            return Reach(possible=True, subnet=True, lost=False)
        return reach(address, scope, state.links)
