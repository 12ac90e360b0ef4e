"""Who listens on and who is connected to unix sockets on this node, as /proc/net/unix says it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc/net/unix")
"""Of the network namespace, and thus of the whole node for a Pod in its node's network."""

_ENCODING = "latin-1"
"""Any byte is a character of it: what programs call their sockets is up to them."""

_LISTENING = 0x10000
"""__SO_ACCEPTCON of linux/net.h."""
_CONNECTED = "03"
"""SS_CONNECTED of linux/net.h. Of a connection the end that was accepted carries the listener's path."""

_ROW = re.compile(
    # Num: RefCount Protocol Flags Type St Inode Path (net/unix/af_unix.c unix_seq_show); a path may contain blanks.
    r"[0-9a-f]{8,16}: [0-9A-F]{8} 00000000 (?P<flags>[0-9A-F]{8}) [0-9A-F]{4} (?P<state>[0-9A-F]{2}) +"
    r"(?P<inode>[0-9]{1,20}) (?P<path>.+)",
    re.DOTALL,
)
_OTHERS_SOCKETS = ("zserv.api", "zebra.vty", "bgpd.vty")


def read_table() -> str:
    """Return /proc/net/unix, in which names of sockets are any bytes. Raises OSError."""
    return PROC.read_bytes().decode(_ENCODING)


def connections(table: str, path: Path) -> frozenset[str]:
    """Return the connections to a socket, each by its inode."""
    ours = os.fsencode(path).decode(_ENCODING)
    return frozenset(
        inode
        for flags, state, inode, name in _rows(table)
        if name == ours and state == _CONNECTED and not flags & _LISTENING
    )


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
        """Take in a fresh table; return whether a speaker is there."""
        seen = connections(table, self._path)
        present = bool(seen & self._seen)
        self._seen = seen
        if present:
            self.since = now
        return present


def _rows(table: str) -> Iterator[tuple[int, str, str, str]]:
    """Yield flags, state, inode and path of each socket that has a path.

    The kernel writes names as they are: one with a line break ends its row early, and what follows is no row unless
    it is made to look like one.
    """
    for line in table.split("\n"):
        if row := _ROW.fullmatch(line):
            yield int(row["flags"], 16), row["state"], row["inode"], row["path"]
