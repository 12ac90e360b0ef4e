"""Classic BPF: programs as annotated data, the pieces they are made of, and putting one before a socket.

A program sees the frame from its Ethernet header on, as an AF_PACKET SOCK_RAW socket receives it, or a netlink
message from its header on. Its conditions follow one another: each piece here either falls through to the next or
ends the program.
"""

from __future__ import annotations

import ctypes
import itertools
import operator
import socket
import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from allocator.core.addresses import Address

RANGE_LIMIT = 128
"""How many separate ranges one program tests. The kernel charges the translated program (up to eight
instructions of eight bytes a range) to net.core.optmem_max, 20 KiB by default before Linux 6.7; the old program is
still charged while a new one takes its place, so each may take half."""

_KEPT = 2
"""Of how many sets of addresses the ranges are kept: mostly the same ones are answered for and watched."""

_SO_ATTACH_FILTER = 26

# linux/bpf_common.h
_LD_W, _LD_H, _LD_B = 0x20, 0x28, 0x30  # load a word, half-word or byte from an absolute offset
_JA, _JEQ, _JGT, _JGE = 0x05, 0x15, 0x25, 0x35
_RET = 0x06

# linux/filter.h: offsets that read packet metadata instead of bytes
NETWORK = 0xFFF00000
"""Offset of the IP header, where a program sees a datagram from its UDP header on."""
_AD_OFF = 0xFFFFF000
_AD_PKTTYPE = _AD_OFF + 4

_ACCEPT_ALL_BYTES = 0x40000
_DROP = 0


class PacketType(IntEnum):
    """To whom the kernel found a frame addressed (linux/if_packet.h); what it sent itself, it never shows us.

    Naming the types wanted also rejects tagged frames: a VLAN tag that no VLAN device of the interface claims
    makes the kernel mark the frame as another host's before it hides the tag (net/core/dev.c). A frame that has
    only a priority (VLAN 0) is as good as untagged.
    """

    HOST = 0
    BROADCAST = 1
    MULTICAST = 2
    OTHER_HOST = 3


class Instruction(NamedTuple):
    """One sock_filter: on a comparison skip `if_true` or `if_false` instructions.

    A program of many addresses has hundreds, and is made anew for each more of them: a dataclass costs four times as
    much.
    """

    code: int
    if_true: int
    if_false: int
    operand: int


_LAYOUT = struct.Struct("HBBI")

Program = tuple[Instruction, ...]


@lru_cache(maxsize=_KEPT)
def cover(addresses: frozenset[Address], *, limit: int = RANGE_LIMIT) -> tuple[tuple[int, int], ...]:
    """Return at most `limit` ascending ranges (first, last) that hold every address.

    Exact while the addresses form at most `limit` runs of neighbours; beyond that the smallest gaps are closed,
    so that the fewest foreign addresses pass: the reader must still check each frame.
    """
    return cover_values([address.value for address in addresses], limit=limit)


def cover_values(numbers: Iterable[int], *, limit: int = RANGE_LIMIT) -> tuple[tuple[int, int], ...]:
    """As `cover`, of plain numbers."""
    values = sorted(set(numbers))
    return _joined(values, values, limit)


def cover_ranges(ranges: Iterable[tuple[int, int]], *, limit: int = RANGE_LIMIT) -> tuple[tuple[int, int], ...]:
    """Return at most `limit` ascending ranges (first, last) that hold all of these: see `cover`."""
    firsts: list[int] = []
    lasts: list[int] = []
    for first, last in sorted(ranges):
        if lasts and first <= lasts[-1]:
            lasts[-1] = max(lasts[-1], last)
        else:
            firsts.append(first)
            lasts.append(last)
    return _joined(firsts, lasts, limit)


def _joined(firsts: Sequence[int], lasts: Sequence[int], limit: int) -> tuple[tuple[int, int], ...]:
    """Join ascending ranges that do not overlap to at most `limit`."""
    if not firsts:
        return ()
    # The widest gaps separate the ranges; neighbours (a gap of one) never do.
    gaps = [(gap, index) for index, gap in enumerate(map(operator.sub, firsts[1:], lasts)) if gap > 1]
    cuts = sorted(index for _, index in sorted(gaps, reverse=True)[: limit - 1])
    begins = [firsts[0], *(firsts[index + 1] for index in cuts)]
    ends = [*(lasts[index] for index in cuts), lasts[-1]]
    return tuple(zip(begins, ends, strict=True))


