"""What a speaker states about itself in its heartbeats: the addresses it announces and where it could.

A statement has a version, and only what changed since the version a peer already has is sent to it. However long,
it is cut into chunks that each fit into a heartbeat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import Struct, error

from allocator.core.addresses import Address, Family

CHUNK_BYTES = 800
_CHANGES_KEPT = 256
_COUNT = Struct("!H")
_LINK = Struct("!B6sB")
_ENTRIES = Struct("!I")
_V4 = Struct("!4sI")
_V6 = Struct("!16sI")
_LOST = 1
_GONE = 0
_ASKED = 2**32 - 1
"""Instead of a term."""


class MalformedStatement(ValueError):
    """Chunks that do not add up to a statement."""


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Link:
    """An interface of the node that can announce, or (`lost`) that could until its carrier or the link went."""

    name: str
    mac: bytes
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The addresses a node announces, each with the term of its claim (from 1), and the node's interfaces.

    `asked` are those it has won and does not answer for: the LAN is being asked, or another host has them.
    `lenders` names, for some of those it claims, the node whose speaker is away and for which this one stands in.
    """

    claims: Mapping[Address, int] = field(default_factory=dict)
    asked: frozenset[Address] = frozenset()
    lenders: Mapping[Address, str] = field(default_factory=dict)
    links: tuple[Link, ...] = ()

    def has(self, address: Address) -> bool:
        """Tell whether the node knows that the address is for it to announce."""
        return address in self.claims or address in self.asked


NOTHING = Statement()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece, `index` of `count`, of what leads from version `base` to `version`; base 0 is the empty statement."""

    base: int
    version: int
    index: int
    count: int
    data: bytes


class Spoken:
    """This node's own statement, its version, and what has changed lately. Owned by one thread."""

    def __init__(self) -> None:
        self.version = 0
        self.statement = NOTHING
        self._entries: Mapping[Address, int] = {}
        self._changes: deque[tuple[int, frozenset[Address]]] = deque(maxlen=_CHANGES_KEPT)

    def state(self, statement: Statement) -> bool:
        """Make this the present statement; tell whether it differs from the one before."""
        if statement == self.statement:
            return False
        old, new = self._entries, _entries(statement)
        changed = frozenset(each for each in old.keys() | new.keys() if old.get(each) != new.get(each))
        self.version += 1
        self.statement, self._entries = statement, new
        self._changes.append((self.version, changed))
        return True

    def since(self, base: int) -> list[Chunk]:
        """Return what leads a listener from version `base` to the present one, or from nothing if that is unknown."""
        first_kept = self._changes[0][0] if self._changes else self.version + 1
        if base == self.version:
            return []
        entries = self._entries
        if first_kept <= base + 1 <= self.version:
            touched = {address for version, changed in self._changes if version > base for address in changed}
            entries = {address: self._entries.get(address, _GONE) for address in touched}
        else:
            base = 0
        data = _encode(self.statement, entries)
        pieces = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
        return [
            Chunk(base=base, version=self.version, index=index, count=len(pieces), data=piece)
            for index, piece in enumerate(pieces)
        ]


class Heard:
    """Another node's statement as far as it has arrived. Owned by one thread."""

    def __init__(self) -> None:
        self.version = 0
        self.statement = NOTHING
        self._collecting: tuple[int, int, int] = (0, 0, 0)
        self._pieces: dict[int, bytes] = {}

    def take(self, chunk: Chunk) -> bool:
        """Take in a chunk; tell whether that completed a newer version. Raises MalformedStatement."""
        if chunk.version <= self.version or chunk.base not in (0, self.version):
            return False
        head = (chunk.base, chunk.version, chunk.count)
        if head != self._collecting:
            self._collecting, self._pieces = head, {}
        self._pieces[chunk.index] = chunk.data
        if len(self._pieces) < chunk.count:
            return False
        links, lenders, entries = _decode(b"".join(self._pieces[index] for index in sorted(self._pieces)))
        self._collecting, self._pieces = (0, 0, 0), {}
        if chunk.base:
            entries = _entries(self.statement) | entries
        self.statement = Statement(
            claims={each: term for each, term in entries.items() if term not in (_GONE, _ASKED)},
            asked=frozenset(each for each, term in entries.items() if term == _ASKED),
            lenders=lenders,
            links=links,
        )
        self.version = chunk.version
        return True


def _entries(statement: Statement) -> dict[Address, int]:
    return dict.fromkeys(statement.asked, _ASKED) | dict(statement.claims)


def _encode(statement: Statement, entries: Mapping[Address, int]) -> bytes:
    """Write the links and the lenders, always whole, and of the addresses the entries."""
    parts = [_COUNT.pack(len(statement.links))]
    for link in statement.links:
        name = link.name.encode()
        parts += [_LINK.pack(_LOST if link.lost else 0, link.mac, len(name)), name]
    lenders = sorted(set(statement.lenders.values()))
    parts.append(_COUNT.pack(len(lenders)))
    for lender in lenders:
        name = lender.encode()
        parts += [_COUNT.pack(len(name)), name]
        parts += _write({each: 1 for each, node in statement.lenders.items() if node == lender})
    return b"".join([*parts, *_write(entries)])


def _write(entries: Mapping[Address, int]) -> list[bytes]:
    parts = []
    for family, layout in ((Family.IPV4, _V4), (Family.IPV6, _V6)):
        these = [(address.value, term) for address, term in entries.items() if address.family is family]
        parts.append(_ENTRIES.pack(len(these)))
        parts += [layout.pack(value.to_bytes(family.bits // 8, "big"), term) for value, term in these]
    return parts


def _decode(data: bytes) -> tuple[tuple[Link, ...], dict[Address, str], dict[Address, int]]:
    try:
        (count,) = _COUNT.unpack_from(data)
        at = _COUNT.size
        links = []
        for _ in range(count):
            flags, mac, length = _LINK.unpack_from(data, at)
            at += _LINK.size
            links.append(Link(name=data[at : at + length].decode(), mac=mac, lost=bool(flags & _LOST)))
            at += length
        lenders: dict[Address, str] = {}
        (count,) = _COUNT.unpack_from(data, at)
        at += _COUNT.size
        for _ in range(count):
            (length,) = _COUNT.unpack_from(data, at)
            at += _COUNT.size
            lender = data[at : at + length].decode()
            lent, at = _read(data, at + length)
            lenders.update(dict.fromkeys(lent, lender))
        entries, _ = _read(data, at)
    except (error, UnicodeDecodeError) as problem:
        raise MalformedStatement(str(problem)) from None
    return tuple(links), lenders, entries


def _read(data: bytes, at: int) -> tuple[dict[Address, int], int]:
    entries = {}
    for family, layout in ((Family.IPV4, _V4), (Family.IPV6, _V6)):
        (count,) = _ENTRIES.unpack_from(data, at)
        at += _ENTRIES.size
        for _ in range(count):
            value, term = layout.unpack_from(data, at)
            at += layout.size
            entries[Address(family, int.from_bytes(value, "big"))] = term
    return entries, at
