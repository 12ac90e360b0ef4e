"""Metrics of BGP: MetalLB's names and labels, a series for each session that is configured, endings counted once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from allocator.bgp.command import Daemon, Reset
from allocator.bgp.desired import Announcement
from allocator.bgp.eligibility import Reason
from allocator.bgp.inputs import Peer
from allocator.core.addresses import Address
from speaker.bgp.announced_services import AnnouncedServices
from speaker.bgp.bfd_sessions import bfd_sessions
from speaker.bgp.events import Applied, Connected, Rejected, Resetting
from speaker.bgp.metrics import BgpMetrics
from speaker.bgp.reports import Leave, ServiceRoutes, Snapshot
from tests.unit.speaker.bgp.said_by_bgp import CONNECTED, SIX, TOR, SaidByBgp, prefix, session, told

BFD = [
    {"peer": "2001:db8::1", "vrf": "default", "status": "up"},
    {"peer": "192.0.2.9", "vrf": "red", "status": "down"},
]
COUNTED = [
    {
        "peer": "2001:db8::1",
        "vrf": "default",
        "control-packet-input": 5,
        "control-packet-output": 6,
        "echo-packet-input": 7,
        "echo-packet-output": 8,
        "session-up": 1,
        "session-down": 2,
        "zebra-notifications": 4,
    }
]
MESSAGES = {
    "opensSent": 1,
    "opensRecv": 2,
    "notificationsSent": 3,
    "updatesSent": 4,
    "updatesRecv": 5,
    "keepalivesSent": 6,
    "keepalivesRecv": 7,
    "routeRefreshSent": 8,
    "totalSent": 9,
    "totalRecv": 10,
}


def snapshot(*peers: Peer, **fields: Any) -> Snapshot:
    states = {peer.name: session(peer) for peer in peers}
    given = {"daemons": CONNECTED, "sessions": {peer.name: peer for peer in peers}, "states": states, **fields}
    return Snapshot(node="node-1", **given)


class Scraped:
    """The metrics of a reader, and what a scrape shows of them."""

    def __init__(self, reader: SaidByBgp) -> None:
        self.registry = CollectorRegistry()
        self.reader = reader
        self.metrics = BgpMetrics(reader, self.registry)

    def see(self, now: Snapshot) -> None:
        self.reader.now = now
        self.metrics.on_snapshot(now)

    def __getitem__(self, name: str) -> dict[tuple[str, ...], float]:
        """By the values of the labels in their order, all that is not 0."""
        text = generate_latest(self.registry).decode()
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        return {tuple(one.labels.values()): one.value for one in samples if one.name == name and one.value}


def test_sessions_have_metallbs_names_and_labels() -> None:
    state = session(TOR, port=1790, sent_prefixes=3, message_counts=MESSAGES)
    scraped = Scraped(SaidByBgp(snapshot(TOR, states={"tor": state})))
    lines = generate_latest(scraped.registry).decode().splitlines()
    wanted = {
        "session_up": 1,
        "announced_prefixes_total": 3,
        "opens_sent": 1,
        "opens_received": 2,
        "notifications_sent": 3,
        "updates_total": 4,
        "updates_total_received": 5,
        "keepalives_sent": 6,
        "keepalives_received": 7,
        "route_refresh_sent": 8,
        "total_sent": 9,
        "total_received": 10,
    }
    for name, value in wanted.items():
        assert f'metallb_bgp_{name}{{peer="192.0.2.1:1790",vrf="default"}} {value}.0' in lines


def test_peers_of_ipv6_interfaces_and_vrfs_are_labelled() -> None:
    """MetalLB's way of writing IPv6; of an interface its exporter shows nothing at all."""
    interface = replace(TOR, name="if", address=None, interface="eth0", vrf="red")
    scraped = Scraped(SaidByBgp(snapshot(SIX, interface)))
    assert set(scraped["metallb_bgp_session_up"]) == {("2001:db8::1:179", "default"), ("eth0:179", "red")}


