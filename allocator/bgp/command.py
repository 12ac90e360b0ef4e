"""Commands for FRR's daemons: what each says, sets, and does to sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from allocator.bgp.frr_config import Config, Key, NetworkKey, family_context

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
    peer: str = field(default="", compare=False)
    """The BGPPeer that it is of, where that has another session by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command. `shown` is what may be logged of it.

    It sets or removes a line, or a network; `below` where it removes all that the thing of that key has. `also` is
    a second command that the daemon must carry out before it does anything else.
    """

    daemon: Daemon
    context: tuple[str, ...]
    text: str = field(repr=False)
    shown: str
    key: Key = ()
    below: bool = False
    network: NetworkKey | None = None
    also: str = ""
    resets: tuple[Reset, ...] = ()


def bgpd(
    context: tuple[str, ...],
    text: str,
    key: Key,
    *,
    below: bool = False,
    resets: tuple[Reset, ...] = (),
    shown: str = "",
    also: str = "",
) -> Command:
    """Return a command for bgpd."""
    shown = shown or text
    return Command(
        daemon=Daemon.BGPD,
        context=context,
        text=text,
        shown=shown,
        key=key,
        below=below,
        resets=resets,
        also=also,
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
        follow(config.networks, command.network, wanted.networks)
    elif command.below:
        config.remove(command.key)
    else:
        follow(config.lines, command.key, wanted.lines)


def follow(table: dict[K, V], key: K, other: Mapping[K, V]) -> None:
    """Have a table say of a key what the other one says, also nothing."""
    if key in other:
        table[key] = other[key]
    else:
        table.pop(key, None)
