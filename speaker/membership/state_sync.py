"""What a speaker advertises of itself in its heartbeats: its claims, its interfaces, and whom it hears.

The advertised state has a version, and only what changed since the version that a peer already has is sent to it.
However long, it is cut into chunks that each fit into a heartbeat.

On the wire it is a row of records, each with its type and length; a record of an unknown type is skipped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from struct import Struct, error

from allocator.core.addresses import Address, Family
from speaker.membership.link import Link, Subnet
from speaker.persistent_map import PersistentMap, changed_keys

CHUNK_BYTES = 800
MAXIMUM_TERM = 2**24 - 1
CHANGES_KEPT = 256
"""How many versions what leads to one accounts for, at least: what of an address changed in them is named."""
_RECORD = Struct("!BI")
_NAME = Struct("!B")
_COUNT = Struct("!H")
_LINK = Struct("!B6sBBB")
_SUBNET = Struct("!BB")
_FLAGS = Struct("!B")
_V4 = Struct("!4sI")
_V6 = Struct("!16sI")
_LOST, _DEFAULT_ROUTE, _NO_IPV6, _CUT_OFF = 1, 2, 4, 8
_BOOTING = 1
_GONE = 0
_APART = 2**29
_OFFERED = 2**30
_PROBED = 2**31


class _Record(IntEnum):
    LINKS = 1
    HEARS = 2
    FLAGS = 3
    HELPED = 4
    IPV4 = 5
    IPV6 = 6
    LANS = 7
    NAMED = 8
    BEHIND = 9


_ENTRIES = {_Record.IPV4: (Family.IPV4, _V4), _Record.IPV6: (Family.IPV6, _V6)}


class MalformedState(ValueError):
    """Chunks that do not add up to an advertised state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """That a node answers for an address. `term` counts the holders of the address, from 1, as far as is known.

    One that is `offered` was made while the cluster booted, and gives way to the candidate that ranks first. One that
    is made `apart` is of an address that the node which holds those that belong to it left out; it gives way to that.
    """

    term: int
    offered: bool = False
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvertisedState:
    """The addresses a node claims, those it probes or is about to, its interfaces, and whom it hears.

    `helped` names, for some of those it claims, the node whose speaker restarts and for which this one answers.
    `hears` are the nodes with which it exchanges heartbeats both ways, `lans` those it hears on each LAN that it is
    in; `booting` says that it knows of no speaker that has run for long. `named` is, for some addresses that several
    others claim or ask for, the one of them whose claim holds: they may not hear each other. `behind` has whom it
    hears one way only, and what it passes on of those (`one_way`).

    Where `claims` is a PersistentMap, as in all that is sent and received, a change costs as much as what changes.
    """

    claims: Mapping[Address, Claim] = field(default_factory=dict)
    probed: frozenset[Address] = frozenset()
    helped: Mapping[Address, str] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    hears: frozenset[str] = frozenset()
    lans: Mapping[Subnet, frozenset[str]] = field(default_factory=dict)
    booting: bool = False
    named: Mapping[Address, str] = field(default_factory=dict)
    behind: Mapping[str, frozenset[str]] = field(default_factory=dict)


NOTHING = AdvertisedState()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece, `index` of `count`, of what leads from version `base` to `version`; base 0 is the empty state."""

    base: int
    version: int
    index: int
    count: int
    data: bytes


class SentState:
    """This node's own state, its version, and what has changed lately. Owned by one thread."""

    def __init__(self) -> None:
        self.version = 0
        self.state = NOTHING
        self._changes: deque[tuple[int, frozenset[Address], frozenset[_Record]]] = deque(maxlen=CHANGES_KEPT)
        self._chunks: dict[int, list[Chunk]] = {}

    def advertise(self, state: AdvertisedState) -> bool:
        """Make this the present state; return whether it differs from the one before."""
        if state == self.state:
            return False
        before, self.state = self.state, state
        changed = frozenset(changed_keys(before.claims, state.claims) | (before.probed ^ state.probed))
        records = frozenset(kind for kind in _WHOLE if _part(kind, state) != _part(kind, before))
        self.version += 1
        self._changes.append((self.version, changed, records))
        self._chunks.clear()
        return True

    def since(self, base: int) -> list[Chunk]:
        """Return what leads a listener from version `base` to the present one, or from nothing if that is unknown.

        Worked out once for all listeners that have the same version, and once for all whose version is unknown.
        """
        if base == self.version:
            return []
        first_kept = self._changes[0][0] if self._changes else self.version + 1
        if not first_kept <= base + 1 <= self.version:
            base = 0
        found = self._chunks.get(base)
        if found is None:
            found = self._chunks[base] = self._since(base)
        return found

    def _since(self, base: int) -> list[Chunk]:
        recent = [change for change in self._changes if change[0] > base]
        touched = {address for _, changed, _ in recent for address in changed}
        if base or self._changes[0][0] == 1:
            records = frozenset(kind for _, _, kinds in recent for kind in kinds)
        else:
            records = frozenset(_WHOLE)
            touched.update(self.state.claims, self.state.probed)
        entries = {address: _entry(self.state, address) for address in touched}
        data = _encode(self.state, records, entries)
        pieces = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)] or [b""]
        return [
            Chunk(base=base, version=self.version, index=index, count=len(pieces), data=piece)
            for index, piece in enumerate(pieces)
        ]


