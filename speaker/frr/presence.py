"""Who listens on and who is connected to unix sockets on this node, as /proc/net/unix says it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc/net/unix")
"""Of the network namespace, and thus of the whole node for a Pod in its node's network."""

_LISTENING = 0x10000
"""__SO_ACCEPTCON of linux/net.h."""
_CONNECTED = "03"
"""SS_CONNECTED of linux/net.h. Of a connection the end that was accepted carries the listener's path."""

_OTHERS_SOCKETS = ("zserv.api", "zebra.vty", "bgpd.vty")


def connections(table: str, path: Path) -> frozenset[str]:
    """Return the connections to a socket, each by its inode."""
    return frozenset(inode for _, state, inode, name in _rows(table) if name == str(path) and state == _CONNECTED)


def other_frr(table: str, sockets: Path) -> list[str]:
    """Return the sockets of FRR daemons that listen elsewhere than in `sockets`."""
    return sorted(
        {
            name
            for flags, _, _, name in _rows(table)
            if flags & _LISTENING and Path(name).name in _OTHERS_SOCKETS and Path(name).parent != sockets
        }
    )


class SpeakerPresence:
    """Since when nobody has been connected to bgpd for longer than between two looks.

    A speaker's connection lasts; one that was there at a single look is somebody's question, or the supervisor's own.
    """

    def __init__(self, path: Path, now: float) -> None:
        self._path = path
        self._seen: frozenset[str] = frozenset()
        self.since = now
        """When a speaker was last there, or the start; monotonic seconds."""

    def look(self, table: str, now: float) -> bool:
        """Take in a fresh table; tell whether a speaker is there."""
        seen = connections(table, self._path)
        present = bool(seen & self._seen)
        self._seen = seen
        if present:
            self.since = now
        return present


def _rows(table: str) -> Iterator[tuple[int, str, str, str]]:
    """Yield flags, state, inode and path of each socket that has a path."""
    for line in table.splitlines()[1:]:
        # Num RefCount Protocol Flags Type St Inode Path; a path may contain blanks.
        fields = line.split(maxsplit=7)
        if len(fields) == 8:
            yield int(fields[3], 16), fields[5], fields[6], fields[7]