def test_session_that_frr_does_not_know_is_down_and_not_missing() -> None:
    scraped = Scraped(SaidByBgp(snapshot(TOR, states={}, daemons={})))
    lines = generate_latest(scraped.registry).decode().splitlines()
    assert 'metallb_bgp_session_up{peer="192.0.2.1:179",vrf="default"} 0.0' in lines
    assert 'admitlb_bgp_frr_connected{daemon="bgpd"} 0.0' in lines
    assert 'metallb_bgp_announced_prefixes_total{peer="192.0.2.1:179",vrf="default"} 0.0' in lines


def test_bfd_sessions_have_metallbs_names_and_labels() -> None:
    answers = {"show bfd peers json": BFD, "show bfd peers counters json": COUNTED}
    scraped = Scraped(SaidByBgp(snapshot(SIX), answers=answers))
    peer = ("2001:db8::1", "default")
    assert scraped["metallb_bfd_session_up"] == {peer: 1}
    values = [scraped[f"metallb_bfd_{name}"] for name in ("control_packet_input", "control_packet_output")]
    assert values == [{peer: 5}, {peer: 6}]
    names = ("echo_packet_input", "echo_packet_output", "session_up_events", "session_down_events")
    assert [scraped[f"metallb_bfd_{name}"][peer] for name in names] == [7, 8, 1, 2]
    assert scraped["metallb_bfd_zebra_notifications"] == {peer: 4}


@pytest.mark.parametrize("answer", ["none", {}, [1], [{"status": "up"}]])
def test_what_bfdd_should_not_answer_fails_no_scrape(answer: Any) -> None:
    answers = {} if answer == "none" else {"show bfd peers json": answer, "show bfd peers counters json": answer}
    reader = SaidByBgp(snapshot(SIX), answers=answers)
    assert bfd_sessions(reader.ask) == []
    assert Scraped(reader)["metallb_bgp_session_up"]


def test_bfdd_is_not_asked_where_no_session_has_bfd() -> None:
    answers = {"show bfd peers json": BFD, "show bfd peers counters json": COUNTED}
    assert Scraped(SaidByBgp(snapshot(TOR), answers=answers))["metallb_bfd_session_up"] == {}


def test_how_long_a_session_lags_behind_is_its_own() -> None:
    scraped = Scraped(SaidByBgp(snapshot()))
    scraped.see(snapshot(TOR, SIX))
    assert not scraped["admitlb_bgp_route_lag_seconds"]
    scraped.reader.behind = {SIX.name: 2.5}
    assert scraped["admitlb_bgp_route_lag_seconds"] == {(f"{SIX.id}:179", "default"): 2.5}


def test_wanted_prefixes_are_those_of_the_session() -> None:
    announced = {
        prefix("198.51.100.1/32"): told(),
        prefix("198.51.100.2/32"): told("tor"),
        prefix("2001:db8:1::1/128"): told(),
    }
    scraped = Scraped(SaidByBgp(snapshot(TOR), announced=announced))
    assert scraped["admitlb_bgp_wanted_prefixes"] == {("192.0.2.1:179", "default"): 2}


def test_session_that_ends_is_counted_with_frrs_reason() -> None:
    scraped = Scraped(SaidByBgp(snapshot(TOR)))
    scraped.see(snapshot(TOR))
    down = session(TOR, "Active", drops=1, last_reset="Hold Timer Expired")
    scraped.see(snapshot(TOR, states={"tor": down}))
    scraped.see(snapshot(TOR, states={"tor": down}))
    assert scraped["admitlb_bgp_session_resets_total"] == {("session", "Hold Timer Expired"): 1}
    assert scraped["admitlb_bgp_session_drops_total"] == {("192.0.2.1:179", "default"): 1}


def test_session_that_ends_and_comes_back_between_two_looks_is_counted() -> None:
    scraped = Scraped(SaidByBgp(snapshot(TOR)))
    scraped.see(snapshot(TOR))
    scraped.see(snapshot(TOR, states={"tor": session(TOR, drops=2, last_reset="Peer closed the session")}))
    assert scraped["admitlb_bgp_session_resets_total"] == {("session", "Peer closed the session"): 2}


