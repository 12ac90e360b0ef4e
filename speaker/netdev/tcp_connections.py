"""The TCP connections of this network namespace that are established, as the kernel lists them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from allocator.core.addresses import Address, Family

_ESTABLISHED = "01"
_MAPPED = 0xFFFF << 32
"""::ffff:0:0/96, for IPv4 of a socket that takes both families (RFC 4291)."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Both ends of a connection; that of a listener for both families over IPv4 is IPv4."""

    local: Address
    local_port: int
    remote: Address
    remote_port: int


def established(remotes: Iterable[Address], *, folder: Path = Path("/proc/thread-self/net")) -> frozenset[Connection]:
    """Return the established connections with any of these hosts; nobody may see whose they are. Raises OSError."""
    wanted = {form for remote in remotes for form in _forms(remote)}
    if not wanted:
        return frozenset()
    found: set[Connection] = set()
    for name in ("tcp", "tcp6"):
        try:
            text = (folder / name).read_text()
        except FileNotFoundError:
            continue  # a kernel without IPv6
        found.update(_of_those(text, wanted))
    return frozenset(found)


def _of_those(text: str, wanted: set[str]) -> Iterator[Connection]:
    for line in text.splitlines()[1:]:
        words = line.split(maxsplit=4)
        if len(words) > 3 and words[3] == _ESTABLISHED and words[2].partition(":")[0] in wanted:
            yield Connection(*_end(words[1]), *_end(words[2]))


def _forms(address: Address) -> tuple[str, ...]:
    """How the kernel writes an address: in words of 32 bits of the host's byte order."""
    if address.family is Family.IPV4:
        return (_hex(address.value.to_bytes(4)), _hex((_MAPPED | address.value).to_bytes(16)))
    return (_hex(address.value.to_bytes(16)),)


def _hex(packed: bytes) -> str:
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))


def _end(text: str) -> tuple[Address, int]:
    written, _, port = text.partition(":")
    words = [int(written[start : start + 8], 16) for start in range(0, len(written), 8)]
    value = int.from_bytes(struct.pack(f"={len(words)}I", *words))
    if len(words) == 1:
        return Address(Family.IPV4, value), int(port, 16)
    if value >> 32 == 0xFFFF:
        return Address(Family.IPV4, value & 0xFFFFFFFF), int(port, 16)
    return Address(Family.IPV6, value), int(port, 16)