class ReceivedState:
    """Another node's state as far as it has arrived. Owned by one thread.

    What leads to a version names every address that was touched since the version before, of as many versions as a
    sender remembers: a claim that was made and given up meanwhile is noticed. With more in between it may not be
    (`missed`). Of the very next version all is known: what was only probed was never claimed.
    """

    def __init__(self) -> None:
        self.version = 0
        self.state = NOTHING
        self.let_go: frozenset[Address] = frozenset()
        """The addresses that the version taken last says are not claimed, and that were, or may have been, before."""
        self.missed = False
        """Whether there may be others: more versions came before the one taken last than are remembered."""
        self._collecting: tuple[int, int, int] = (0, 0, 0)
        self._pieces: dict[int, bytes] = {}

    def take(self, chunk: Chunk) -> bool:
        """Take in a chunk; return whether that completed a newer version. Raises MalformedState."""
        # What leads on from an older version names all that does from this one, as it is now.
        if chunk.version <= self.version or chunk.base > self.version:
            return False
        head = (chunk.base, chunk.version, chunk.count)
        if head != self._collecting:
            self._collecting, self._pieces = head, {}
        self._pieces[chunk.index] = chunk.data
        if len(self._pieces) < chunk.count:
            return False
        data = b"".join(self._pieces[index] for index in sorted(self._pieces))
        self._collecting, self._pieces = (0, 0, 0), {}
        before = self.state
        self.state, unclaimed = _decode(data, before if chunk.base else NOTHING)
        self.missed = 0 < self.version < chunk.version - CHANGES_KEPT
        if not chunk.base:
            unclaimed = unclaimed.union(before.claims.keys() - self.state.claims.keys())
        if chunk.version == self.version + 1:
            unclaimed = frozenset(address for address in unclaimed if address in before.claims)
        self.let_go = unclaimed
        self.version = chunk.version
        return True


_WHOLE = (
    _Record.LINKS,
    _Record.HEARS,
    _Record.FLAGS,
    _Record.HELPED,
    _Record.LANS,
    _Record.NAMED,
    _Record.BEHIND,
)
"""The records that are always sent whole."""


def _part(kind: _Record, state: AdvertisedState) -> object:
    if kind is _Record.LINKS:
        return state.links
    if kind is _Record.HEARS:
        return state.hears
    if kind is _Record.FLAGS:
        return state.booting
    if kind is _Record.LANS:
        return state.lans
    if kind is _Record.NAMED:
        return state.named
    if kind is _Record.BEHIND:
        return state.behind
    return state.helped


def _entry(state: AdvertisedState, address: Address) -> int:
    claim = state.claims.get(address)
    if claim is not None:
        return claim.term | (_OFFERED if claim.offered else 0) | (_APART if claim.apart else 0)
    return _PROBED if address in state.probed else _GONE


@lru_cache(maxsize=4096)
def _claim(code: int) -> Claim:
    return Claim(term=code & MAXIMUM_TERM, offered=bool(code & _OFFERED), apart=bool(code & _APART))


def _encode(state: AdvertisedState, records: frozenset[_Record], entries: Mapping[Address, int]) -> bytes:
    parts = []
    for kind in sorted(records):
        data = b"".join(_whole(kind, state))
        parts += [_RECORD.pack(kind, len(data)), data]
    for kind, (family, layout) in _ENTRIES.items():
        size = family.bits // 8
        data = b"".join(
            layout.pack(address.value.to_bytes(size, "big"), code)
            for address, code in entries.items()
            if address.family is family
        )
        if data:
            parts += [_RECORD.pack(kind, len(data)), data]
    return b"".join(parts)


def _whole(kind: _Record, state: AdvertisedState) -> Iterator[bytes]:
    if kind is _Record.LINKS:
        for link in state.links:
            flags = (_LOST if link.lost else 0) | (_DEFAULT_ROUTE if link.default_route else 0)
            flags |= 0 if link.ipv6 else _NO_IPV6
            flags |= _CUT_OFF if link.cut_off else 0
            name = link.name.encode()
            yield _LINK.pack(flags, link.mac, len(name), len(link.subnets), len(link.addresses)) + name
            yield from map(_subnet, link.subnets)
            yield from map(_address, link.addresses)
    elif kind is _Record.LANS:
        for subnet, nodes in state.lans.items():
            yield _subnet(subnet) + _NAME.pack(len(nodes))
            yield from map(_name, sorted(nodes))
    elif kind is _Record.BEHIND:
        for node, others in state.behind.items():
            yield _name(node) + _COUNT.pack(len(others))
            yield from map(_name, sorted(others))
    elif kind is _Record.HEARS:
        yield from map(_name, sorted(state.hears))
    elif kind is _Record.FLAGS:
        yield _FLAGS.pack(_BOOTING if state.booting else 0)
    else:
        for address, node in (state.named if kind is _Record.NAMED else state.helped).items():
            yield _address(address) + _name(node)


