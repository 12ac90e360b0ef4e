"""What a node's BGP comes to, in words for people: from a snapshot to the BGPNodeStatus."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from allocator.bgp import frr_versions, pod_releases
from allocator.bgp.command import Daemon, Reset
from allocator.bgp.inputs import Peer
from allocator.bgp.sessions import NoSession, Refused
from allocator.core.listing import listed
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, SessionStatus
from speaker.bgp.events import Rejected
from speaker.bgp.reports import SessionState, Snapshot

_NOTIFICATIONS = {
    "0202": "bad peer AS: the router has another AS number for us, or is of another than peerASN",
    "0203": "bad BGP identifier: the router has the same router ID; set routerID",
    "0206": "unacceptable hold time; change holdTime",
    "0207": "unsupported capability",
    "0400": "hold timer expired",
    "0602": "administrative shutdown",
    "0603": "peer de-configured: the router does not know this node",
    "0604": "administrative reset",
    "0605": "connection rejected",
    "0607": "connection collision: another program of this node has a session with the router",
    "0609": "hard reset",
}
"""RFC 4271 section 4.5, RFC 4486, RFC 8538, with what to do where that is always the same."""


def node_report(snapshot: Snapshot, wanted: Mapping[str, int], *, down_since: Mapping[str, str]) -> BgpNodeStatus:
    """Return what to report; `wanted` has the number of prefixes for each peer, `down_since` when a session ended."""
    names = snapshot.sessions.keys() | {
        name for name, refused in snapshot.refused.items() if refused.reason is not NoSession.NOT_SELECTED
    }
    bgpd = snapshot.daemons.get(Daemon.BGPD)
    return BgpNodeStatus(
        node=snapshot.node,
        frr_version=bgpd.version if bgpd is not None else "",
        message=_message(snapshot),
        prefixes=snapshot.prefix_count,
        sessions=tuple(
            _entry(snapshot, name, wanted.get(name, 0), down_since.get(name, "")) for name in sorted(names)
        ),
    )


def _message(snapshot: Snapshot) -> str:
    said = [
        f"{daemon} is not reached: {state.error}"
        for daemon, state in sorted(snapshot.daemons.items())
        if not state.connected
    ]
    said += _unsupported(snapshot)
    if snapshot.waiting_for and not (snapshot.known and snapshot.lacks(Daemon.BGPD)):
        said.append(f"FRR is left as it is: waiting for {snapshot.waiting_for}")
    if snapshot.leave_reason:
        said.append(f"the node leaves: {snapshot.leave_reason}")
    known = {(peer.vrf, peer.id) for peer in snapshot.sessions.values()}
    said += [
        _ends(each)
        for each in snapshot.withheld
        if (each.vrf, each.neighbor) not in known and each.peer not in snapshot.sessions
    ]
    others = [_refusal(each) for each in snapshot.rejected if not each.peer]
    return "; ".join([*said, *([listed(others, limit=3)] if others else [])])


def _entry(snapshot: Snapshot, name: str, wanted: int, down_since: str) -> SessionEntry:
    peer = snapshot.sessions.get(name)
    if peer is None:
        refused = snapshot.refused[name]
        why = _why(refused)
        if refused.reason is NoSession.NO_PASSWORD and name in snapshot.password_problems:
            why = f"{why}: {snapshot.password_problems[name]}"
        in_use = refused.reason is NoSession.PEER_IN_USE
        return SessionEntry(peer=name, state=SessionStatus.IN_USE if in_use else SessionStatus.REFUSED, message=why)
    state = snapshot.states.get(name)
    up = state is not None and state.up
    return SessionEntry(
        peer=name,
        neighbor=peer.id,
        vrf=peer.vrf,
        state=SessionStatus.ESTABLISHED if up else SessionStatus.SHUTDOWN if peer.shutdown else SessionStatus.DOWN,
        since=_moment(state) if state is not None and up else down_since,
        message="; ".join(_remarks(snapshot, peer, state)),
        rejected=any(each.peer == name for each in snapshot.rejected),
        last_reset=state.last_reset if state is not None else "",
        bfd=state.bfd if state is not None else "",
        families=state.families if state is not None and up else (),
        wanted=wanted,
        sent=state.sent_prefixes if state is not None and up else 0,
    )


def _remarks(snapshot: Snapshot, peer: Peer, state: SessionState | None) -> list[str]:
    """Say what is wrong with a session, or waits."""
    remarks = [_refusal(each) for each in snapshot.rejected if each.peer == peer.name]
    remarks += [
        f"a reset waits for this node's turn ({each.reason})"
        for each in snapshot.withheld
        if (each.vrf, each.neighbor) == (peer.vrf, peer.id)
    ]
    remarks += [_ends(each) for each in snapshot.withheld if each.peer == peer.name]
    if peer.name in snapshot.password_problems:
        remarks.append(f"goes on with the password that it had: {snapshot.password_problems[peer.name]}")
    if state is not None and not state.up and not peer.shutdown:
        remarks.append(_why_down(state))
    elif state is None and not remarks and not peer.shutdown:
        remarks.append("FRR does not have it yet")
    bgpd = snapshot.daemons.get(Daemon.BGPD)
    version = bgpd.version if bgpd is not None else ""
    return [*remarks, *_unsupported(snapshot), *filter(None, [frr_versions.late_bfd(version, peer)])]


def _ends(withheld: Reset) -> str:
    return f"the session with {withheld.neighbor} ends in this node's turn ({withheld.reason})"


def _unsupported(snapshot: Snapshot) -> list[str]:
    """Say of what release FRR or its Pod is, where these speakers are not made for it."""
    bgpd = snapshot.daemons.get(Daemon.BGPD)
    if bgpd is None:
        return []
    return [*filter(None, (frr_versions.too_old(bgpd.version), pod_releases.unsupported(bgpd.pod_release)))]


def _why_down(state: SessionState) -> str:
    if state.last_error:
        meaning = _NOTIFICATIONS.get(state.last_error, f"NOTIFICATION {state.last_error[:2]}/{state.last_error[2:]}")
        return f"not connected; last NOTIFICATION: {meaning}"
    if state.bfd and state.bfd.lower() != "up" and state.drops:
        return f"not connected; its BFD session is {state.bfd}"
    return f"not connected; {state.last_reset}" if state.last_reset else "not connected: the router does not answer"


def _refusal(rejected: Rejected) -> str:
    return f"FRR refuses {rejected.command!r}: {rejected.answer}"


def _why(refused: Refused) -> str:
    return f"{refused.reason} ({refused.other})" if refused.other else str(refused.reason)


def _moment(state: SessionState) -> str:
    return moment(state.established_at) if state.established_at is not None else ""


def moment(seconds: float) -> str:
    """Return a moment in whole seconds as the API writes it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
