"""What stays as it runs while a reset of sessions waits: the setting that needs the reset, and nothing else.

Prefixes go out all the same, to the sessions that there are, with what runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from allocator.bgp.changes import changes
from allocator.bgp.command import Command, Reset, follow
from allocator.bgp.frr_config import Config, Key, NetworkKey, out_map_name

_PREPEND = "set as-path prepend"


def permitted_changes(
    present: Config,
    wanted: Config,
    touched: Iterable[NetworkKey] | None,
    may_reset: Callable[[Reset], bool],
    *,
    moved: Mapping[Key, str] = MappingProxyType({}),
) -> tuple[list[Command], tuple[Reset, ...]]:
    """Return the commands towards what is wanted that reset no session but those that may be, and the other resets.

    In `wanted` is left afterwards what the commands lead to. `touched` and `moved` are those of `changes`.
    """
    withheld: dict[Reset, None] = {}
    while True:
        commands = changes(present, wanted, touched, moved=moved)
        waiting = [(command, reset) for command in commands for reset in command.resets if not may_reset(reset)]
        if not waiting:
            return commands, tuple(withheld)
        for command, reset in waiting:
            withheld[reset] = None
            _withhold(wanted, present, command)


def _withhold(wanted: Config, present: Config, command: Command) -> None:
    """Want at present what a command sets that resets sessions."""
    if command.key[0] == "neighbor":
        _keep_neighbor(wanted, present, command.key[:3])
    elif command.below:
        _keep_router(wanted, present, command.key[1])
    else:
        follow(wanted.lines, command.key, present.lines)


def _keep_router(wanted: Config, present: Config, vrf: str) -> None:
    """Keep a router that is to have another ASN. FRR makes it anew for that, with all of its sessions.

    A new neighbour waits as well: its router would refuse the ASN that runs, and stay away for a minute.
    """
    follow(wanted.lines, ("router", vrf), present.lines)
    for neighbor in {key[:3] for key in wanted.under("neighbor", vrf)}:
        if present.under(*neighbor):
            _keep_neighbor(wanted, present, neighbor)
        else:
            wanted.remove(neighbor)


def _keep_neighbor(wanted: Config, present: Config, neighbor: Key) -> None:
    """Keep a neighbour, but for a shutdown: what ends permanently waits for nobody."""
    shutdown = {key: line for key, line in wanted.under(*neighbor).items() if key[3:] == ("shutdown",)}
    wanted.leave(present, neighbor)
    wanted.lines |= shutdown
    _prepend_as_present(wanted, present, neighbor)


def _prepend_as_present(wanted: Config, present: Config, neighbor: Key) -> None:
    """Prepend the ASN that a session goes by, also where an entry of its route-map is new."""
    _, vrf, name = neighbor
    out_map = out_map_name(vrf, name)
    own = str(present.lines.get((*neighbor, "local-as"), present.lines["router", vrf])).split()
    asn = own[1] if own[0] == "local-as" else own[2]
    internal = str(present.lines[*neighbor, "remote-as"]).split()[-1] in ("internal", asn)
    for key in [*present.under("route-map", out_map), *wanted.under("route-map", out_map)]:
        if key[3:] != (_PREPEND,):
            continue
        if key[:3] in present.lines:
            follow(wanted.lines, key, present.lines)
        elif internal:
            del wanted.lines[key]
        else:
            times = len(str(wanted.lines[key]).split()) - len(_PREPEND.split())
            wanted.lines[key] = f"{_PREPEND} {' '.join([asn] * times)}"
