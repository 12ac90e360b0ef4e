"""What the driver reports of FRR, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from allocator.bgp.command import Daemon, Reset
from allocator.bgp.frr_config import Config, Key, NetworkKey
from allocator.bgp.inputs import Peer


@dataclass(frozen=True, slots=True)
class Connected:
    """A daemon took a connection; `running` is what of its configuration is ours, and is not to be changed.

    `pod_release` is of AdmitLB (`pod_release.read`).
    """

    daemon: Daemon
    pid: int
    version: str
    running: Config = field(default_factory=Config)
    pod_release: str = ""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A daemon is gone or does not answer."""

    daemon: Daemon
    error: str


@dataclass(frozen=True, slots=True)
class Resetting:
    """Sessions are about to be reset."""

    resets: tuple[Reset, ...]


@dataclass(frozen=True, slots=True)
class Withheld:
    """The resets that are wanted and that nobody has permitted yet are others now; all else has been applied."""

    resets: tuple[Reset, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """FRR refused a command; what it belongs to stays as it was, all else has been applied.

    `peer` is the BGPPeer whose session it is about, `profile` the BFDProfile, `network` the prefix.
    """

    command: str
    answer: str
    peer: str = ""
    profile: str = ""
    network: NetworkKey | None = None
    key: Key = ()


@dataclass(frozen=True, slots=True)
class Refusing:
    """What FRR has refused and is asked for still is other than before: each as it was `Rejected`."""

    rejected: tuple[Rejected, ...]


@dataclass(frozen=True, slots=True)
class PeerInUse:
    """A new session was not configured, as another program of this node has one with the router; all else was."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Applied:
    """The daemons have what is wanted, except for what was rejected or withheld."""

    commands: int
    seconds: float


Event = Connected | Disconnected | Resetting | Withheld | Rejected | Refusing | PeerInUse | Applied
