"""Noticing that the API server's state went back in time: etcd was restored in place from an older snapshot.

Watches do not show it. A watch that goes on from a version the restored server has not reached yet stays silent until
that server has, and what a process remembers is then of another state: objects that are not there, versions that
are newer than the stored ones. The versions of one object only ever grow, so that one read whose version is lower
than one read before is proof. The object is a Lease that is written every second: between a snapshot and its
restore it always changed.
"""

from __future__ import annotations

from allocator.kube.client import Object


class Rewound(Exception):
    """The cluster's state is older than what this process has seen of it: it must start afresh."""


class History:
    """The newest version read of one object, or of one kind's list.

    Belongs to one thread, whose reads are quorum reads and come in order.
    """

    def __init__(self) -> None:
        self._newest = 0

    def check(self, stored: Object) -> None:
        """Take in the object or the list as just read or written. Raises Rewound."""
        version = int(stored["metadata"]["resourceVersion"])
        check_version(str(stored["metadata"].get("name") or stored.get("kind")), version, before=self._newest)
        self._newest = version


def check_version(name: str, version: int, *, before: int) -> None:
    """Raise Rewound where what was at `before` when it was last read is at a lower version now."""
    if version < before:
        raise Rewound(
            f"{name} is at resourceVersion {version}, and was at {before} before: etcd was restored from an older "
            "snapshot"
        )
