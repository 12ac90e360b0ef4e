"""From the neighbours of one configuration to those of another, and what each step does to their sessions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from allocator.bgp.command import HIDDEN, Command, Reset, bgpd
from allocator.bgp.frr_config import Config, Key, Line, family_context, grouped, router_line
from allocator.bgp.inputs import Password
from allocator.core.addresses import Family

_SESSION_ORDER = (
    "remote-as",
    "description",
    "port",
    "timers",
    "timers connect",
    "local-as",
    "password",
    "update-source",
    "ebgp-multihop",
    "ttl-security",
    "disable-connected-check",
    "graceful-restart",
    "bfd",
    "bfd profile",
    "shutdown",
    "route-map in",
    "route-map out",
    "activate",
)

RESETS_WHEN_SET = frozenset(
    {
        "remote-as",
        "port",
        "local-as",
        "password",
        "update-source",
        "ebgp-multihop",
        "ttl-security",
        "disable-connected-check",
        "graceful-restart",
        "shutdown",
        "activate",
    }
)
"""The settings of a neighbour that reset its session where they are set or become others."""

RESETS_WHEN_REMOVED = (RESETS_WHEN_SET - {"shutdown"}) | {"bfd"}


def neighbor_changes(present: Config, wanted: Config, moved: Mapping[Key, str]) -> Iterator[Command]:
    """Return the commands for neighbours: first for those that go, as `moved` do, whose peer is another neighbour."""
    before = grouped(present.lines, "neighbor", 3)
    now = grouped(wanted.lines, "neighbor", 3)
    for neighbor, old in before.items():
        if neighbor not in now:
            yield _removed_neighbor(wanted, neighbor, old, reason=moved.get(neighbor, "removed"))
    for neighbor, settings in now.items():
        if before.get(neighbor) != settings:
            yield from _changed_neighbor(wanted, neighbor, before.get(neighbor, {}), settings)


def _removed_neighbor(wanted: Config, neighbor: Key, old: Mapping[Key, Line], *, reason: str) -> Command:
    """Return the command that removes a neighbour with these settings."""
    _, vrf, name = neighbor
    interface = " interface" if str(old.get(("remote-as",), "")).startswith("interface") else ""
    return bgpd(
        (router_line(wanted, vrf),),
        f"no neighbor {name}{interface}",
        neighbor,
        below=True,
        resets=() if ("shutdown",) in old else (Reset(vrf, name, reason),),
    )


def _changed_neighbor(
    wanted: Config, neighbor: Key, old: Mapping[Key, Line], settings: Mapping[Key, Line]
) -> Iterator[Command]:
    """Return the commands for one neighbour.

    It dials as soon as FRR knows its ASN, and a router that meets a half configured session refuses it and stays away
    for a minute. So a new one is shut down in the same breath, and one with several resetting edits meanwhile.
    """
    vrf, name = neighbor[1:]
    context = (router_line(wanted, vrf),)
    runs = bool(old) and _SHUTDOWN not in old
    shutdown = f"neighbor {name} shutdown"
    commands = list(_settings(wanted, neighbor, old, settings))
    resetting = [command for command in commands if command.resets]
    # 8.4 leaves a session as it is at this one, and asks for a reset.
    leaves_it = any(command.key[3:] == ("graceful-restart",) for command in resetting)
    held = runs and (len(resetting) > 1 or leaves_it) and _SHUTDOWN not in settings
    if held:
        reasons = ", ".join(reset.reason for command in resetting for reset in command.resets)
        yield bgpd(context, shutdown, (*neighbor, *_SHUTDOWN), resets=(Reset(vrf, name, reasons),))
    ends = runs and _SHUTDOWN in settings
    if ends:
        # First, and permanently: what is set after it resets nothing, and waits for nobody.
        commands.sort(key=lambda command: command.key[3:] != _SHUTDOWN)
    for command in commands:
        if command.key[3:] == ("remote-as",) and not old:
            yield replace(command, also=shutdown)
        elif held or (ends and command.key[3:] != _SHUTDOWN):
            yield replace(command, resets=())
        else:
            yield command
    if _SHUTDOWN not in settings and (held or not runs):
        yield bgpd(context, f"no {shutdown}", (*neighbor, *_SHUTDOWN))


def _settings(
    wanted: Config, neighbor: Key, old: Mapping[Key, Line], settings: Mapping[Key, Line]
) -> Iterator[Command]:
    vrf, name = neighbor[1:]
    runs = bool(old) and _SHUTDOWN not in old

    def command(setting: Key, text: str, what: str, resetting: frozenset[str], shown: str = "") -> Command:
        of_family = len(setting) == 2
        context = family_context(wanted, vrf, Family(setting[0])) if of_family else (router_line(wanted, vrf),)
        resets = (Reset(vrf, name, f"{setting[-1]} {what}"),) if runs and setting[-1] in resetting else ()
        return bgpd(context, text, (*neighbor, *setting), resets=resets, shown=shown)

    for setting in sorted(old.keys() - settings.keys() - {_SHUTDOWN}, key=_order, reverse=True):
        text = f"no neighbor {name} {_removal(setting[-1], old[setting])}"
        yield command(setting, text, "removed", RESETS_WHEN_REMOVED)
    for setting in sorted(settings, key=_order):
        line = settings[setting]
        if old.get(setting) == line:
            continue
        what = "changed" if setting in old else "set"
        if isinstance(line, Password):
            start = f"neighbor {name} password "
            yield command(setting, start + line.reveal(), what, RESETS_WHEN_SET, shown=start + HIDDEN)
        else:
            yield command(setting, f"neighbor {name} {line}", what, RESETS_WHEN_SET)


def _order(setting: Key) -> tuple[int, Key]:
    return _SESSION_ORDER.index(setting[-1]), setting


def _removal(setting: str, line: Line) -> str:
    """Return what follows `no neighbor X`: with the value only where FRR asks for it."""
    return str(line) if setting in _REMOVED_WITH_VALUE else setting


_SHUTDOWN: Key = ("shutdown",)
_REMOVED_WITH_VALUE = frozenset({"ttl-security", "route-map in", "route-map out", "bfd profile", "graceful-restart"})
