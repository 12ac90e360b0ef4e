"""What becomes of announced addresses, for the log, the metrics and whoever else is to know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from allocator.core.addresses import Address, Family
from allocator.process.logs import EventLog
from speaker.cluster.scope import Scope
from speaker.frames.ethernet import mac_text
from speaker.layer2 import refusals
from speaker.layer2.address_state import Transition
from speaker.layer2.conflicts import Claim, ConflictListener
from speaker.metrics import SpeakerMetrics

log = EventLog("announcer")


class AnnouncerReports:
    """Called by several threads, never under the announcer's lock. `listener` is set before any of them starts."""

    def __init__(self, metrics: SpeakerMetrics) -> None:
        self.listener = ConflictListener()
        self._metrics = metrics

    def withdrawn(self, addresses: Iterable[Address], before: Mapping[Address, Scope]) -> None:
        """These are announced no longer; `before` has the interfaces on which they were."""
        for address in sorted(addresses):
            services = self.listener.services_of(address)
            log.info("address.withdrawn", ip=address, service=services, protocol="layer2", interfaces=before[address])

    def changed(
        self, transition: Transition, wanted: Mapping[Address, Scope], interfaces_of: Callable[[Scope], list[str]]
    ) -> None:
        """Addresses are announced, or conflicts about them are over."""
        for address in transition.taken:
            log.info(
                "address.announced",
                ip=address,
                service=self.listener.services_of(address),
                protocol="layer2",
                answers="ARP" if address.family is Family.IPV4 else "NDP",
                interfaces=wanted.get(address, "-"),
            )
            if address in wanted and not interfaces_of(wanted[address]):
                log.warning(
                    "address.unreachable", ip=address, reason="no such interface here", wanted=wanted[address]
                )
        for address in transition.settled:
            log.info("address.conflict-over", ip=address, service=self.listener.services_of(address))
            self.listener.on_over(address)

    def claimed(self, claim: Claim, node: str | None, *, defended: bool) -> None:
        """A host that is none of ours, or another node of ours, claims an address."""
        self._metrics.conflicts.labels(str(claim.address), "host" if node is None else "speaker").inc()
        log.warning(
            "address.conflict",
            ip=claim.address,
            service=self.listener.services_of(claim.address),
            interface=claim.interface,
            mac=mac_text(claim.mac),
            node=node or "-",
            defended=defended,
        )
        if node is None:
            self.listener.on_conflict(claim.address, claim.interface, claim.mac)
        else:
            self.listener.on_rival(claim.address, node)

    def refused(self, refused: Mapping[Address, str], new: list[Address]) -> None:
        """The kernel refuses other addresses than before; these are `new` among them."""
        self._metrics.refused.set(len(refused))
        if new:
            log.error(
                "address.refused",
                ip=new[0],
                service=self.listener.services_of(new[0]),
                others=len(new) - 1,
                reason=refused[new[0]],
                retry_seconds=refusals.RETRY_SECONDS,
            )
        self.listener.on_refused(refused)
