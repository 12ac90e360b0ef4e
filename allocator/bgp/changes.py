"""From one configuration to another: the least commands, in an order in which no step does harm.

New route-maps come before the prefixes that use them, prefixes before neighbours (what comes up announces all at
once), and what is no longer used goes last. Each command says what it does to sessions: FRR resets a session at some
edits of its neighbour or router, which is measured, not documented, and the same in 8.4 and 10.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from allocator.bgp.command import Command, Reset, apply, bfdd, bgpd, network
from allocator.bgp.frr_config import BFD_DEFAULTS, Config, Key, NetworkKey, grouped
from allocator.bgp.neighbor_changes import neighbor_changes

RESETS_ROUTER = frozenset({"bgp router-id"})
"""The settings of a router that reset all its sessions."""


def changes(
    present: Config,
    wanted: Config,
    touched: Iterable[NetworkKey] | None = None,
    *,
    moved: Mapping[Key, str] = MappingProxyType({}),
) -> list[Command]:
    """Return the commands that turn one configuration into the other.

    `touched` are the networks to look at; None means all. `moved` are neighbours whose peer is another neighbour now,
    and what of it has changed.
    """
    commands = list(_routers_to_remove(present, wanted, moved))
    if commands:
        present = present.copy()
        for command in commands:
            apply(present, command, wanted)
        touched = None
    if touched is None:
        touched = present.networks.keys() | wanted.networks.keys()
    if present.lines != wanted.lines:
        commands += _global_lines(present, wanted)
        commands += _profiles(present, wanted)
        commands += _route_map_entries(present, wanted)
        commands += _routers(present, wanted)
        commands += _networks(present, wanted, touched)
        commands += neighbor_changes(present, wanted, moved)
        commands += _removed_route_maps(present, wanted)
        commands += _removed_profiles(present, wanted)
    else:
        commands += _networks(present, wanted, touched)
    return commands


def _sessions_of(
    config: Config, vrf: str, reason: str, moved: Mapping[Key, str] = MappingProxyType({})
) -> tuple[Reset, ...]:
    """Return what ends when a router does; a session that is shut down is none."""
    neighbors = grouped(config.lines, "neighbor", 3)
    return tuple(
        Reset(vrf, key[2], moved.get(key, reason))
        for key, settings in neighbors.items()
        if key[1] == vrf and ("shutdown",) not in settings
    )


def _routers_to_remove(present: Config, wanted: Config, moved: Mapping[Key, str]) -> Iterator[Command]:
    for key, line in present.lines.items():
        if key[0] != "router" or len(key) != 2 or wanted.lines.get(key) == line:
            continue
        reason = "myASN changed" if key in wanted.lines else "removed"
        resets = _sessions_of(present, key[1], reason, moved)
        yield bgpd((), f"no {line}", key, below=True, resets=resets)


def _global_lines(present: Config, wanted: Config) -> Iterator[Command]:
    for key, line in wanted.lines.items():
        if key[0] == "global" and present.lines.get(key) != line:
            yield bgpd((), str(line), key)


def _profiles(present: Config, wanted: Config) -> Iterator[Command]:
    before = grouped(present.lines, "bfd", 2)
    for profile, settings in grouped(wanted.lines, "bfd", 2).items():
        old = before.get(profile, {})
        if old == settings:
            continue
        create = str(wanted.lines[profile])
        if not old:
            yield bfdd(("bfd",), create, profile)
        for setting in old.keys() - settings.keys():
            name = setting[0]
            text = f"{name} {BFD_DEFAULTS[name]}" if name in BFD_DEFAULTS else f"no {name}"
            yield bfdd(("bfd", create), text, (*profile, *setting))
        for setting, line in settings.items():
            if setting and old.get(setting) != line:
                text = str(line)
                yield bfdd(("bfd", create), text, (*profile, *setting))


def _removed_profiles(present: Config, wanted: Config) -> Iterator[Command]:
    for key, line in present.lines.items():
        if key[0] == "bfd" and len(key) == 2 and key not in wanted.lines:
            text = f"no {line}"
            yield bfdd(("bfd",), text, key, below=True)


def _route_map_entries(present: Config, wanted: Config) -> Iterator[Command]:
    before = grouped(present.lines, "route-map", 3)
    for entry, commands in grouped(wanted.lines, "route-map", 3).items():
        old = before.get(entry, {})
        if old == commands:
            continue
        create = f"route-map {entry[1]} {commands[()]} {entry[2]}"
        if old.keys() - commands.keys():
            # FRR 8.4 does not take every `no set ...`. Only an entry of a session that is reset anyway loses lines.
            yield bgpd((), f"no route-map {entry[1]} {old[()]} {entry[2]}", entry, below=True)
            old = {}
        if old.get(()) != commands[()]:
            yield bgpd((), create, entry)
        for command, line in commands.items():
            if command and old.get(command) != line:
                yield bgpd((create,), str(line), (*entry, *command))


def _removed_route_maps(present: Config, wanted: Config) -> Iterator[Command]:
    kept = {key[1] for key in wanted.lines if key[0] == "route-map"}
    gone: set[str] = set()
    for key, action in present.lines.items():
        if key[0] != "route-map" or len(key) != 3 or key in wanted.lines:
            continue
        if key[1] in kept:
            yield bgpd((), f"no route-map {key[1]} {action} {key[2]}", key, below=True)
        elif key[1] not in gone:
            gone.add(key[1])
            yield bgpd((), f"no route-map {key[1]}", key[:2], below=True)


def _routers(present: Config, wanted: Config) -> Iterator[Command]:
    before = grouped(present.lines, "router", 2)
    for router, settings in grouped(wanted.lines, "router", 2).items():
        old = before.get(router, {})
        line = str(settings[()])
        if not old:
            yield bgpd((), line, router)
        for setting in old.keys() - settings.keys():
            yield bgpd(
                (line,), f"no {old[setting]}", (*router, *setting), resets=_router_resets(present, router, setting)
            )
        for setting, text in settings.items():
            if setting and old.get(setting) != text:
                yield bgpd((line,), str(text), (*router, *setting), resets=_router_resets(present, router, setting))


def _router_resets(present: Config, router: Key, setting: Key) -> tuple[Reset, ...]:
    if setting[0] not in RESETS_ROUTER:
        return ()
    return _sessions_of(present, router[1], f"{setting[0].removeprefix('bgp ')} changed")


def _networks(present: Config, wanted: Config, touched: Iterable[NetworkKey]) -> Iterator[Command]:
    changed = sorted(key for key in touched if present.networks.get(key) != wanted.networks.get(key))
    for key in changed:
        if (name := wanted.networks.get(key)) is not None:
            yield network(wanted, key, f"network {key[1]} route-map {name}")
    for key in changed:
        if key not in wanted.networks:
            yield network(wanted, key, f"no network {key[1]}")