def test_reset_by_a_change_is_counted_once_and_by_what_was_changed() -> None:
    scraped = Scraped(SaidByBgp(snapshot(TOR)))
    scraped.see(snapshot(TOR))
    scraped.metrics.on_event(Resetting((Reset("", "192.0.2.1", "password set"),)))
    scraped.see(snapshot(TOR))
    scraped.see(snapshot(TOR, states={"tor": session(TOR, "Idle", drops=1, last_reset="Password config change")}))
    scraped.see(snapshot(TOR, states={"tor": session(TOR, drops=1)}))
    assert scraped["admitlb_bgp_session_resets_total"] == {("configuration", "password set"): 1}
    scraped.see(snapshot(TOR, states={"tor": session(TOR, drops=2, last_reset="Hold Timer Expired")}))
    assert scraped["admitlb_bgp_session_resets_total"]["session", "Hold Timer Expired"] == 1


def test_session_to_another_address_is_no_session_that_ended() -> None:
    moved = replace(TOR, address=Address.parse("192.0.2.9"))
    scraped = Scraped(SaidByBgp(snapshot(TOR)))
    for seen in (snapshot(TOR), snapshot(moved, states={}), snapshot(moved)):
        scraped.see(seen)
    assert scraped["admitlb_bgp_session_resets_total"] == {}


def test_frr_that_ends_takes_its_sessions_with_it() -> None:
    scraped = Scraped(SaidByBgp(snapshot(TOR)))
    scraped.metrics.on_event(Connected(Daemon.BGPD, 7, "10.3"))
    scraped.see(snapshot(TOR))
    scraped.see(snapshot(TOR, states={}, daemons={}))
    scraped.metrics.on_event(Connected(Daemon.BGPD, 8, "10.3"))
    scraped.see(snapshot(TOR))
    assert scraped["admitlb_bgp_session_resets_total"] == {("session", "FRR ended"): 1}
    assert scraped["admitlb_bgp_frr_restarts_total"] == {("bgpd",): 1}


def test_what_frr_refuses_and_how_long_it_takes_is_counted() -> None:
    rejected = Rejected("neighbor 192.0.2.1 port 0", "% no", peer="tor")
    scraped = Scraped(SaidByBgp(snapshot(TOR, rejected=(rejected,), leave=Leave.MARKED)))
    for event in (rejected, Rejected("network", "% no", network=("", prefix("198.51.100.1/32"))), Applied(3, 0.02)):
        scraped.metrics.on_event(event)
    assert scraped["admitlb_bgp_config_rejected_total"] == {("BGPPeer",): 1, ("prefix",): 1}
    assert scraped["admitlb_bgp_refused"] == {(): 1}
    assert scraped["admitlb_bgp_leaving"] == {(): 1}
    assert scraped["admitlb_bgp_apply_seconds_count"] == {(): 1}


def announced(*addresses: str) -> ServiceRoutes:
    return ServiceRoutes({Address.parse(each): Announcement({prefix(f"{each}/32"): ("all",)}) for each in addresses})


def test_announced_addresses_have_metallbs_name_and_labels_and_follow_changes() -> None:
    reader = SaidByBgp(snapshot(TOR), routes={"prod/web": announced("198.51.100.1", "198.51.100.2")})
    registry = CollectorRegistry()
    services = AnnouncedServices(reader, registry, node="node-1")

    def series() -> set[str]:
        return {line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")}

    def one(service: str, ip: str) -> str:
        labels = f'ip="{ip}",node="node-1",protocol="bgp",service="{service}"'
        return f"metallb_speaker_announced{{{labels}}} 1.0"

    assert series() == {one("prod/web", "198.51.100.1"), one("prod/web", "198.51.100.2")}
    reader.routes["prod/web"] = announced("198.51.100.2")
    reader.routes["prod/api"] = announced("198.51.100.3")
    services.on_services(frozenset({"prod/web", "prod/api"}))
    assert series() == {one("prod/web", "198.51.100.2"), one("prod/api", "198.51.100.3")}
    reader.routes = {
        "prod/api": ServiceRoutes({Address.parse("198.51.100.3"): Announcement(reason=Reason.NO_ENDPOINTS)})
    }
    services.on_services(None)
    assert series() == set()
