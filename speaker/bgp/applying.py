"""Bringing FRR to what is wanted: the difference as commands, their answers judged, what is refused left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from allocator.bgp.changes import changes
from allocator.bgp.command import Command, Daemon, Reset, apply, follow
from allocator.bgp.frr_config import Config, Key, NetworkKey, TooManyMarks
from allocator.bgp.inputs import Peer
from allocator.bgp.rendering import Rendering
from allocator.bgp.withholding import permitted_changes
from speaker.bgp import pod_release
from speaker.bgp.command_effects import belongs, has_effect, shown_answer
from speaker.bgp.events import Applied, Connected, Disconnected, Event, Refusing, Rejected, Resetting, Withheld
from speaker.bgp.link import Link
from speaker.bgp.moved_neighbors import MovedNeighbors
from speaker.bgp.refusals import Refusals
from speaker.bgp.socket_folder import problem
from speaker.bgp.undialled import Undialled
from speaker.bgp.vty import Judgement, Reply, VtyError


class Applying:
    """The daemons and what each is configured with. Belongs to one thread."""

    def __init__(
        self,
        rendering: Rendering,
        sockets: Path,
        *,
        report: Callable[[Event], None],
        may_reset: Callable[[Reset], bool],
        in_use: Callable[[Collection[Peer]], frozenset[str]] = lambda _: frozenset(),
    ) -> None:
        self.links: dict[Daemon, Link] = {}
        self.present = Config()
        """What the daemons are configured with, as far as is known."""
        self._rendering = rendering
        self._sockets = sockets
        self._report = report
        self._may_reset = may_reset
        self._undialled = Undialled(in_use, report=report)
        self._moved = MovedNeighbors()
        self._failed: dict[Daemon, str] = {}
        self._all_networks = True
        self._unsent: set[NetworkKey] = set()
        """Networks that bgpd has otherwise than they are wanted: what they wait for may come without their change."""
        self._refusals = Refusals()
        self._refusing: tuple[Rejected, ...] = ()
        self._withheld: tuple[Reset, ...] = ()

    @property
    def connected(self) -> bool:
        """Whether all daemons are."""
        return len(self.links) == len(Daemon)

    def connect(self) -> bool:
        """Connect to the daemons that are not, and read what they are configured with; return whether all are."""
        for daemon in Daemon:
            if daemon in self.links:
                continue
            link = None
            try:
                link = Link(daemon, self._sockets)
                running = link.running_config()
                self._adopt(daemon, running)
            except VtyError as error:
                if link is not None:
                    link.close()
                said = "; ".join(filter(None, (str(error), problem(self._sockets / f"{daemon}.vty"))))
                if self._failed.get(daemon) != said:
                    self._failed[daemon] = said
                    self._report(Disconnected(daemon, said))
                continue
            self._failed.pop(daemon, None)
            self.links[daemon] = link
            self._report(Connected(daemon, link.pid, link.version, running, pod_release.read(self._sockets)))
        return self.connected

    def reread(self) -> None:
        """Take what the daemons run for what is present: another may have changed it. What was refused stays so.

        A router that is marked though nobody here has marked it is being taken out of its routers' tables by FRR's
        supervisor: that is not undone.
        """
        for daemon, link in list(self.links.items()):
            try:
                running = link.running_config()
            except VtyError as error:
                self._drop(daemon, str(error))
                continue
            marked = {key for key in running.lines if key[2:] == ("bgp graceful-shutdown",)}
            if marked <= self.present.lines.keys():
                self._take(daemon, running)

    def check(self) -> None:
        """Drop the connections that have ended."""
        for daemon, link in list(self.links.items()):
            if link.ended:
                self._drop(daemon, "the daemon closed the connection")

    def close(self) -> None:
        """End all connections; the daemons go on as they are."""
        for link in self.links.values():
            link.close()
        self.links.clear()

    def start_over(self, error: str) -> None:
        """Drop all connections, so that everything is read and compared again."""
        for daemon in list(self.links):
            self._drop(daemon, error)

    def show(self, daemon: Daemon, command: str) -> Reply:
        """Ask a daemon something. Raises VtyError."""
        link = self.links.get(daemon)
        if link is None:
            raise VtyError(f"no connection to {daemon}")
        try:
            return link.show(command)
        except VtyError as error:
            self._drop(daemon, str(error))
            raise

    def apply(self) -> None:
        """Send what is different from what is wanted, if bgpd is there; a daemon that ends meanwhile is dropped."""
        if Daemon.BGPD not in self.links:
            return
        started = time.monotonic()
        answers: dict[Reset, bool] = {}

        def may_reset(reset: Reset) -> bool:
            if reset not in answers:
                answers[reset] = self._may_reset(reset)
            return answers[reset]

        moved = self._moved.among(self.present, self._rendering.sessions)
        ending = tuple(reset for reset in moved if not may_reset(reset))
        self._rendering.set_ending(moved[reset] for reset in ending)
        touched = self._rendering.take_touched() | self._unsent
        look_at = None if self._all_networks else touched
        try:
            wanted = self._wanted()
        except TooManyMarks as error:
            self._all_networks = True
            self._report_refusing((Rejected("route-map", str(error)),))
            return
        wanted = self._undialled.leave_out(wanted, self.present, self._rendering.sessions)
        reasons: dict[Key, str] = {("neighbor", reset.vrf, reset.neighbor): reset.reason for reset in moved}
        commands = changes(self.present, wanted, look_at, moved=reasons)
        withheld = ending
        if any(not may_reset(reset) for command in commands for reset in command.resets):
            wanted = wanted.copy()
            commands, others = permitted_changes(self.present, wanted, look_at, may_reset, moved=reasons)
            withheld += others
        if withheld != self._withheld:
            self._withheld = withheld
            self._report(Withheld(withheld))
        self._all_networks = False
        if resets := tuple(dict.fromkeys(reset for command in commands for reset in command.resets)):
            self._report(Resetting(resets))
        if commands and self._send(commands, wanted):
            self._report(Applied(len(commands), time.monotonic() - started))
        self._note_unsent(look_at)
        self._report_refusing(self._refusals.rejected)

    def _note_unsent(self, looked_at: Collection[NetworkKey] | None) -> None:
        present, wanted = self.present.networks, self._rendering.config(self.present).networks
        every = present.keys() | wanted.keys() if looked_at is None else looked_at
        self._unsent = {key for key in every if present.get(key) != wanted.get(key)}

    def _report_refusing(self, rejected: tuple[Rejected, ...]) -> None:
        """Report what stays refused, where that is other than before: of BGPPeers by the names that they have now."""
        rejected = tuple(replace(each, peer=self._peer_of(each.key)) for each in rejected)
        for each in rejected:
            if each not in self._refusing:
                self._report(each)
        if rejected != self._refusing:
            self._refusing = rejected
            self._report(Refusing(rejected))

    def _adopt(self, daemon: Daemon, running: Config) -> None:
        """Take what a daemon has for what is present of its part, and forget what it refused."""
        self._take(daemon, running)
        self._refusals.forget(lambda key: _is_of(key, daemon))
        self._report_refusing(self._refusals.rejected)

    def _take(self, daemon: Daemon, running: Config) -> None:
        others = {key: line for key, line in self.present.lines.items() if not _is_of(key, daemon)}
        networks = dict(running.networks) if daemon is Daemon.BGPD else self.present.networks
        self.present = Config(others | running.lines, networks)
        self._all_networks = True

    def _drop(self, daemon: Daemon, error: str) -> None:
        self.links.pop(daemon).close()
        self._failed[daemon] = error
        self._report(Disconnected(daemon, error))

    def _wanted(self) -> Config:
        """Return what is wanted, without what was refused as it reads now, and of daemons that are there."""
        wanted = self._rendering.config(self.present)
        if not self._refusals and self.connected:
            return wanted
        wanted = wanted.copy()
        if Daemon.BFDD not in self.links:
            wanted.leave(self.present, ("bfd",))
        self._refusals.leave_out(wanted, self.present)
        return wanted

    def _send(self, commands: list[Command], wanted: Config) -> bool:
        """Run the commands; return whether all daemons stayed."""
        before = Config(dict(self.present.lines))
        left_out: set[Key] = set()
        unsure: list[tuple[Command, Reply]] = []
        daemon = Daemon.BGPD
        try:
            for command in commands:
                daemon = command.daemon
                if daemon not in self.links or belongs(command, left_out):
                    continue
                reply = self.links[daemon].configure(command)
                judgement = reply.judgement
                if judgement is Judgement.REFUSED:
                    self._refuse(command, reply, wanted, before, left_out)
                    continue
                apply(self.present, command, wanted)
                if judgement is Judgement.UNSURE:
                    unsure.append((command, reply))
            for daemon in dict.fromkeys(command.daemon for command, _ in unsure):
                self._read_back(daemon, unsure, wanted, before, left_out)
            for daemon in list(self.links):
                self.links[daemon].leave()
        except VtyError as error:
            self._drop(daemon, str(error))
            return False
        return True

    def _read_back(
        self,
        daemon: Daemon,
        unsure: list[tuple[Command, Reply]],
        wanted: Config,
        before: Config,
        left_out: set[Key],
    ) -> None:
        """Judge by the running configuration what the answers left open."""
        running = self.links[daemon].running_config()
        for command, reply in unsure:
            if (
                command.daemon is daemon
                and not belongs(command, left_out)
                and not has_effect(running, command, wanted)
            ):
                self._refuse(command, reply, wanted, before, left_out)
                if command.network is not None:
                    follow(self.present.networks, command.network, running.networks)
                else:
                    follow(self.present.lines, command.key, running.lines)

    def _refuse(self, command: Command, reply: Reply, wanted: Config, before: Config, left_out: set[Key]) -> None:
        """Remember that FRR refused a command, and remove what would be half of what was asked for."""
        rejected = Rejected(
            command.shown,
            shown_answer(reply, command, wanted),
            profile=command.key[1] if command.key[:1] == ("bfd",) else "",
            network=command.network,
            key=command.key,
        )
        thing = self._refusals.refuse(command, wanted, before, rejected)
        if thing is not None:
            left_out.add(thing)
            self.present.remove(thing)
            without = wanted.copy()
            without.remove(thing)
            # Half of it is there: a route-map without its communities would let prefixes through all the same.
            for removal in changes(wanted, without, ()):
                self.links[removal.daemon].configure(removal)

    def _peer_of(self, key: Key) -> str:
        if key[:1] != ("neighbor",):
            return ""
        return next((name for name, peer in self._rendering.sessions.items() if (peer.vrf, peer.id) == key[1:3]), "")


def _is_of(key: Key, daemon: Daemon) -> bool:
    """Whether a line is one of this daemon's."""
    return (key[0] == "bfd") == (daemon is Daemon.BFDD)