def _subnet(subnet: Subnet) -> bytes:
    size = subnet.family.bits // 8
    return _SUBNET.pack(size, subnet.length) + subnet.value.to_bytes(size, "big")


def _address(address: Address) -> bytes:
    size = address.family.bits // 8
    return _NAME.pack(size) + address.value.to_bytes(size, "big")


def _name(text: str) -> bytes:
    data = text.encode()
    return _NAME.pack(len(data)) + data


def _decode(data: bytes, before: AdvertisedState) -> tuple[AdvertisedState, frozenset[Address]]:
    """Apply the records to the state before; return the addresses, too, that they say are not claimed.

    Raises MalformedState.
    """
    links, hears, booting, helped = before.links, before.hears, before.booting, before.helped
    lans, named, behind = before.lans, before.named, before.behind
    entries: dict[Address, int] = {}
    try:
        reader = _Reader(data)
        while reader.left:
            kind, length = _RECORD.unpack(reader.bytes(_RECORD.size))
            record = _Reader(reader.bytes(length))
            if kind == _Record.LINKS:
                links = tuple(_links(record))
            elif kind == _Record.HEARS:
                hears = frozenset(_names(record))
            elif kind == _Record.FLAGS:
                (flags,) = _FLAGS.unpack(record.bytes(_FLAGS.size))
                booting = bool(flags & _BOOTING)
            elif kind == _Record.HELPED:
                helped = dict(_nodes_by_address(record))
            elif kind == _Record.NAMED:
                named = dict(_nodes_by_address(record))
            elif kind == _Record.LANS:
                lans = dict(_lans(record))
            elif kind == _Record.BEHIND:
                behind = dict(_behind(record))
            elif kind in _ENTRIES:
                family, layout = _ENTRIES[_Record(kind)]
                while record.left:
                    value, code = layout.unpack(record.bytes(layout.size))
                    entries[Address(family, int.from_bytes(value, "big"))] = code
    except (error, UnicodeDecodeError, KeyError) as problem:
        raise MalformedState(str(problem)) from None
    claimed = {address: _claim(code) for address, code in entries.items() if code != _GONE and not code & _PROBED}
    claims = before.claims if isinstance(before.claims, PersistentMap) else PersistentMap(before.claims)
    unclaimed = frozenset(entries.keys() - claimed.keys())
    claims = claims.updated(claimed, without=unclaimed)
    probed = before.probed
    if entries:
        asked = {address for address, code in entries.items() if code & _PROBED}
        probed = probed.difference(entries).union(asked)
    state = AdvertisedState(
        claims=claims,
        probed=probed,
        helped=helped,
        links=links,
        hears=hears,
        lans=lans,
        booting=booting,
        named=named,
        behind=behind,
    )
    return state, unclaimed


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def bytes(self, length: int) -> bytes:
        found = self._data[self._at : self._at + length]
        if len(found) < length:
            raise error("it ends too early")
        self._at += length
        return found


_FAMILIES = {family.bits // 8: family for family in Family}


def _links(record: _Reader) -> Iterator[Link]:
    while record.left:
        flags, mac, length, subnets, addresses = _LINK.unpack(record.bytes(_LINK.size))
        yield Link(
            name=record.bytes(length).decode(),
            mac=mac,
            lost=bool(flags & _LOST),
            cut_off=bool(flags & _CUT_OFF),
            subnets=tuple([_read_subnet(record) for _ in range(subnets)]),
            addresses=tuple([_read_address(record) for _ in range(addresses)]),
            default_route=bool(flags & _DEFAULT_ROUTE),
            ipv6=not flags & _NO_IPV6,
        )


def _read_subnet(record: _Reader) -> Subnet:
    size, prefix = _SUBNET.unpack(record.bytes(_SUBNET.size))
    family, value = _FAMILIES[size], int.from_bytes(record.bytes(size), "big")
    if prefix > family.bits or value & (1 << family.bits - prefix) - 1:
        raise error(f"a subnet of {family} with a prefix of {prefix} bits, and with bits after it")
    return Subnet(family, value, prefix)


def _read_address(record: _Reader) -> Address:
    size = record.bytes(1)[0]
    return Address(_FAMILIES[size], int.from_bytes(record.bytes(size), "big"))


def _lans(record: _Reader) -> Iterator[tuple[Subnet, frozenset[str]]]:
    while record.left:
        subnet = _read_subnet(record)
        yield subnet, frozenset([_read_name(record) for _ in range(record.bytes(1)[0])])


def _behind(record: _Reader) -> Iterator[tuple[str, frozenset[str]]]:
    while record.left:
        node = _read_name(record)
        (count,) = _COUNT.unpack(record.bytes(_COUNT.size))
        yield node, frozenset([_read_name(record) for _ in range(count)])


def _names(record: _Reader) -> Iterator[str]:
    while record.left:
        yield _read_name(record)


def _read_name(record: _Reader) -> str:
    return record.bytes(record.bytes(1)[0]).decode()


def _nodes_by_address(record: _Reader) -> Iterator[tuple[Address, str]]:
    while record.left:
        yield _read_address(record), _read_name(record)