_ACCEPT = Instruction(_RET, 0, 0, _ACCEPT_ALL_BYTES)

NOTHING: Program = (Instruction(_RET, 0, 0, _DROP),)
"""Accepts no frame."""
EVERYTHING: Program = (_ACCEPT,)
"""Accepts every frame."""


def addressed_to(*types: PacketType) -> Program:
    """Drop frames of all other packet types."""
    tests = [Instruction(_JEQ, len(types) - index, 0, kind) for index, kind in enumerate(types)]
    return (Instruction(_LD_W, 0, 0, _AD_PKTTYPE), *tests, *NOTHING)


def word_is(offset: int, value: int) -> Program:
    """Drop frames whose four bytes at `offset` are something else."""
    return (Instruction(_LD_W, 0, 0, offset), Instruction(_JEQ, 1, 0, value), *NOTHING)


def half_word_is(offset: int, *values: int) -> Program:
    """Drop frames whose two bytes at `offset` are none of `values`."""
    tests = [Instruction(_JEQ, len(values) - index, 0, value) for index, value in enumerate(values)]
    return (Instruction(_LD_H, 0, 0, offset), *tests, *NOTHING)


def byte_is(offset: int, value: int) -> Program:
    """Drop frames whose byte at `offset` is something else."""
    return (Instruction(_LD_B, 0, 0, offset), Instruction(_JEQ, 1, 0, value), *NOTHING)


def accept_bytes(offset: int, values: Iterable[int]) -> Program:
    """Accept frames whose byte at `offset` is one of `values`, drop all others."""
    tests = [step for value in values for step in (Instruction(_JEQ, 0, 1, value), _ACCEPT)]
    return (Instruction(_LD_B, 0, 0, offset), *tests, *NOTHING)


def accept_words(offset: int, ranges: Iterable[tuple[int, int]]) -> Program:
    """Accept frames whose four bytes at `offset` are in one of the ranges (first, last), drop all others."""
    tests = [
        test
        for first, last in ranges
        for test in (Instruction(_JGE, 0, 2, first), Instruction(_JGT, 1, 0, last), _ACCEPT)
    ]
    return (Instruction(_LD_W, 0, 0, offset), *tests, *NOTHING)


def if_words(offset: int, values: Iterable[int], then: Program) -> Program:
    """Run `then`, which must end the program, on frames that have these words from `offset` on; else fall through."""
    tests = [
        (Instruction(_LD_W, 0, 0, offset + 4 * index), Instruction(_JEQ, 1, 0, value))
        for index, value in enumerate(values)
    ]
    length = 3 * len(tests) + len(then)
    program: Program = ()
    for load, compare in tests:
        # A conditional jump reaches 255 instructions, an unconditional one any.
        skip = Instruction(_JA, 0, 0, length - len(program) - 3)
        program += (load, compare, skip)
    return program + then


def if_byte(offset: int, values: Sequence[int], then: Program) -> Program:
    """Run `then`, which must end the program, on frames with one of these bytes at `offset`; else fall through."""
    return (Instruction(_LD_B, 0, 0, offset), *_if_any(values, then))


def if_half_word(offset: int, values: Sequence[int], then: Program) -> Program:
    """Run `then`, which must end the program, on frames with one of these values at `offset`; else fall through."""
    return (Instruction(_LD_H, 0, 0, offset), *_if_any(values, then))


def _if_any(values: Sequence[int], then: Program) -> Program:
    tests = [Instruction(_JEQ, len(values) - index, 0, value) for index, value in enumerate(values)]
    return (*tests, Instruction(_JA, 0, 0, len(then)), *then)


def attach(sock: socket.socket, program: Program) -> None:
    """Make `program` the socket's filter, in place of any other, between two frames. Raises OSError."""
    code = b"".join(itertools.starmap(_LAYOUT.pack, program))
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the native alignment pads the count up to the pointer.
    filter_program = struct.pack("HP", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_program)
