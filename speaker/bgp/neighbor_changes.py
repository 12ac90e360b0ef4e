"""From the neighbours of one configuration to those of another, and what each step does to their sessions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from allocator.core.addresses import Family
from speaker.bgp.command import HIDDEN, Command, Reset, bgpd
from speaker.bgp.frr_config import Config, Key, Line, family_context, grouped, router_line
from speaker.bgp.inputs import Password

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


def neighbor_changes(present: Config, wanted: Config) -> Iterator[Command]:
    """Return the commands for neighbours: first for those that go."""
    before = grouped(present.lines, "neighbor", 3)
    now = grouped(wanted.lines, "neighbor", 3)
    for neighbor, old in before.items():
        if neighbor not in now:
            yield _removed_neighbor(wanted, neighbor, old)
    for neighbor, settings in now.items():
        if before.get(neighbor) != settings:
            yield from _changed_neighbor(wanted, neighbor, before.get(neighbor, {}), settings)


def _removed_neighbor(wanted: Config, neighbor: Key, old: Mapping[Key, Line]) -> Command:
    _, vrf, name = neighbor
    interface = " interface" if str(old.get(("remote-as",), "")).startswith("interface") else ""
    return bgpd(
        (router_line(wanted, vrf),),
        f"no neighbor {name}{interface}",
        neighbor,
        below=True,
        resets=() if ("shutdown",) in old else (Reset(vrf, name, "removed"),),
    )


def _changed_neighbor(
    wanted: Config, neighbor: Key, old: Mapping[Key, Line], settings: Mapping[Key, Line]
) -> Iterator[Command]:
    _, vrf, name = neighbor
    runs = bool(old) and ("shutdown",) not in old

    def command(setting: Key, text: str, what: str, resetting: frozenset[str], shown: str = "") -> Command:
        of_family = len(setting) == 2
        context = family_context(wanted, vrf, Family(setting[0])) if of_family else (router_line(wanted, vrf),)
        resets = (Reset(vrf, name, f"{setting[-1]} {what}"),) if runs and setting[-1] in resetting else ()
        return bgpd(context, text, (*neighbor, *setting), resets=resets, shown=shown)

    for setting in sorted(old.keys() - settings.keys(), key=_order, reverse=True):
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


_REMOVED_WITH_VALUE = frozenset({"ttl-security", "route-map in", "route-map out", "bfd profile", "graceful-restart"})
