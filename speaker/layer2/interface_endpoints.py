"""This node on all of its interfaces: which there are to announce on, and what goes out there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

from allocator.core.addresses import Address, Family
from allocator.process.logs import EventLog
from speaker.cluster.scope import Scope
from speaker.frames.ethernet import mac_text
from speaker.layer2.conflicts import Claim
from speaker.layer2.gratuitous import Reason
from speaker.layer2.interface_endpoint import InterfaceEndpoint, OpenEndpoint
from speaker.metrics import SpeakerMetrics
from speaker.netdev.event_loop import PacketLoop
from speaker.netdev.interfaces import Interface, announcing

log = EventLog("announcer")

HelpedMacs = Mapping[Address, Mapping[str, bytes]]
"""Addresses answered for a restarting node: with its hardware address, by interface."""


class InterfaceEndpoints:
    """Keeps a endpoint on every interface that can announce. Whoever owns it serialises the calls."""

    def __init__(
        self,
        *,
        packets: PacketLoop,
        open_endpoint: OpenEndpoint,
        on_claim: Callable[[Claim], None],
        metrics: SpeakerMetrics,
    ) -> None:
        self._packets = packets
        self._open_endpoint = open_endpoint
        self._on_claim = on_claim
        self._metrics = metrics
        self._present: dict[Interface, InterfaceEndpoint] = {}
        self._own_macs: frozenset[bytes] = frozenset()
        self._without_ipv6: frozenset[Interface] = frozenset()

    def follow(self, interfaces: Iterable[Interface]) -> list[str]:
        """Be present on exactly those of the interfaces that can announce.

        Return the names of those that are new, or have IPv6 now or no longer: what is answered there has changed.
        """
        found = tuple(interfaces)
        usable = {_identity(interface): interface for interface in announcing(found)}
        self._own_macs = frozenset(interface.mac for interface in found)
        for interface in [known for known in self._present if known not in usable]:
            self._retire(self._present.pop(interface))
            log.info("interface.lost", interface=interface.name)
        without = frozenset(identity for identity, interface in usable.items() if not interface.ipv6)
        other, self._without_ipv6 = without ^ self._without_ipv6, without
        new = {interface for interface in usable if interface not in self._present and self._open(interface)}
        return [interface.name for interface in self._present if interface in new or interface in other]

    def is_own(self, mac: bytes) -> bool:
        """Return whether an interface of this node, announcing or not, has the hardware address."""
        return mac in self._own_macs

    def names(self, scope: Scope) -> list[str]:
        """The names of the interfaces present that the scope includes."""
        return sorted({interface.name for interface in self._present if scope.includes(interface.name)})

    def answer(self, wanted: Mapping[Address, Scope], answered: AbstractSet[Address], helped: HelpedMacs) -> None:
        """From now on watch for `wanted` and answer for exactly those of them that are `answered`."""
        for interface, endpoint in self._present.items():
            here = frozenset(address for address, scope in wanted.items() if self._carries(interface, address, scope))
            macs = {address: macs[interface.name] for address, macs in helped.items() if interface.name in macs}
            endpoint.answer_for(here & answered, watched=here, helped=macs)

    def send(self, address: Address, scope: Scope, reason: Reason | None) -> None:
        """Announce the address for the reason, or ask for it (None), on every interface of the scope."""
        for interface, endpoint in self._present.items():
            if not self._carries(interface, address, scope):
                continue
            # A refresh also asks: a host that took the address silently would stay unnoticed for ever.
            if reason in (None, Reason.REFRESH):
                endpoint.probe(address)
            if reason is not None and endpoint.announce(address):
                self._metrics.announcements.labels(reason).inc()

    def close(self) -> None:
        """Leave every interface."""
        for endpoint in self._present.values():
            self._retire(endpoint)
        self._present.clear()

    def _carries(self, interface: Interface, address: Address, scope: Scope) -> bool:
        no_ipv6 = address.family is Family.IPV6 and interface in self._without_ipv6
        return scope.includes(interface.name) and not no_ipv6

    def _open(self, interface: Interface) -> bool:
        try:
            endpoint = self._open_endpoint(interface, self._on_claim)
        except OSError as error:
            # The link went again before it was opened; its next change is reported anew.
            log.warning("interface.unusable", interface=interface.name, error=error)
            return False
        self._present[interface] = endpoint
        for listener in endpoint.listeners:
            self._packets.add(listener)
        log.info("interface.ready", interface=interface.name, mac=mac_text(interface.mac))
        return True

    def _retire(self, endpoint: InterfaceEndpoint) -> None:
        for listener in endpoint.listeners:
            self._packets.retire(listener)


def _identity(interface: Interface) -> Interface:
    """The interface with only what its sockets depend on: a new address or flag must not reopen them."""
    return Interface(index=interface.index, name=interface.name, mac=interface.mac)
