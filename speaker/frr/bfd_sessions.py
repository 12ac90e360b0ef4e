"""BFD sessions that get lost when zebra is started anew.

bgpd names its sessions to bfdd by way of zebra. When bfdd finds a new zebra it has forgotten them, and asks for them
(ZEBRA_BFD_DEST_REPLAY). Where bgpd finds zebra later, it is not asked: bgpd of 10.3 takes its sessions for up for as
long as BGP is down, and a router that waits for BFD, as FRR 10.3 does, refuses BGP. bfdd asks again when it starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from speaker.bgp.vty import Vty

_CLIENTS = frozenset({"bgp", "bfd"})


def lost(sockets: Path) -> bool | None:
    """Return whether bfdd lacks sessions that bgpd has; None while one of them has not found zebra yet.

    Raises VtyError, and ValueError for an answer that is none.
    """
    clients = {line.split()[0] for line in _ask(sockets, "zebra", "show zebra client summary").splitlines() if line}
    if not clients >= _CLIENTS:
        return None
    wanted = sum("peerBfdInfo" in each for each in _neighbors(sockets))
    return len(json.loads(_ask(sockets, "bfdd", "show bfd peers json"))) < wanted


def _neighbors(sockets: Path) -> Iterator[dict[str, Any]]:
    for vrf in json.loads(_ask(sockets, "bgpd", "show bgp vrf all neighbors json")).values():
        yield from (each for each in vrf.values() if isinstance(each, dict))


def _ask(sockets: Path, daemon: str, command: str) -> str:
    with closing(Vty(sockets / f"{daemon}.vty")) as vty:
        return vty.run(command).text
