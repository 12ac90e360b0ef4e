"""Hearing others claim our IPv4 addresses, by any ARP of theirs."""

from __future__ import annotations

from allocator.core.addresses import Address, Family
from speaker.frames.arp import ArpFrame, probe
from speaker.frames.ethernet import ETHERTYPE_ARP
from speaker.layer2.conflict_watch import ClaimWatch
from speaker.netdev import bpf, filters


class ArpWatch(ClaimWatch):
    """Whoever sends ARP with an address as its own claims it (RFC 5227 1.1)."""

    protocol = "arp"
    family = Family.IPV4
    ethertype = ETHERTYPE_ARP

    def _filter(self, addresses: frozenset[Address]) -> bpf.Program:
        return filters.arp_claims_of(addresses)

    def _question(self, address: Address) -> bytes:
        return probe(address, self.interface.mac).encode()

    def _claimed(self, data: bytes) -> tuple[Address, bytes]:
        frame = ArpFrame.decode(data)
        return frame.sender_ip, frame.sender_mac
