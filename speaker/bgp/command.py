"""Commands for FRR's daemons: what each says, sets, and does to sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from speaker.bgp.frr_config import Config, Key, NetworkKey, family_context

K = TypeVar("K")
V = TypeVar("V")

HIDDEN = "<hidden>"


class Daemon(StrEnum):
    """The daemons that are configured, by the name of their socket."""

    BGPD = "bgpd"
    BFDD = "bfdd"


@dataclass(frozen=True, slots=True)
class Reset:
    """A session that ends and comes back, and why."""

    vrf: str
    neighbor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command. `shown` is what may be logged of it.

    It sets or removes a line, or a network; `below` where it removes all that the thing of that key has.
    """

    daemon: Daemon
    context: tuple[str, ...]
    text: str = field(repr=False)
    shown: str
    key: Key = ()
    below: bool = False
    network: NetworkKey | None = None
    resets: tuple[Reset, ...] = ()


def bgpd(
    context: tuple[str, ...],
    text: str,
    key: Key,
    *,
    below: bool = False,
    resets: tuple[Reset, ...] = (),
    shown: str = "",
) -> Command:
    """Return a command for bgpd."""
    return Command(
        daemon=Daemon.BGPD, context=context, text=text, shown=shown or text, key=key, below=below, resets=resets
    )


def bfdd(context: tuple[str, ...], text: str, key: Key, *, below: bool = False) -> Command:
    """Return a command for bfdd."""
    return Command(daemon=Daemon.BFDD, context=context, text=text, shown=text, key=key, below=below)


def network(wanted: Config, key: NetworkKey, text: str) -> Command:
    """Return a command about a prefix."""
    context = family_context(wanted, key[0], key[1].family)
    return Command(daemon=Daemon.BGPD, context=context, text=text, shown=text, network=key)


def apply(config: Config, command: Command, wanted: Config) -> None:
    """Note in `config` that a command of `changes(config, wanted)` has been carried out."""
    if command.network is not None:
        _follow(config.networks, command.network, wanted.networks)
    elif not command.below:
        _follow(config.lines, command.key, wanted.lines)
    else:
        for below in config.under(*command.key):
            del config.lines[below]
        if command.key[0] == "router":
            vrf = command.key[1]
            for below in config.under("neighbor", vrf):
                del config.lines[below]
            for network in [network for network in config.networks if network[0] == vrf]:
                del config.networks[network]


def _follow(table: dict[K, V], key: K, wanted: Mapping[K, V]) -> None:
    if key in wanted:
        table[key] = wanted[key]
    else:
        table.pop(key, None)
