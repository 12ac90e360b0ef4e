"""Names for what is seen on the wire: the node behind a hardware address, the Services behind an IP address."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from allocator.core.addresses import Address
from speaker.election.candidates import Candidates
from speaker.membership.link import Link
from speaker.membership.state_sync import AdvertisedState


class AddressBook:
    """Knows who announces with a hardware address, and for which Services this node announces.

    `_nodes` is replaced whole and `_services` changed entry by entry by the thread that decides; any thread looks up.
    """

    def __init__(self) -> None:
        self._nodes: Mapping[bytes, str] = {}
        self._services: dict[Address, str] = {}
        self._links: dict[str, tuple[Link, ...]] = {}
        self._known: Collection[str] = ()
        self._former: set[Address] = set()

    def whose(self, mac: bytes) -> str | None:
        """Return the node whose speaker announces with this hardware address."""
        return self._nodes.get(mac)

    def services_of(self, address: Address) -> str | None:
        """Name the Services that have, or just had, an address announced here: `namespace/name`, comma-joined."""
        return self._services.get(address)

    def note_nodes(self, states: Mapping[str, AdvertisedState], known: Collection[str]) -> None:
        """Note with which hardware addresses each speaker announces; forget those of nodes not `known` any more."""
        links = {node: state.links for node, state in states.items()}
        if links == self._links and known == self._known:
            return
        self._links, self._known = links, known
        # Kept when a speaker restarts: it announces before it has advertised its interfaces to everybody.
        kept = {mac: node for mac, node in self._nodes.items() if node in known}
        self._nodes = kept | {link.mac: node for node, own in links.items() for link in own}

    def note_services(
        self,
        addresses: Iterable[Address],
        announced: Collection[Address],
        group_of: Callable[[Address], Candidates | None],
    ) -> None:
        """Note whose these addresses are now; of one announced until now only, whose it was until the next call."""
        former, self._former = self._former, set()
        for address in former:
            if address not in announced:
                self._services.pop(address, None)
        for address in addresses:
            group = group_of(address)
            if address not in announced:
                if address in self._services:
                    self._former.add(address)
            elif group is not None:
                names = sorted("/".join(key) for key, its in group.services if its == address)
                self._services[address] = ",".join(names)
