"""What a node's BGP says of itself, as values that never change: for status, metrics, conditions and Events.

Whoever reports implements `BgpListener` and is given a `BgpReader`. Neither needs to know how FRR is driven.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from allocator.bgp.command import Daemon, Reset
from allocator.bgp.desired import Announcement
from allocator.bgp.inputs import BFDProfile, Peer
from allocator.bgp.sessions import Refused
from allocator.core.addresses import Address
from speaker.bgp.events import Applied, Event, Rejected
from speaker.bgp.vty import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonState:
    """One daemon of FRR: connected, or why it is not. `pid` is 0 where it has a PID namespace of its own."""

    connected: bool
    version: str = ""
    pod_release: str = ""
    """The release of AdmitLB whose Pod it runs in; empty where that is not known."""
    pid: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """One session as bgpd says it is (`show bgp neighbors json`), read every two seconds.

    `peer` names the BGPPeer, `neighbor` is its address or interface as FRR has it, `vrf` is empty for the default
    one. `state` is FRR's term: Idle, Connect, Active, OpenSent, OpenConfirm, Established, Clearing, Deleted.
    """

    peer: str
    vrf: str
    neighbor: str
    state: str
    port: int = 0
    """The router's port: of the connection where there is one, else the BGPPeer's."""
    established_at: float | None = None
    """When it came up, in seconds since the epoch; None while it is not up."""
    last_reset: str = ""
    """Why it last ended, as FRR reports it; empty where it never did."""
    last_error: str = ""
    """The last NOTIFICATION as code and subcode in four hexadecimal digits (RFC 4271, section 4.5), 0607 for a
    collision; empty for none."""
    drops: int = 0
    """How often it has ended since bgpd started."""
    sent_prefixes: int = 0
    """How many prefixes it was sent, of all families."""
    families: tuple[str, ...] = ()
    """The families that both sides agreed on: IPv4, IPv6."""
    bfd: str = ""
    """The state of its BFD session in FRR's terms (Up, Down, Init, ...); empty where it has none."""
    message_counts: Mapping[str, int] = field(default_factory=dict)
    """bgpd's `messageStats`, by its own names: opensSent, updatesRecv, notificationsSent, ..."""

    @property
    def up(self) -> bool:
        """Whether it is Established."""
        return self.state == "Established"

    def is_of(self, peer: Peer) -> bool:
        """Whether it is the session that the BGPPeer has now: it may have had another address before."""
        return (self.vrf, self.neighbor) == (peer.vrf, peer.id)


class Leave(StrEnum):
    """How far a node is in leaving."""

    NO = "no"
    MARKED = "marked"
    """Its routes are marked for the routers to move away from (RFC 8326); all are announced still."""
    LEFT = "left"
    """It announces nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What this node's BGP is at one moment. Replaced whole whenever anything in it changes.

    `sessions` and `profiles` are what FRR is to have, by the name of their object; `refused` the BGPPeers that have
    no session here, and why (`Refused.reason` is in words for messages). `states` are the sessions as FRR last said
    they are, by the name of the BGPPeer: of one that FRR does not know (yet) there is none.
    """

    node: str
    waiting_for: str = ""
    """Why FRR is not changed yet, in words; empty once it is. FRR goes on with what it had until then."""
    known: bool = True
    """Whether all that decides about Services has been read from the API server."""
    daemons: Mapping[Daemon, DaemonState] = field(default_factory=dict)
    sessions: Mapping[str, Peer] = field(default_factory=dict)
    profiles: Mapping[str, BFDProfile] = field(default_factory=dict)
    refused: Mapping[str, Refused] = field(default_factory=dict)
    password_problems: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with the Secrets that BGPPeers name, in words by the name of the BGPPeer."""
    states: Mapping[str, SessionState] = field(default_factory=dict)
    prefix_count: int = 0
    """How many prefixes are to be announced, to whichever peers."""
    rejected: tuple[Rejected, ...] = ()
    """What FRR refused and has not got since; the objects that each is about are named in it."""
    withheld: tuple[Reset, ...] = ()
    """Resets of sessions that are wanted and wait for this node's turn."""
    last_apply: Applied | None = None
    """The last change that FRR took whole, with its duration."""
    last_apply_at: float | None = None
    """When that was, in seconds since the epoch."""
    leave: Leave = Leave.NO
    leave_reason: str = ""
    """Why the node leaves, in words; empty while it does not."""

    def lacks(self, daemon: Daemon) -> bool:
        """Return whether a daemon of FRR is known not to be there; before it was tried, nothing is known."""
        state = self.daemons.get(daemon)
        return state is not None and not state.connected


@dataclass(frozen=True, slots=True)
class ServiceRoutes:
    """A Service as this node announces it.

    `announcements` has each of its addresses: prefixes with the advertisements of each, or the reason why there are
    none. `peers` are the BGPPeers with a session here that it is configured to be announced to (ServiceBGPStatus).
    """

    announcements: Mapping[Address, Announcement] = field(default_factory=dict)
    peers: frozenset[str] = frozenset()


class BgpReader(Protocol):
    """What may be asked of a node's BGP, from any thread."""

    def snapshot(self) -> Snapshot:
        """Return what there is now; costs nothing."""
        ...

    def service(self, key: str) -> ServiceRoutes:
        """Return what is announced of a Service (`namespace/name`); nothing for one that is not known.

        Costs as much as its addresses and the sessions; waits for a change that is being taken in.
        """
        ...

    def services(self) -> tuple[str, ...]:
        """Return the Services with addresses, announced or not."""
        ...

    def wanted(self) -> Mapping[str, int]:
        """Return how many prefixes each session is to carry; costs as much as the classes of prefixes."""
        ...

    def lags(self) -> Mapping[str, float]:
        """Return for how many seconds sessions have had other prefixes than they are to have; those alone that do.

        Of those that are up, or that bgpd does not have; as read every two seconds.
        """
        ...

    def ask(self, daemon: Daemon, command: str) -> Future[Reply]:
        """Ask a daemon a `show` command, in turn with the changes; the future may raise VtyError (an OSError).

        Wait for the result with a timeout: FRR may hang.
        """
        ...


class BgpListener(Protocol):
    """What is called when something changes, on the thread that decides about BGP: it must return at once."""

    def on_services(self, keys: frozenset[str] | None) -> None:
        """`BgpReader.service` may say something else of these; None stands for all (sessions have changed)."""
        ...

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """The snapshot is another now."""
        ...

    def on_event(self, event: Event) -> None:
        """Something happened at FRR: `Resetting` comes before the sessions are reset, with the reason of each."""
        ...


class Nobody:
    """A listener that does nothing."""

    def on_services(self, keys: frozenset[str] | None) -> None:
        """Pass over it."""

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Pass over it."""

    def on_event(self, event: Event) -> None:
        """Pass over it."""
