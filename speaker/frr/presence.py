"""Whether a speaker is connected to this node's bgpd, and whether another FRR is on the node."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from speaker.frr.unix_sockets import ENCODING, UnixSocket

_OTHERS_SOCKETS = ("zserv.api", "zebra.vty", "bgpd.vty")


def connections(found: Iterable[UnixSocket], path: Path, owned: Collection[int] | None) -> frozenset[int]:
    """Return the connections to a socket, each by its inode: only those of `owned`, which None does not restrict.

    Every Pod in the node's network can have a socket whose path reads like ours, in its own file system.
    """
    ours = os.fsencode(path).decode(ENCODING)
    return frozenset(
        each.inode
        for each in found
        if each.path == ours and not each.listening and (owned is None or each.inode in owned)
    )


def other_frr(found: Iterable[UnixSocket], sockets: Path) -> list[str]:
    """Return the sockets of FRR daemons that listen elsewhere than in `sockets`."""
    return sorted(
        {
            each.path
            for each in found
            if each.listening and Path(each.path).name in _OTHERS_SOCKETS and Path(each.path).parent != sockets
        }
    )


class SpeakerPresence:
    """Since when nobody has been connected to bgpd for longer than between two looks.

    A speaker's connection lasts; one that was there at a single look is somebody's question, or the supervisor's own.
    """

    def __init__(self, now: float) -> None:
        self._seen: frozenset[int] = frozenset()
        self.since = now
        """When a speaker was last there, or the start; monotonic seconds."""

    def look(self, seen: frozenset[int], now: float) -> bool:
        """Take in the connections that there are; return whether one is a speaker's."""
        present = bool(seen & self._seen)
        self._seen = seen
        if present:
            self.since = now
        return present
