"""Bringing FRR to what is wanted: the difference as commands, their answers judged, what is refused left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from speaker.bgp.changes import changes
from speaker.bgp.command import HIDDEN, Command, Daemon, Reset, apply
from speaker.bgp.events import Applied, Connected, Disconnected, Event, Rejected, Resetting, Withheld
from speaker.bgp.frr_config import Config, Key, Line, NetworkKey
from speaker.bgp.inputs import Password
from speaker.bgp.link import Link
from speaker.bgp.rendering import Rendering
from speaker.bgp.vty import Judgement, Reply, VtyError

_NEIGHBOR_PARTS = 3


class Applying:
    """The daemons, what each is configured with, and what they refused. Belongs to one thread.

    What FRR refuses is remembered with its text and not sent again until it reads otherwise or the daemon is another:
    a refused line of a session that runs leaves the line as it was; a new session with a refused line is not
    configured at all, since it would not be the session that was asked for.
    """

    def __init__(
        self,
        rendering: Rendering,
        sockets: Path,
        *,
        report: Callable[[Event], None],
        may_reset: Callable[[Reset], bool],
    ) -> None:
        self._rendering = rendering
        self._sockets = sockets
        self._report = report
        self._may_reset = may_reset
        self.links: dict[Daemon, Link] = {}
        self._failed: dict[Daemon, str] = {}
        self._present = Config()
        self._all_networks = True
        self._rejected: dict[Key, Line] = {}
        self._rejected_neighbors: dict[Key, Mapping[Key, Line]] = {}
        self._rejected_networks: dict[NetworkKey, str] = {}
        self._withheld: tuple[Reset, ...] = ()

    def connect(self) -> bool:
        """Connect to the daemons that are not, and read what they are configured with; return whether all are."""
        for daemon in Daemon:
            if daemon in self.links:
                continue
            link = None
            try:
                link = Link(daemon, self._sockets)
                self._adopt(daemon, link.running_config())
            except VtyError as error:
                if link is not None:
                    link.close()
                if self._failed.get(daemon) != str(error):
                    self._failed[daemon] = str(error)
                    self._report(Disconnected(daemon, str(error)))
                continue
            self._failed.pop(daemon, None)
            self.links[daemon] = link
            self._report(Connected(daemon, link.pid, link.version))
        return len(self.links) == len(Daemon)

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
        touched = None if self._all_networks else self._rendering.take_touched()
        self._rendering.take_touched()
        wanted = self._wanted()
        commands = changes(self._present, wanted, touched)
        commands, wanted = self._permitted(commands, wanted, touched)
        self._all_networks = False
        if not commands:
            return
        if resets := _resets(commands):
            self._report(Resetting(resets))
        if self._send(commands, wanted):
            self._report(Applied(len(commands), time.monotonic() - started))

    @property
    def present(self) -> Config:
        """What the daemons are configured with, as far as is known."""
        return self._present

    def _adopt(self, daemon: Daemon, running: Config) -> None:
        """Take what a daemon has for what is present of its part, and all that it refused for forgotten."""
        others = {
            key: line for key, line in self._present.lines.items() if (key[0] == "bfd") == (daemon is Daemon.BGPD)
        }
        if daemon is Daemon.BGPD:
            self._present = Config(others | running.lines, running.networks)
            self._rejected_neighbors.clear()
            self._rejected_networks.clear()
        else:
            self._present = Config(others | running.lines, self._present.networks)
        self._rejected = {
            key: line for key, line in self._rejected.items() if (key[0] == "bfd") == (daemon is Daemon.BGPD)
        }
        self._all_networks = True

    def _drop(self, daemon: Daemon, error: str) -> None:
        self.links.pop(daemon).close()
        self._failed[daemon] = error
        self._report(Disconnected(daemon, error))

    def _wanted(self) -> Config:
        """Return what is wanted, without what was refused as it reads now, and of daemons that are there."""
        wanted = self._rendering.config(self._present)
        if not (
            self._rejected or self._rejected_neighbors or self._rejected_networks or len(self.links) < len(Daemon)
        ):
            return wanted
        wanted = wanted.copy()
        if Daemon.BFDD not in self.links:
            _keep(wanted, self._present, ("bfd",))
        for neighbor, lines in list(self._rejected_neighbors.items()):
            if wanted.under(*neighbor) != lines:
                del self._rejected_neighbors[neighbor]
            else:
                _keep(wanted, self._present, neighbor)
        for key, line in list(self._rejected.items()):
            if wanted.lines.get(key) != line:
                del self._rejected[key]
            elif key in self._present.lines:
                wanted.lines[key] = self._present.lines[key]
            else:
                del wanted.lines[key]
        for network, name in list(self._rejected_networks.items()):
            if wanted.networks.get(network) != name:
                del self._rejected_networks[network]
            elif network in self._present.networks:
                wanted.networks[network] = self._present.networks[network]
            else:
                del wanted.networks[network]
        return wanted

    def _permitted(
        self, commands: list[Command], wanted: Config, touched: set[NetworkKey] | None
    ) -> tuple[list[Command], Config]:
        """Leave sessions as they are whose reset nobody has permitted."""
        withheld: list[Reset] = []
        while refused := [
            (command, reset) for command in commands for reset in command.resets if not self._may_reset(reset)
        ]:
            wanted = wanted.copy()
            for command, reset in refused:
                withheld.append(reset)
                _keep(wanted, self._present, ("neighbor", reset.vrf, reset.neighbor))
                _keep(wanted, self._present, ("route-map", f"to:{reset.vrf}:{reset.neighbor}"))
                if command.key[0] == "router":
                    self._keep_router(wanted, reset.vrf)
            commands = changes(self._present, wanted, touched)
        now = tuple(dict.fromkeys(withheld))
        if now and now != self._withheld:
            self._report(Withheld(now))
        self._withheld = now
        return commands, wanted

    def _keep_router(self, wanted: Config, vrf: str) -> None:
        for section in ("router", "neighbor"):
            _keep(wanted, self._present, (section, vrf))
        _keep(wanted, self._present, ("route-map",))
        for network in [network for network in wanted.networks if network[0] == vrf]:
            del wanted.networks[network]
        wanted.networks |= {key: name for key, name in self._present.networks.items() if key[0] == vrf}

    def _send(self, commands: list[Command], wanted: Config) -> bool:
        """Run the commands; return whether all daemons stayed."""
        before = self._present.copy()
        unsure: list[tuple[Command, Reply]] = []
        failed: set[Key] = set()
        try:
            for command in commands:
                if _owner(command) in failed or command.daemon not in self.links:
                    continue
                reply = self.links[command.daemon].configure(command)
                judgement = reply.judgement
                if judgement is Judgement.REFUSED:
                    self._refuse(command, reply, wanted, before, failed)
                    continue
                apply(self._present, command, wanted)
                if judgement is Judgement.UNSURE:
                    unsure.append((command, reply))
            for daemon in {command.daemon for command, _ in unsure}:
                self._read_back(daemon, [each for each in unsure if each[0].daemon is daemon], wanted, before)
            for link in self.links.values():
                link.leave()
        except VtyError as error:
            self._drop(command.daemon, str(error))
            return False
        return True

    def _read_back(self, daemon: Daemon, unsure: list[tuple[Command, Reply]], wanted: Config, before: Config) -> None:
        """Judge by the running configuration what the answers left open."""
        running = self.links[daemon].running_config()
        failed: set[Key] = set()
        for command, reply in unsure:
            if not _has(running, command, wanted) and _owner(command) not in failed:
                self._refuse(command, reply, wanted, before, failed)

    def _refuse(self, command: Command, reply: Reply, wanted: Config, before: Config, failed: set[Key]) -> None:
        """Remember that FRR refused a command and undo what is only of use with it."""
        answer = _without_secrets(str(reply), wanted)
        peer = profile = ""
        if command.network is not None:
            self._rejected_networks[command.network] = wanted.networks.get(command.network, "")
            _restore_network(self._present, before, command.network)
        else:
            owner = _owner(command)
            _restore(self._present, before, command.key)
            if command.key[0] == "neighbor":
                peer = self._peer_of(command.key)
                if not before.under(*owner) and wanted.under(*owner):
                    self._rejected_neighbors[owner] = wanted.under(*owner)
                    failed.add(owner)
                    self._remove_neighbor(owner, wanted)
            elif command.key in wanted.lines:
                profile = command.key[1] if command.key[0] == "bfd" else ""
            if command.key in wanted.lines and owner not in failed:
                self._rejected[command.key] = wanted.lines[command.key]
        self._report(
            Rejected(command.shown, answer, peer=peer, profile=profile, network=command.network, key=command.key)
        )

    def _remove_neighbor(self, neighbor: Key, wanted: Config) -> None:
        started = self._present.copy()
        remaining = wanted.copy()
        for key in remaining.under(*neighbor):
            del remaining.lines[key]
        # What of it was configured so far may be nothing; FRR is asked to remove it all the same.
        started.lines.setdefault((*neighbor, "remote-as"), wanted.lines.get((*neighbor, "remote-as"), ""))
        for command in changes(started, remaining, ()):
            if command.key == neighbor:
                self.links[command.daemon].configure(command)
        for key in self._present.under(*neighbor):
            del self._present.lines[key]

    def _peer_of(self, key: Key) -> str:
        for name, peer in self._rendering.sessions.items():
            if (peer.vrf, peer.id) == key[1:_NEIGHBOR_PARTS]:
                return name
        return ""


def _owner(command: Command) -> Key:
    """Return the key of the thing that a command is about: a neighbour, a profile, an entry, a router's setting."""
    return command.key[:_NEIGHBOR_PARTS] if command.network is None else ()


def _resets(commands: list[Command]) -> tuple[Reset, ...]:
    return tuple(dict.fromkeys(reset for command in commands for reset in command.resets))


def _keep(wanted: Config, present: Config, start: Key) -> None:
    for key in wanted.under(*start):
        del wanted.lines[key]
    wanted.lines |= present.under(*start)


def _has(running: Config, command: Command, wanted: Config) -> bool:
    if command.network is not None:
        return running.networks.get(command.network) == wanted.networks.get(command.network)
    if command.below:
        return not running.under(*command.key) or bool(wanted.under(*command.key))
    return running.lines.get(command.key) == wanted.lines.get(command.key)


def _restore(present: Config, before: Config, key: Key) -> None:
    if key in before.lines:
        present.lines[key] = before.lines[key]
    else:
        present.lines.pop(key, None)


def _restore_network(present: Config, before: Config, network: NetworkKey) -> None:
    if network in before.networks:
        present.networks[network] = before.networks[network]
    else:
        present.networks.pop(network, None)


def _without_secrets(text: str, wanted: Config) -> str:
    """FRR repeats the command that it does not know."""
    for line in wanted.lines.values():
        if isinstance(line, Password):
            text = text.replace(line.reveal(), HIDDEN)
    return text
