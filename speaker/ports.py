"""Those who are told what was decided, and what the decider asks of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from allocator.core.addresses import Address
from speaker.cluster.scope import Scope
from speaker.cluster.state import View
from speaker.election.candidates import Contest
from speaker.election.holder import Tenancy
from speaker.membership.state_sync import Statement


class Announces(Protocol):
    """What carries out a decision."""

    def announce(
        self,
        wanted: Mapping[Address, Scope],
        *,
        unheld: AbstractSet[Address],
        lent: Mapping[Address, Mapping[str, bytes]],
    ) -> None:
        """Announce exactly this from now on; what is new and `unheld` only once nobody turns out to have it.

        What is `lent` is answered with another's hardware address, by interface, and not announced unasked.
        """
        ...

    def announce_again(self) -> None:
        """Tell the LAN anew about everything announced."""
        ...

    def answered(self) -> frozenset[Address]:
        """What is answered for now: not what still has to be asked for, or what another host turned out to have."""
        ...


class Peers(Protocol):
    """What the other speakers are told and asked through."""

    def set_peers(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Exchange heartbeats with these nodes from now on."""
        ...

    def renewed(self, node: str) -> None:
        """The node's Lease was seen to be renewed."""
        ...

    def serve(self) -> None:
        """This node knows enough of the cluster to announce."""
        ...

    def state(self, statement: Statement) -> None:
        """Tell what this node announces and where it can."""
        ...

    def hearing(self, nodes: Collection[str]) -> frozenset[str]:
        """Return those that have just said what they announce, and get the others to."""
        ...

    def unfence(self) -> None:
        """What is known of the others has been acted upon."""
        ...


class Hosts(Protocol):
    """What watches nodes without a speaker."""

    def watch(self, hosts: Mapping[str, str]) -> None:
        """Watch exactly these, by name and address; returns at once."""
        ...


class Reports(Protocol):
    """What tells people."""

    def report(self, view: View, contests: Iterable[Contest], tenancy: Tenancy) -> None:
        """This node announces that from now on; returns at once."""
        ...
