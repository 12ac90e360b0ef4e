"""Which version of each claim is known, so that an answer that comes late does not replace what is newer."""

from __future__ import annotations

from allocator.core.addresses import Address

TOMBSTONES = 10_000
"""How many deleted claims are remembered; an answer that is overtaken by its own deletion is seconds old."""


class ClaimVersions:
    """The newest version known of each claim, of deleted ones too. Not locked: its owner serialises access."""

    def __init__(self) -> None:
        self._stored: dict[Address, int] = {}
        self._deleted: dict[Address, int] = {}
        """The latest deletion last."""

    def advance(self, address: Address, version: int) -> bool:
        """Take in a version as stored; return whether it is newer than what is known, a deletion included."""
        if version <= max(self._stored.get(address, 0), self._deleted.get(address, 0)):
            return False
        self._stored[address] = version
        return True

    def delete(self, address: Address, version: int) -> None:
        """Take in that the claim was gone at a version."""
        self._stored.pop(address, None)
        self._deleted[address] = max(version, self._deleted.pop(address, 0))
        if len(self._deleted) > TOMBSTONES:
            del self._deleted[next(iter(self._deleted))]
