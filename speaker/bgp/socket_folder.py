"""Whether FRR's sockets can be used: the folder is the host's, shown to two Pods that have one group in common."""

from __future__ import annotations

import os
from pathlib import Path


def problem(socket: Path) -> str:
    """Return what keeps this process from a daemon's socket, with the remedy; empty where nothing is known to."""
    folder = socket.parent
    if not folder.is_dir():
        return f"{folder} is not there: does a Pod of the DaemonSet frr run on this node, and show it as well?"
    for path, needed in ((folder, os.X_OK), (socket, os.W_OK)):
        if path.exists() and not os.access(path, needed):
            groups = ", ".join(map(str, sorted({os.getegid(), *os.getgroups()})))
            return (
                f"{path} is of the group {path.stat().st_gid}, and this process of {groups}: give the Pods of the "
                "speaker and of frr the same number in securityContext.supplementalGroups"
            )
    return ""
