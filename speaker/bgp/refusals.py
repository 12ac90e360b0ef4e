"""What FRR refused, so that it is not sent again as it reads, and nothing else waits for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from allocator.bgp.command import Command, follow
from allocator.bgp.frr_config import Config, Key, Line, NetworkKey
from speaker.bgp.events import Rejected


class Refusals:
    """Refused lines, networks, and whole things. Belongs to one thread.

    A refused line of what runs stays as it was. A thing whose creation is refused is left out whole, and so is a new
    neighbour with any refused line: it would not be the session that was asked for.
    """

    def __init__(self) -> None:
        self._lines: dict[Key, tuple[Line | None, Rejected]] = {}
        self._things: dict[Key, tuple[Mapping[Key, Line], Rejected]] = {}
        self._networks: dict[NetworkKey, tuple[str | None, Rejected]] = {}

    def __bool__(self) -> bool:
        return bool(self._lines or self._things or self._networks)

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """How each was refused."""
        every = (*self._things.values(), *self._lines.values(), *self._networks.values())
        return tuple(rejected for _, rejected in every)

    def refuse(self, command: Command, wanted: Config, before: Config, rejected: Rejected) -> Key | None:
        """Note a refused command of the changes from `before`; return the thing that is left out, if one is."""
        if command.network is not None:
            self._networks[command.network] = wanted.networks.get(command.network), rejected
            return None
        thing = thing_of(command.key)
        # A router with another ASN was there before, and is created all the same.
        creates = not before.under(*thing) or (command.key == thing and not command.below)
        if creates and wanted.under(*thing):
            self._things[thing] = wanted.under(*thing), rejected
            return thing
        self._lines[command.key] = wanted.lines.get(command.key), rejected
        return None

    def forget(self, concerned: Callable[[Key], bool]) -> None:
        """Forget what was refused of a daemon that is another now; networks are bgpd's."""
        self._lines = {key: refused for key, refused in self._lines.items() if not concerned(key)}
        self._things = {key: refused for key, refused in self._things.items() if not concerned(key)}
        if concerned(("network",)):
            self._networks.clear()

    def leave_out(self, wanted: Config, present: Config) -> None:
        """Want at present what was refused; what reads otherwise by now is forgotten and sent again."""
        for thing, (lines, _) in list(self._things.items()):
            if wanted.under(*thing) == lines:
                wanted.leave(present, thing)
            else:
                del self._things[thing]
        for key, (line, _) in list(self._lines.items()):
            if line is not None and wanted.lines.get(key) == line and key == thing_of(key):
                # Without its first line nothing of it can be sent.
                wanted.leave(present, key)
            elif wanted.lines.get(key) == line and wanted.under(*thing_of(key)):
                follow(wanted.lines, key, present.lines)
            else:
                del self._lines[key]
        for network, (name, _) in list(self._networks.items()):
            if wanted.networks.get(network) == name and ("router", network[0]) in wanted.lines:
                follow(wanted.networks, network, present.networks)
            else:
                del self._networks[network]


def thing_of(key: Key) -> Key:
    """Return the key of what a line belongs to: a neighbour, an entry of a route-map, a profile, a router."""
    return key[: 3 if key[0] in ("neighbor", "route-map") else 2]
