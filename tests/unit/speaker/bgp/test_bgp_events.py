"""Events on BGPPeers: each change once, with the node and the reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from allocator.bgp.command import Reset
from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.kube.resource import Resource
from allocator.objects.names import BGP_PEERS
from speaker.bgp.events import Rejected, Resetting
from speaker.bgp.reports import SessionState, Snapshot
from speaker.status.bgp_events import FRESH_SECONDS, BgpEvents
from tests.unit.speaker.bgp.said_by_bgp import TOR, session

NOW = 1_000_000.0


class Recorder:
    def __init__(self) -> None:
        self.said: list[tuple[str, str, bool]] = []
        self.about: list[Object] = []

    def record(
        self, about: Object, *, reason: str, message: str, normal: bool = True, kind: Resource = BGP_PEERS
    ) -> None:
        assert kind is BGP_PEERS
        self.said.append((reason, message, normal))
        self.about.append(about)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def events(recorder: Recorder) -> BgpEvents:
    return BgpEvents(node="node-1", namespace="metallb-system", recorder=recorder, clock=lambda: NOW)


def see(events: BgpEvents, *states: SessionState) -> None:
    events.on_snapshot(Snapshot(node="node-1", sessions={"tor": TOR}, states={each.peer: each for each in states}))


def up(**fields: Any) -> SessionState:
    return session(TOR, established_at=NOW - 1.0, **fields)


def test_session_that_comes_up_and_ends_is_said_once_each(events: BgpEvents, recorder: Recorder) -> None:
    see(events, session(TOR, "Active"))
    for _ in range(2):
        see(events, up())
    for _ in range(2):
        see(events, session(TOR, "Idle", last_reset="Hold Timer Expired"))
    assert recorder.said == [
        ("SessionUp", 'node "node-1": the session with 192.0.2.1 is established', True),
        ("SessionDown", 'node "node-1": the session with 192.0.2.1 has ended: Hold Timer Expired', False),
    ]


def test_session_that_a_speaker_finds_up_is_news_while_it_is_young(events: BgpEvents, recorder: Recorder) -> None:
    see(events, session(TOR, established_at=NOW - FRESH_SECONDS - 1.0))
    assert recorder.said == []


def test_new_session_is_news(events: BgpEvents, recorder: Recorder) -> None:
    see(events)
    see(events, up())
    assert [reason for reason, *_ in recorder.said] == ["SessionUp"]


def test_sessions_of_an_frr_that_ends_have_ended(events: BgpEvents, recorder: Recorder) -> None:
    see(events, up())
    recorder.said.clear()
    see(events)
    assert recorder.said == [
        ("SessionDown", 'node "node-1": the session with 192.0.2.1 has ended: FRR is not reached', False)
    ]


def test_peer_that_is_deleted_is_no_session_that_ended(events: BgpEvents, recorder: Recorder) -> None:
    see(events, up())
    recorder.said.clear()
    events.on_snapshot(Snapshot(node="node-1"))
    assert recorder.said == []


def test_reset_is_announced_with_what_was_changed(events: BgpEvents, recorder: Recorder) -> None:
    see(events, up())
    recorder.said.clear()
    events.on_event(Resetting((Reset("", "192.0.2.1", "password set"), Reset("", "192.0.2.99", "removed"))))
    assert recorder.said == [
        ("SessionReset", 'node "node-1": resetting the session with 192.0.2.1: password set', True)
    ]


def test_peer_with_another_address_has_another_session(events: BgpEvents, recorder: Recorder) -> None:
    see(events, up())
    recorder.said.clear()
    moved = replace(TOR, address=Address.parse("192.0.2.9"))
    for states in ({}, {"tor": session(moved, "Active")}, {"tor": session(moved, established_at=NOW - 1.0)}):
        events.on_snapshot(Snapshot(node="node-1", sessions={"tor": moved}, states=states))
    assert recorder.said == [("SessionUp", 'node "node-1": the session with 192.0.2.9 is established', True)]
    recorder.said.clear()
    events.on_event(Resetting((Reset("", "192.0.2.1", "peerAddress changed"),)))
    assert recorder.said == [
        ("SessionReset", 'node "node-1": resetting the session with 192.0.2.1: peerAddress changed', True)
    ]


def test_refusal_is_said_with_frrs_words_and_found_by_the_peers_uid(events: BgpEvents, recorder: Recorder) -> None:
    stored = {"metadata": {"name": "tor", "uid": "7"}}
    events.on_peer(Change(BGP_PEERS, ("metallb-system", "tor"), None, stored, "1"))
    events.on_event(Rejected("neighbor 192.0.2.1 port 0", "% bad", peer="tor"))
    events.on_event(Rejected("profile fast", "% bad", profile="fast"))
    assert recorder.said == [
        ("ConfigRejected", "node \"node-1\": FRR refuses 'neighbor 192.0.2.1 port 0': % bad", False)
    ]
    assert recorder.about == [{"metadata": {"name": "tor", "namespace": "metallb-system", "uid": "7"}}]
