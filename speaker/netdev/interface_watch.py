"""The thread that follows the node's interfaces: each change as it comes, reported at once but not too often."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterable
from socket import AF_INET, AF_INET6

from allocator.process.logs import EventLog
from speaker.membership.fence import clock
from speaker.netdev import netlink
from speaker.netdev.interface_table import InterfaceTable
from speaker.netdev.interfaces import EXCLUDED_NAMES, Interface, announcing
from speaker.netdev.netlink import Kind, Message
from speaker.netdev.route_socket import DumpInterrupted, NotificationSocket, RouteSocket

log = EventLog("interfaces")

REPORT_SECONDS = 0.05
"""Between two reports: the first change is reported at once, a burst of them as one."""
_RETRY_SECONDS = 0.02
_ATTEMPTS = 100


class InterfaceWatch:
    """Reports the node's interfaces whenever one that can announce changes, from a thread of its own.

    What a change costs does not depend on how many routes there are, nor on the addresses of links that can never
    announce. Where notifications were lost (a full queue), everything is read anew. All state belongs to the thread.
    """

    def __init__(
        self, on_change: Callable[[tuple[Interface, ...]], None], *, excluded: Iterable[str] = EXCLUDED_NAMES
    ) -> None:
        """`excluded` are regular expressions; interfaces whose names match one anywhere do not announce.

        Raises OSError.
        """
        self._on_change = on_change
        self._table = InterfaceTable(excluded)
        self._questions = RouteSocket()
        self._notifications = NotificationSocket()
        self._read_all = True
        self._read_routes = True
        self._read_links: set[int] = set()
        self._followed: frozenset[int] = frozenset()
        self._changed: set[int] = set()
        self._reported: tuple[Interface, ...] | None = None
        self._reported_at = -REPORT_SECONDS
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="interfaces", daemon=True)

    def start(self) -> None:
        """Begin watching; the first report follows at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch and its thread."""
        self._stopping.set()
        os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._notifications.close()
        self._questions.close()
        os.close(self._wake)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._notifications, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        failures = 0
        while not self._stopping.is_set():
            try:
                self._take()
                self._read()
            except (DumpInterrupted, OSError) as error:
                # Usually gone the next time; what could not be read is still to be read.
                failures += 1
                if failures % _ATTEMPTS == 0:
                    log.warning("interfaces.unread", error=repr(error), retry_seconds=_RETRY_SECONDS)
                self._stopping.wait(_RETRY_SECONDS)
                continue
            failures = 0
            if self._read_all or self._read_links or self._read_routes:
                continue
            self._changed.clear()
            rest_seconds = self._report()
            poll.poll(None if rest_seconds is None else rest_seconds * 1000 + 1)

    def _take(self) -> None:
        """Apply every notification that waits, and note what has to be read."""
        while True:
            changes = self._notifications.take()
            if changes is None:
                self._read_all = True
                continue
            if not changes:
                return
            for message in changes:
                self._apply(message)

    def _apply(self, message: Message) -> None:
        if message.kind in (Kind.NEW_LINK, Kind.DELETE_LINK):
            family, _, index, _, _ = netlink.LINK.unpack_from(message.body)
            if family == AF_INET6:
                self._read_links.add(index)
            else:
                self._table.apply_link(message)
                if message.kind == Kind.DELETE_LINK:
                    self._followed -= {index}
                self._report_loss(index)
        elif message.kind in (Kind.NEW_ADDRESS, Kind.DELETE_ADDRESS):
            self._table.apply_address(message)
            family, _, _, _, index = netlink.ADDRESS.unpack_from(message.body)
            self._changed.add(index)
            if family == AF_INET6:
                # When IPv6 is disabled on a link, all that is notified is that its addresses go.
                self._read_links.add(index)
        elif message.kind in (Kind.NEW_ROUTE, Kind.DELETE_ROUTE):
            self._read_routes = True

    def _read(self) -> None:
        """Ask for what notifications do not contain. Raises DumpInterrupted, OSError."""
        if self._read_all:
            links = self._questions.links()
            self._table.replace_links(links)
            self._followed = frozenset()
            self._read_all, self._read_routes = False, True
            self._read_links.clear()
        announcers = self._table.announcers()
        for index in sorted(self._read_links & announcers):
            for message in self._questions.link(index):
                self._table.apply_link(message)
        self._read_links.clear()
        announcers = self._table.announcers()
        if announcers != self._followed:
            # First the filter: what changes after the list is notified.
            self._notifications.follow(announcers)
            self._table.forget_addresses(self._followed - announcers)
            self._followed &= announcers
            for index in sorted(announcers - self._followed):
                self._read_addresses(index)
        if self._read_routes:
            self._table.replace_default_routes([*self._questions.routes(AF_INET), *self._questions.routes(AF_INET6)])
            self._read_routes = False

    def _read_addresses(self, index: int) -> None:
        """Read all addresses of a link. Raises DumpInterrupted, OSError."""
        self._changed.discard(index)
        self._table.replace_addresses(index, self._questions.addresses(index))
        self._take()
        if index in self._changed:
            # The kernel says that only of lists of all links; of one link's it may have left out what was there.
            raise DumpInterrupted(f"addresses of link {index}")
        self._followed |= {index}

    def _report_loss(self, index: int) -> None:
        """Report at once that an interface cannot announce any more: it may again be able to when all is read."""
        before = next((each for each in announcing(self._reported or ()) if each.index == index), None)
        if before is not None and not announcing(each for each in self._table.interfaces() if each.index == index):
            self._reported_at = -REPORT_SECONDS
            self._report()

    def _report(self) -> float | None:
        """Report what changed, if the last report is not too recent; return how long to wait before the next."""
        interfaces = self._table.interfaces()
        relevant = tuple(interface for interface in interfaces if interface.may_announce)
        if relevant == self._reported:
            return None
        now = clock()
        if now < self._reported_at + REPORT_SECONDS:
            return self._reported_at + REPORT_SECONDS - now
        self._reported, self._reported_at = relevant, now
        self._on_change(interfaces)
        return None
