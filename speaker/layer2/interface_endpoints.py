"""This node on all of its interfaces: which there are to announce on, and what goes out there."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet

from allocator.core.addresses import Address, Family
from allocator.process.logs import EventLog
from speaker.cluster.scope import Scope
from speaker.frames.ethernet import mac_text
from speaker.layer2.conflicts import Claim
from speaker.layer2.gratuitous import Reason
from speaker.layer2.interface_endpoint import InterfaceEndpoint, OpenEndpoint
from speaker.membership.link import Subnet
from speaker.metrics import SpeakerMetrics
from speaker.netdev.event_loop import PacketLoop
from speaker.netdev.first_frame import FirstFrame
from speaker.netdev.interfaces import Interface, announcing
from speaker.netdev.packet_socket import Refused

log = EventLog("announcer")

LEARNING_SECONDS = 35.0
"""How long a switch port may pass nothing after its link came up: spanning tree listens and learns for 15 s each.
Where nothing is heard for longer, nobody is there to be asked."""

HelpedMacs = Mapping[Address, Mapping[str, bytes]]
"""Addresses answered for a restarting node: with its hardware address, by interface."""


def _ignore(_: str) -> None:
    return


class InterfaceEndpoints:
    """Keeps an endpoint on every interface that can announce. Whoever owns it serialises the calls."""

    def __init__(
        self,
        *,
        packets: PacketLoop,
        open_endpoint: OpenEndpoint,
        on_claim: Callable[[Claim], None],
        metrics: SpeakerMetrics,
        on_heard: Callable[[str], None] = _ignore,
        learning_seconds: float = LEARNING_SECONDS,
        quiet: bool = False,
    ) -> None:
        """`on_heard` gets the name of an interface on which, after its link came up, a first frame arrived.

        `quiet` where another's log says which interfaces there are.
        """
        self._log = log.debug if quiet else log.info
        self._packets = packets
        self._open_endpoint = open_endpoint
        self._on_claim = on_claim
        self._on_heard = on_heard
        self._metrics = metrics
        self._learning_seconds = learning_seconds
        self._present: dict[Interface, InterfaceEndpoint] = {}
        self._failed: dict[Interface, str] = {}
        self._subnets: dict[Interface, frozenset[Subnet]] = {}
        self._learning: dict[Interface, tuple[FirstFrame, float]] = {}
        self._own_macs: frozenset[bytes] = frozenset()
        self._without_ipv6: frozenset[Interface] = frozenset()
        self._followed = False

    def follow(self, interfaces: Iterable[Interface]) -> list[str]:
        """Be present on exactly those of the interfaces that can announce.

        Return the names of those that are new, or have IPv6 now or no longer: what is answered there has changed.
        """
        found = tuple(interfaces)
        usable = {_identity(interface): interface for interface in announcing(found)}
        self._own_macs = frozenset(interface.mac for interface in found)
        self._subnets = {identity: interface.subnets for identity, interface in usable.items()}
        for interface in [known for known in self._present if known not in usable]:
            self._retire(interface)
            self._log("interface.lost", interface=interface.name)
        without = frozenset(identity for identity, interface in usable.items() if not interface.ipv6)
        other, self._without_ipv6 = without ^ self._without_ipv6, without
        self._failed = {interface: why for interface, why in self._failed.items() if interface in usable}
        new = [interface for interface in usable if interface not in self._present and self._open(interface)]
        if self._followed:
            # Of those that were up before this process began, the ports have long learned.
            for interface in new:
                self._listen(interface)
        self._followed = True
        return [interface.name for interface in self._present if interface in new or interface in other]

    @property
    def failed(self) -> bool:
        """Whether an interface that can announce could not be opened."""
        return bool(self._failed)

    def open_failed(self) -> list[str]:
        """Try again to open what could not be opened; return the names of those that could now."""
        return [interface.name for interface in list(self._failed) if self._open(interface)]

    def is_own(self, mac: bytes) -> bool:
        """Return whether an interface of this node, announcing or not, has the hardware address."""
        return mac in self._own_macs

    def names(self, scope: Scope) -> list[str]:
        """The names of the interfaces present that the scope includes."""
        return sorted({interface.name for interface in self._present if scope.includes(interface.name)})

    def answer(
        self, wanted: Mapping[Address, Scope], answered: AbstractSet[Address], helped: HelpedMacs
    ) -> dict[Address, str]:
        """From now on watch for `wanted` and answer for exactly those of them that are `answered`: see `change`."""
        gone = set().union(*(endpoint.watched for endpoint in self._present.values())) - wanted.keys()
        return self.change([*gone, *wanted], wanted, answered.__contains__, helped)

    def change(
        self,
        changed: Iterable[Address],
        wanted: Mapping[Address, Scope],
        answers: Callable[[Address], bool],
        helped: HelpedMacs,
        *,
        on: Collection[str] | None = None,
    ) -> dict[Address, str]:
        """Of the addresses that have changed, watch for those `wanted` and answer for those of them that it says.

        `on` are the names of the interfaces concerned, by default all. Return those for which the kernel refuses it,
        with what it refused. What it costs follows the changes, but for the sockets' filters.
        """
        addresses = list(changed)
        refusals: dict[Interface, str] = dict(self._failed)
        for interface, endpoint in self._present.items():
            if on is not None and interface.name not in on:
                continue
            here = (
                (each, True, answers(each))
                if (scope := wanted.get(each)) is not None and self._carries(interface, each, scope)
                else (each, False, False)
                for each in addresses
            )
            macs = {address: macs[interface.name] for address, macs in helped.items() if interface.name in macs}
            refused = endpoint.change(here, helped=macs)
            if refused:
                refusals[interface] = _what(interface, refused[0])
        if not refusals:
            return {}
        found = {}
        for address in addresses:
            if address in wanted:
                broken = self._broken(address, wanted[address], refusals, answered=answers(address))
                if broken:
                    found[address] = refusals[broken[0]]
        return found

    def concerned(self, names: Collection[str], wanted: Mapping[Address, Scope]) -> list[Address]:
        """Return the addresses about which an interface of these names has a say.

        Another's coming and going, a container network's, is no reason to ask or to announce again.
        """
        subnets: dict[tuple[Scope, Family], tuple[bool, list[Subnet], list[Subnet]]] = {}
        found = []
        for address, scope in wanted.items():
            kind = (scope, address.family)
            if (known := subnets.get(kind)) is None:
                carrying = [each for each in self._present if self._carries(each, address, scope)]
                those, others = _split(carrying, lambda each: each.name in names)
                known = subnets[kind] = bool(those), self._subnets_of(those), self._subnets_of(others)
            carried, own, of_others = known
            # As `_relevant` has it, at a tenth of the cost: of thousands of addresses one interface is asked about.
            if carried and (
                any(address in subnet for subnet in own) or not any(address in subnet for subnet in of_others)
            ):
                found.append(address)
        return found

    def send(self, address: Address, scope: Scope, reason: Reason | None, *, asks: bool = True) -> str | None:
        """Announce the address for the reason, or ask for it (None), on every interface of the scope.

        Nothing is asked where it is not to be (`asks`). Return what the kernel refuses, if that leaves nobody who
        could hear of the address.
        """
        refusals: dict[Interface, str] = {}
        for interface, endpoint in self._present.items():
            if not self._carries(interface, address, scope):
                continue
            # A refresh also asks: a host that took the address silently would stay unnoticed without end.
            if asks and reason in (None, Reason.REFRESH):
                endpoint.probe(address)
            try:
                if reason is not None and endpoint.announce(address):
                    self._metrics.announcements.labels(reason).inc()
            except Refused as error:
                refusals[interface] = _what(interface, error)
        broken = self._broken(address, scope, refusals, answered=True) if refusals else []
        return refusals[broken[0]] if broken else None

    def asks_from(self, address: Address, scope: Scope) -> float:
        """From when on (as of `time.monotonic`) a question for the address reaches somebody; 0 means now.

        Not before something was heard on an interface that could carry the address, or long enough was waited.
        """
        relevant = self._relevant(address, scope, self._present)
        return min((self._learning[each][1] if each in self._learning else 0.0 for each in relevant), default=0.0)

    def heard(self, name: str) -> bool:
        """Take note that frames arrive on the interface; return whether that was not known."""
        for interface in [each for each in self._learning if each.name == name]:
            self._packets.retire(self._learning.pop(interface)[0])
            self._log("interface.heard", interface=name)
            return True
        return False

    def probe(self, address: Address, scope: Scope) -> bool:
        """Ask for the address wherever it would be answered; return whether who has it there would be heard."""
        present = self._present.items()
        asked = [
            endpoint.probe(address) and endpoint.works(address, answered=False)
            for interface, endpoint in present
            if self._carries(interface, address, scope)
        ]
        return bool(asked) and all(asked)

    def close(self) -> None:
        """Leave every interface."""
        for interface in list(self._present):
            self._retire(interface)

    def _carries(self, interface: Interface, address: Address, scope: Scope) -> bool:
        no_ipv6 = address.family is Family.IPV6 and interface in self._without_ipv6
        return scope.includes(interface.name) and not no_ipv6

    def _subnets_of(self, interfaces: Iterable[Interface]) -> list[Subnet]:
        return [subnet for each in interfaces for subnet in self._subnets.get(each, ())]

    def _relevant(self, address: Address, scope: Scope, interfaces: Iterable[Interface]) -> list[Interface]:
        """Those of the interfaces that have the address's subnet; where none does, all that carry it."""
        carrying = [each for each in interfaces if self._carries(each, address, scope)]
        here = [each for each in carrying if any(address in subnet for subnet in self._subnets.get(each, ()))]
        return here or carrying

    def _broken(
        self, address: Address, scope: Scope, refusals: Mapping[Interface, str], *, answered: bool
    ) -> list[Interface]:
        """The relevant interfaces on which the kernel refuses the address; none if one of them works."""
        relevant = self._relevant(address, scope, [*self._present, *self._failed])
        broken = [
            each
            for each in relevant
            if each in self._failed
            or (each in refusals and not self._present[each].works(address, answered=answered))
        ]
        return broken if len(broken) == len(relevant) else []

    def _open(self, interface: Interface) -> bool:
        try:
            endpoint = self._open_endpoint(interface, self._on_claim)
        except OSError as error:
            if interface not in self._failed:
                log.error("interface.unusable", interface=interface.name, error=error)
            self._failed[interface] = f"open on {interface.name}: {error.strerror or error}"
            self._metrics.errors.labels(interface.name, "open").inc()
            return False
        self._failed.pop(interface, None)
        self._present[interface] = endpoint
        for listener in endpoint.listeners:
            self._packets.add(listener)
        self._log("interface.ready", interface=interface.name, mac=mac_text(interface.mac))
        return True

    def _listen(self, interface: Interface) -> None:
        """Wait for the first frame."""
        try:
            first = FirstFrame(interface, lambda: self._on_heard(interface.name))
        except OSError as error:
            # Then nothing waits for it.
            log.warning("interface.unheard", interface=interface.name, error=error)
            return
        self._learning[interface] = (first, time.monotonic() + self._learning_seconds)
        self._packets.add(first)

    def _retire(self, interface: Interface) -> None:
        for listener in self._present.pop(interface).listeners:
            self._packets.retire(listener)
        if interface in self._learning:
            self._packets.retire(self._learning.pop(interface)[0])


def _split(
    interfaces: Iterable[Interface], of: Callable[[Interface], bool]
) -> tuple[list[Interface], list[Interface]]:
    those, others = list[Interface](), list[Interface]()
    for each in interfaces:
        (those if of(each) else others).append(each)
    return those, others


def _identity(interface: Interface) -> Interface:
    """The interface with only what its sockets depend on: a new address or flag must not reopen them."""
    return Interface(index=interface.index, name=interface.name, mac=interface.mac)


def _what(interface: Interface, refused: Refused) -> str:
    return f"{refused.operation} on {interface.name}: {refused.strerror}"
