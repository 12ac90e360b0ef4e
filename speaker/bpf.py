"""Classic BPF programs that keep foreign traffic in the kernel, as annotated data.

A program sees the frame from its Ethernet header on, as an AF_PACKET SOCK_RAW socket receives it.
"""

from __future__ import annotations

import ctypes
import itertools
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from allocator.core.addresses import Address

RANGE_LIMIT = 128
"""How many separate ranges one program tests. The kernel charges the translated program (up to eight
instructions of eight bytes a range) to net.core.optmem_max, 20 KiB by default: 128 ranges take under half."""

_SO_ATTACH_FILTER = 26

# linux/bpf_common.h
_LD_W = 0x20  # load a word from an absolute offset
_JEQ, _JGT, _JGE = 0x15, 0x25, 0x35
_RET = 0x06

# linux/filter.h: offsets that read packet metadata instead of bytes
_AD_OFF = 0xFFFFF000
_AD_PKTTYPE = _AD_OFF + 4

_PACKET_BROADCAST = 1  # 0 is "to this host"; everything above is multicast, for others, or sent by us
_ACCEPT_ALL_BYTES = 0x40000
_DROP = 0


@dataclass(frozen=True, slots=True)
class Instruction:
    """One sock_filter: on a comparison skip `if_true` or `if_false` instructions."""

    code: int
    if_true: int
    if_false: int
    operand: int


Program = tuple[Instruction, ...]


def cover(addresses: Iterable[Address], *, limit: int = RANGE_LIMIT) -> tuple[tuple[int, int], ...]:
    """Return at most `limit` ascending ranges (first, last) that hold every address.

    Exact while the addresses form at most `limit` runs of neighbours; beyond that the smallest gaps are closed,
    so that the fewest foreign addresses pass: the reader must still check each frame.
    """
    values = sorted({address.value for address in addresses})
    if not values:
        return ()
    gaps = [(after - before, index) for index, (before, after) in enumerate(itertools.pairwise(values))]
    # The widest gaps separate the ranges; neighbours (a gap of one) never do.
    widest = sorted((gap for gap in gaps if gap[0] > 1), reverse=True)[: limit - 1]
    cuts = sorted(index for _, index in widest)
    firsts = [values[0], *(values[index + 1] for index in cuts)]
    lasts = [*(values[index] for index in cuts), values[-1]]
    return tuple(zip(firsts, lasts, strict=True))


def arp_requests_for(addresses: Iterable[Address]) -> Program:
    """Accept ARP requests for IPv4 over Ethernet, addressed to this host or broadcast, that ask for an address.

    The packet type also rejects tagged frames: a tag that no VLAN device of this interface claims makes the
    kernel mark the frame as another host's before it hides the tag (net/core/dev.c).
    """
    ranges = cover(addresses)
    if not ranges:
        return (Instruction(_RET, 0, 0, _DROP),)
    tests = [
        test
        for first, last in ranges
        for test in (
            Instruction(_JGE, 0, 2, first),
            Instruction(_JGT, 1, 0, last),
            Instruction(_RET, 0, 0, _ACCEPT_ALL_BYTES),
        )
    ]
    return (
        Instruction(_LD_W, 0, 0, _AD_PKTTYPE),
        Instruction(_JGT, 4, 0, _PACKET_BROADCAST),
        Instruction(_LD_W, 0, 0, 14),  # hardware type 1, protocol 0x0800
        Instruction(_JEQ, 0, 2, 0x0001_0800),
        Instruction(_LD_W, 0, 0, 18),  # sizes 6 and 4, operation 1 (request)
        Instruction(_JEQ, 1, 0, 0x0604_0001),
        Instruction(_RET, 0, 0, _DROP),
        Instruction(_LD_W, 0, 0, 38),  # target IPv4 address
        *tests,
        Instruction(_RET, 0, 0, _DROP),
    )


def attach(sock: socket.socket, program: Program) -> None:
    """Make `program` the socket's filter, in place of any other, between two frames. Raises OSError."""
    code = b"".join(struct.pack("HBBI", step.code, step.if_true, step.if_false, step.operand) for step in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the native alignment pads the count up to the pointer.
    filter_program = struct.pack("HP", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_program)
