"""Those who carry out what was decided, and what the controller asks of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from allocator.core.addresses import Address
from allocator.kube.reflector import Key
from speaker.cluster.next_addresses import PoolReports, Question
from speaker.cluster.scope import Scope
from speaker.cluster.state import View
from speaker.membership.state_sync import AdvertisedState
from speaker.status.facts import Fact, Subject


class Announces(Protocol):
    """What carries out a decision."""

    def announce(
        self,
        wanted: Mapping[Address, Scope],
        *,
        unheld: AbstractSet[Address],
        helped: Mapping[Address, Mapping[str, bytes]],
    ) -> None:
        """Announce exactly this from now on; what is new and `unheld` only once nobody turns out to have it.

        Where it is a PersistentMap, that costs as much as what differs from the last one.

        What is `helped` is answered with another's hardware address, by interface, without gratuitous ARP.
        """
        ...

    def announce_again(self, addresses: Iterable[Address] | None = None) -> None:
        """Announce these addresses to the LAN again, or all that are announced."""
        ...

    def answered(self, among: Iterable[Address]) -> frozenset[Address]:
        """Which of these are answered for now: not what still has to be asked for, or another host turned out to
        have."""
        ...


class Peers(Protocol):
    """What sends to the other speakers, and asks them."""

    def set_peers(
        self, addresses: Mapping[str, Sequence[str]], *, hosts: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Exchange heartbeats with these nodes from now on; with one of the hosts as soon as it is heard."""
        ...

    def serve(self) -> None:
        """This node knows enough of the cluster to announce."""
        ...

    def advertise(self, state: AdvertisedState) -> None:
        """Advertise what this node claims and where it can announce."""
        ...

    def unfence(self) -> None:
        """What is known of the others has been acted upon."""
        ...


class Hosts(Protocol):
    """What asks the kernels of nodes that are not heard."""

    def watch(self, hosts: Mapping[str, str]) -> None:
        """Watch exactly these, by name and address; returns at once."""
        ...


class AsksAhead(Protocol):
    """What asks the LAN about addresses before they are to be announced."""

    def ask(self, choose: Callable[[], Mapping[Address, Question]], *, at_once: bool) -> None:
        """Ask about exactly what `choose` returns, called on another thread, from now on; returns at once."""
        ...


class FollowsPools(Protocol):
    """What reports who was heard to have addresses of pools."""

    def follow(self, pools: Mapping[str, PoolReports]) -> None:
        """The pools' status says this now; returns at once."""
        ...


class Routes(Protocol):
    """What announces by routes, from every node that may."""

    def follow(self, view: View, services: AbstractSet[Key]) -> None:
        """These Services, or where they are served, may be others than before; returns at once."""
        ...

    def on_known(self) -> None:
        """All Services of the cluster have been followed; returns at once."""
        ...


class Reports(Protocol):
    """What reports to people."""

    def report(self, changed: Mapping[Subject, Fact | None], *, heard: AbstractSet[str]) -> None:
        """This is to be said from now on, of these; None takes back what was said. Returns at once.

        What is not listed stays. What is listed unchanged is compared with the API anew: another node may have said
        otherwise. `heard` are the nodes whose claims are known as of now, this one included; that they are others is
        reported, too, with nothing changed.
        """
        ...
