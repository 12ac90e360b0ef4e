"""Hearing others advertise our IPv6 addresses."""

from __future__ import annotations

from allocator.core.addresses import Address, Family
from speaker.frames.ethernet import ETHERTYPE_IPV6
from speaker.frames.ndp import Advertisement, decode, probe
from speaker.layer2.conflict_watch import ClaimWatch
from speaker.netdev import bpf, filters


class NdpWatch(ClaimWatch):
    """Whoever advertises an address claims it.

    All nodes get a probe's answer and what announces a changed holder, so no group has to be joined.
    """

    protocol = "ndp"
    family = Family.IPV6
    ethertype = ETHERTYPE_IPV6

    def _filter(self, addresses: frozenset[Address]) -> bpf.Program:
        return filters.ndp_claims_of(addresses)

    def _question(self, address: Address) -> bytes:
        return probe(address, self.interface.mac).encode()

    def _claimed(self, data: bytes) -> tuple[Address, bytes] | None:
        frame = decode(data)
        if not isinstance(frame, Advertisement):
            return None
        return frame.target, frame.link_address or frame.source
