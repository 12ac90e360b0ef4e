"""What a command is about, and whether a daemon did what it says."""

from __future__ import annotations

from collections.abc import Container

from allocator.bgp.command import HIDDEN, Command
from allocator.bgp.frr_config import Config, Key
from allocator.bgp.inputs import Password
from speaker.bgp.refusals import thing_of


def belongs(command: Command, left_out: Container[Key]) -> bool:
    """Return whether a command is about something that is left out."""
    if command.network is not None:
        return ("router", command.network[0]) in left_out
    in_router = command.key[0] == "neighbor" and ("router", command.key[1]) in left_out
    return in_router or thing_of(command.key) in left_out


def has_effect(running: Config, command: Command, wanted: Config) -> bool:
    """Return whether a running configuration has what a command was to bring about."""
    if command.network is not None:
        return running.networks.get(command.network) == wanted.networks.get(command.network)
    if command.below:
        return not running.under(*command.key) or bool(wanted.under(*command.key))
    return running.lines.get(command.key) == wanted.lines.get(command.key)


def without_secrets(text: str, wanted: Config) -> str:
    """Return an answer as it may be logged: FRR repeats the command that it does not know."""
    for line in wanted.lines.values():
        if isinstance(line, Password):
            text = text.replace(line.reveal(), HIDDEN)
    return text
