"""BGPNodeStatus: how the sessions of one node are, as its speaker reports and everybody else reads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from allocator.objects.document import Document


class SessionStatus(StrEnum):
    """What a BGPPeer comes to on a node. FRR's states before Established change all the time, and are one here."""

    ESTABLISHED = "Established"
    DOWN = "Down"
    SHUTDOWN = "Shutdown"
    REFUSED = "Refused"
    IN_USE = "PeerInUse"
    """Another program of the node has a session with the router."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEntry:
    """One BGPPeer on the node; `since` is a moment as the API writes it, empty where it is not known."""

    peer: str
    neighbor: str = ""
    vrf: str = ""
    state: str = SessionStatus.DOWN
    since: str = ""
    message: str = ""
    rejected: bool = False
    """Whether FRR refuses part of it."""
    last_reset: str = ""
    bfd: str = ""
    families: tuple[str, ...] = ()
    wanted: int = 0
    sent: int = 0

    @property
    def up(self) -> bool:
        """Whether it carries prefixes."""
        return self.state == SessionStatus.ESTABLISHED

    def as_document(self) -> dict[str, Any]:
        """Return the entry of `status.sessions`, without what is empty."""
        return _told(
            {
                "peer": self.peer,
                "neighbor": self.neighbor,
                "vrf": self.vrf,
                "state": str(self.state),
                "since": self.since,
                "message": self.message,
                "rejected": self.rejected or None,
                "lastReset": self.last_reset,
                "bfd": self.bfd,
                "families": list(self.families) or None,
                "wanted": self.wanted,
                "sent": self.sent,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpNodeStatus:
    """All of a node, its sessions in order of the BGPPeers' names."""

    node: str
    frr_version: str = ""
    message: str = ""
    prefixes: int = 0
    sessions: tuple[SessionEntry, ...] = ()

    def session(self, peer: str) -> SessionEntry | None:
        """Return what a BGPPeer comes to here."""
        return next((entry for entry in self.sessions if entry.peer == peer), None)

    @property
    def established(self) -> str:
        """How many sessions are up, of those that there are to be."""
        wanted = [entry for entry in self.sessions if entry.state != SessionStatus.SHUTDOWN]
        return f"{sum(entry.up for entry in wanted)}/{len(wanted)}"

    def as_status(self) -> dict[str, Any]:
        """Return the object's status, without what is empty."""
        return _told(
            {
                "node": self.node,
                "frrVersion": self.frr_version,
                "message": self.message,
                "established": self.established,
                "prefixes": self.prefixes,
                "sessions": [entry.as_document() for entry in self.sessions],
            }
        )


def _told(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out empty texts: an API server may take one for null, which no schema of ours allows."""
    return {name: value for name, value in fields.items() if value not in ("", None)}


def node_status_from(document: Document) -> BgpNodeStatus:
    """Read a BGPNodeStatus; what is missing in it counts as not said."""
    status: Document = document.get("status") or {}
    return BgpNodeStatus(
        node=str(status.get("node") or document["metadata"]["name"]),
        frr_version=str(status.get("frrVersion") or ""),
        message=str(status.get("message") or ""),
        prefixes=int(status.get("prefixes") or 0),
        sessions=tuple(_entry(each) for each in status.get("sessions") or ()),
    )


def _entry(said: Document) -> SessionEntry:
    def text(name: str) -> str:
        return str(said.get(name) or "")

    return SessionEntry(
        peer=text("peer"),
        neighbor=text("neighbor"),
        vrf=text("vrf"),
        state=text("state"),
        since=text("since"),
        message=text("message"),
        rejected=bool(said.get("rejected")),
        last_reset=text("lastReset"),
        bfd=text("bfd"),
        families=tuple(said.get("families") or ()),
        wanted=int(said.get("wanted") or 0),
        sent=int(said.get("sent") or 0),
    )
