"""The interfaces as they are now, read once: for a command, which follows no changes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from socket import AF_INET, AF_INET6

from speaker.netdev.interface_table import InterfaceTable
from speaker.netdev.interfaces import Interface
from speaker.netdev.route_socket import DumpInterrupted, RouteSocket

_ATTEMPTS = 10
_PAUSE_SECONDS = 0.02


def read_interfaces(*, excluded: Iterable[str]) -> tuple[Interface, ...]:
    """Return every link that has an Ethernet address, by index; `excluded` are regular expressions for names.

    Of excluded links the addresses are not read. Raises OSError.
    """
    patterns = tuple(excluded)
    questions = RouteSocket()
    try:
        for _ in range(_ATTEMPTS):
            try:
                return _read(questions, InterfaceTable(patterns))
            except DumpInterrupted:
                time.sleep(_PAUSE_SECONDS)
    finally:
        questions.close()
    raise OSError("the interfaces change faster than they can be listed")


def _read(questions: RouteSocket, table: InterfaceTable) -> tuple[Interface, ...]:
    table.replace_links(questions.links())
    for index in table.announcers():
        table.replace_addresses(index, questions.addresses(index))
    table.replace_default_routes([*questions.routes(AF_INET), *questions.routes(AF_INET6)])
    return table.interfaces()
