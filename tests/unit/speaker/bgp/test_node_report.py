"""What a node reports of its sessions: each case in words, and nothing that changes by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from allocator.bgp.command import Daemon, Reset
from allocator.bgp.inputs import Peer
from allocator.bgp.sessions import NoSession, Refused
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, SessionStatus, node_status_from
from speaker.bgp.events import Rejected
from speaker.bgp.node_report import node_report
from speaker.bgp.pod_release import RELEASE
from speaker.bgp.reports import DaemonState, SessionState, Snapshot
from tests.unit.speaker.bgp.said_by_bgp import CONNECTED, SIX, TOR, session

EPOCH, MOMENT = 1767225600.7, "2026-01-01T00:00:00Z"


WITHOUT_HOLD_TIME = replace(TOR, bfd_profile="fast", keepalive_seconds=0, hold_seconds=0)


def of_version(version: str) -> dict[Daemon, DaemonState]:
    return {daemon: replace(state, version=version) for daemon, state in CONNECTED.items()}


def of_pod(release: str) -> dict[Daemon, DaemonState]:
    return {daemon: replace(state, pod_release=release) for daemon, state in CONNECTED.items()}


def snapshot(*states: SessionState, peers: tuple[Peer, ...] = (TOR,), **fields: Any) -> Snapshot:
    given = {"daemons": CONNECTED, "sessions": {peer.name: peer for peer in peers}, **fields}
    return Snapshot(node="node-1", states={state.peer: state for state in states}, **given)


def entry(now: Snapshot, down_since: str = "") -> SessionEntry:
    found = node_report(now, {"tor": 7}, down_since={"tor": down_since}).session("tor")
    assert found is not None
    return found


def test_session_that_is_up_has_its_numbers() -> None:
    up = session(TOR, established_at=EPOCH, sent_prefixes=5, families=("IPv4",), bfd="Up", last_reset="Hold Timer")
    assert entry(snapshot(up), down_since=MOMENT) == SessionEntry(
        peer="tor",
        neighbor="192.0.2.1",
        state=SessionStatus.ESTABLISHED,
        since=MOMENT,
        families=("IPv4",),
        bfd="Up",
        last_reset="Hold Timer",
        wanted=7,
        sent=5,
    )


def test_frrs_ways_of_being_down_are_one_so_that_a_router_that_is_away_costs_no_writes() -> None:
    entries = {entry(snapshot(session(TOR, state)), MOMENT) for state in ("Idle", "Connect", "Active", "OpenSent")}
    assert len(entries) == 1
    assert entries.pop().state == SessionStatus.DOWN


@pytest.mark.parametrize(
    ("now", "state", "said"),
    [
        (snapshot(session(TOR, "Active")), "Down", "the router does not answer"),
        (snapshot(session(TOR, "Active", last_error="0202")), "Down", "bad peer AS"),
        (snapshot(session(TOR, "Active", last_error="0607")), "Down", "another program of this node"),
        (snapshot(session(TOR, "Active", last_error="0699")), "Down", "NOTIFICATION 06/99"),
        (snapshot(session(TOR, "Idle", last_reset="Hold Timer Expired", drops=1)), "Down", "Hold Timer Expired"),
        (snapshot(session(TOR, "Idle", bfd="Down", drops=1)), "Down", "its BFD session is Down"),
        (snapshot(), "Down", "FRR does not have it yet"),
        (snapshot(session(TOR), daemons=of_version("8.1")), "Established", "FRR 8.1 is older than 8.4"),
        (snapshot(session(TOR), daemons=of_pod("99.9")), "Established", "the Pod of frr is of AdmitLB 99.9"),
        (snapshot(session(TOR), daemons=of_pod(RELEASE)), "Established", ""),
        (
            snapshot(session(TOR), peers=(WITHOUT_HOLD_TIME,), daemons=of_version("10.5.3")),
            "Established",
            "FRR 10.5.3 ends a session with holdTime 0s only 30 s after BFD went down",
        ),
        (snapshot(peers=(replace(TOR, shutdown=True),)), "Shutdown", ""),
        (snapshot(session(TOR, "Idle"), peers=(replace(TOR, shutdown=True),)), "Shutdown", ""),
        (
            snapshot(rejected=(Rejected("neighbor 192.0.2.1 port 0", "% bad", peer="tor"),)),
            "Down",
            "FRR refuses 'neighbor 192.0.2.1 port 0': % bad",
        ),
        (
            snapshot(session(TOR), withheld=(Reset("", "192.0.2.1", "password set"),)),
            "Established",
            "a reset waits for this node's turn (password set)",
        ),
        (
            snapshot(session(TOR), withheld=(Reset("red", "192.0.2.1", "vrf changed", "tor"),)),
            "Established",
            "the session with 192.0.2.1 ends in this node's turn (vrf changed)",
        ),
        (
            snapshot(session(TOR), password_problems={"tor": "Secret a: type: Opaque"}),
            "Established",
            "goes on with the password that it had: Secret a: type: Opaque",
        ),
        (
            snapshot(
                peers=(),
                refused={"tor": Refused(NoSession.NO_PASSWORD)},
                password_problems={"tor": "Secret a: type: Opaque"},
            ),
            "Refused",
            "its password is missing: Secret a: type: Opaque",
        ),
        (
            snapshot(peers=(), refused={"tor": Refused(NoSession.PEER_IN_USE)}),
            "PeerInUse",
            "set sourceAddress to another address of the node",
        ),
        (
            snapshot(peers=(), refused={"tor": Refused(NoSession.SAME_NEIGHBOR, "older")}),
            "Refused",
            "another BGPPeer has the same address or interface in this VRF (older)",
        ),
    ],
)
def test_each_case_is_said_in_words(now: Snapshot, state: str, said: str) -> None:
    found = entry(now)
    assert found.state == state
    assert said in found.message
    assert bool(said) == bool(found.message)


def test_peers_that_are_for_other_nodes_are_not_listed() -> None:
    now = snapshot(refused={"far": Refused(NoSession.NOT_SELECTED), "bad": Refused(NoSession.NO_PASSWORD)})
    assert [one.peer for one in node_report(now, {}, down_since={}).sessions] == ["bad", "tor"]


def test_node_says_what_keeps_frr_from_having_all() -> None:
    now = snapshot(
        daemons={
            Daemon.BGPD: DaemonState(connected=False, error="no such file"),
            Daemon.BFDD: CONNECTED[Daemon.BFDD],
        },
        waiting_for="the Services and Nodes",
        known=False,
        leave_reason="SIGTERM",
        withheld=(Reset("", "192.0.2.1", "password set"), Reset("", "192.0.2.9", "moved")),
        rejected=(Rejected("profile p", "% no", profile="fast"),),
    )
    message = node_report(now, {}, down_since={}).message
    for said in ("bgpd is not reached: no such file", "waiting for the Services", "the node leaves: SIGTERM", "% no"):
        assert said in message
    assert "the session with 192.0.2.9 ends in this node's turn (moved)" in message
    assert "192.0.2.1" not in message
    assert node_report(snapshot(), {}, down_since={}).message == ""
    assert "older than 8.4" in node_report(snapshot(daemons=of_version("8.1")), {}, down_since={}).message
    assert "of AdmitLB 99.9" in node_report(snapshot(daemons=of_pod("99.9")), {}, down_since={}).message


def test_established_counts_those_that_are_to_be() -> None:
    shut = replace(SIX, name="shut", shutdown=True)
    found = node_report(snapshot(session(TOR), peers=(TOR, SIX, shut)), {}, down_since={})
    assert found.established == "1/2"


def test_object_is_read_as_it_is_written() -> None:
    up = session(TOR, established_at=EPOCH, sent_prefixes=5, families=("IPv4", "IPv6"))
    written = node_report(snapshot(up, peers=(TOR, SIX)), {"tor": 3}, down_since={"six": MOMENT})
    document = {"metadata": {"name": "node-1"}, "status": written.as_status()}
    assert node_status_from(document) == written
    assert node_status_from({"metadata": {"name": "node-1"}}) == BgpNodeStatus(node="node-1")
