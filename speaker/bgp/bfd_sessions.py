"""What bfdd says of its sessions and counts about them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from typing import Any

from allocator.bgp.command import Daemon
from allocator.process.logs import EventLog
from speaker.bgp.vty import Reply

log = EventLog("bgp")

ANSWER_SECONDS = 2.0
"""How long bfdd is waited for: it has its turn after the changes that FRR is being sent."""
_PEERS, _COUNTERS = "show bfd peers json", "show bfd peers counters json"

Ask = Callable[[Daemon, str], Future[Reply]]


@dataclass(frozen=True, slots=True)
class BfdSession:
    """One BFD session; `vrf` is `default` for the default one. `counts` by bfdd's names: control-packet-input, ..."""

    peer: str
    vrf: str
    up: bool
    counts: Mapping[str, int]


def bfd_sessions(ask: Ask) -> list[BfdSession]:
    """Return bfdd's sessions; none where it does not answer. Waits for twice ANSWER_SECONDS at most."""
    try:
        peers, counters = (_answer(ask, command) for command in (_PEERS, _COUNTERS))
    except (OSError, ValueError, Late) as error:
        log.debug("bfd.unread", error=error)
        return []
    counted = {_of(each): each for each in counters}
    return [
        BfdSession(*_of(each), each.get("status") == "up", _numbers(counted.get(_of(each), {}))) for each in peers
    ]


def _answer(ask: Ask, command: str) -> list[Mapping[str, Any]]:
    found = json.loads(ask(Daemon.BFDD, command).result(ANSWER_SECONDS).text or "[]")
    if not isinstance(found, list):
        raise ValueError(f"the answer to {command} is no list")
    return list(_objects(found))


def _objects(found: list[Any]) -> Iterator[Mapping[str, Any]]:
    return (each for each in found if isinstance(each, dict) and "peer" in each)


def _of(said: Mapping[str, Any]) -> tuple[str, str]:
    return str(said["peer"]), str(said.get("vrf") or "default")


def _numbers(said: Mapping[str, Any]) -> dict[str, int]:
    return {name: value for name, value in said.items() if isinstance(value, int) and not isinstance(value, bool)}
