"""Names for what is seen on the wire: the node behind a hardware address, the Services behind an IP address."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from allocator.core.addresses import Address
from speaker.election.candidates import Candidates
from speaker.membership.state_sync import AdvertisedState


class AddressBook:
    """Tells who announces with a hardware address, and for which Services this node announces.

    Both mappings are replaced whole by the thread that decides, and read by any.
    """

    def __init__(self) -> None:
        self._nodes: Mapping[bytes, str] = {}
        self._services: Mapping[Address, str] = {}

    def whose(self, mac: bytes) -> str | None:
        """Return the node whose speaker announces with this hardware address."""
        return self._nodes.get(mac)

    def services_of(self, address: Address) -> str | None:
        """Name the Services that have, or just had, an address announced here: `namespace/name`, comma-joined."""
        return self._services.get(address)

    def note_nodes(self, states: Mapping[str, AdvertisedState], known: Collection[str]) -> None:
        """Note with which hardware addresses each speaker announces; forget those of nodes not `known` any more."""
        # Kept when a speaker restarts: it announces before it has advertised its interfaces to everybody.
        kept = {mac: node for mac, node in self._nodes.items() if node in known}
        self._nodes = kept | {link.mac: node for node, state in states.items() for link in state.links}

    def note_services(
        self, groups: Iterable[Candidates], announced: Collection[Address], *, until_now: Collection[Address]
    ) -> None:
        """Note whose the addresses are; of one announced only `until_now`, whose it was."""
        former = {address: services for address, services in self._services.items() if address in until_now}
        current: dict[Address, list[str]] = {}
        for group in groups:
            for key, address in group.services:
                if address in announced:
                    current.setdefault(address, []).append("/".join(key))
        self._services = {**former, **{address: ",".join(sorted(names)) for address, names in current.items()}}
