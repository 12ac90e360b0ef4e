"""What a command is about, and whether a daemon did what it says."""

from __future__ import annotations

from collections.abc import Container

from allocator.bgp.command import Command
from allocator.bgp.frr_config import Config, Key
from allocator.bgp.inputs import Password
from speaker.bgp.refusals import thing_of
from speaker.bgp.vty import Reply


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


def shown_answer(reply: Reply, command: Command, wanted: Config) -> str:
    """Return an answer as it may be logged: FRR repeats a command that it does not know.

    Where more of the answer reads like the command's password, nothing of it is shown: what is missing in known text
    would say what the password is.
    """
    text = str(reply).replace(command.text, command.shown)
    line = wanted.lines.get(command.key)
    if isinstance(line, Password) and line.reveal() in text:
        return f"an answer that is not shown, as it repeats the password (status {reply.status})"
    return text
