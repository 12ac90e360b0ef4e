"""What is said of sessions is what bgpd and bfdd say: metrics, and the node's report."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from allocator.bgp.command import Daemon
from allocator.bgp.inputs import Service
from allocator.core.addresses import Address
from allocator.kube.reflector import Change
from allocator.kube.resource import NODES, Resource
from allocator.objects.bgp_node_status import SessionEntry, SessionStatus
from allocator.objects.names import BFD_PROFILES, BGP_ADVERTISEMENTS, BGP_PEERS, IP_ADDRESS_POOLS
from speaker.bgp.announcer import BgpAnnouncer
from speaker.bgp.listeners import Listeners
from speaker.bgp.metrics import BgpMetrics
from speaker.bgp.node_report import node_report
from speaker.bgp.settings import LISTED, BgpSettings
from tests.frr.driver.bed import BIRD_ADDRESS, NODE_ASN, ROUTER_ADDRESS, ROUTER_ASN, Bed
from tests.lab.waiting import wait_until

SECONDS = 40.0
VIPS = [Address.parse(f"198.51.100.{number}") for number in range(1, 4)]
BIRD, ROUTER = (f"{BIRD_ADDRESS}:179", "default"), (f"{ROUTER_ADDRESS}:179", "default")


class Speaker:
    """The part of a speaker that announces by BGP, on the node of the bed, with its metrics."""

    def __init__(self, site: Bed) -> None:
        self.site = site
        self.registry = CollectorRegistry()
        settings = BgpSettings(node="node-1", sockets=site.frr.sockets, kube_proxy_url="", marked_seconds=1.0)
        self.announcer = BgpAnnouncer(settings)
        self.announcer.report_to(Listeners(BgpMetrics(self.announcer, self.registry)))
        self.announcer.start()
        self.put(NODES, "node-1", {})
        self.put(IP_ADDRESS_POOLS, "main", {})
        self.put(BGP_ADVERTISEMENTS, "all", {})
        for kind in LISTED:
            self.announcer.on_listed(kind)
        self.announcer.follow(
            {("prod", f"web-{vip}"): Service(addresses={vip: ("main",)}, has_endpoints=True) for vip in VIPS}
        )
        self.announcer.on_known()

    def put(self, kind: Resource, name: str, spec: Any) -> None:
        document = {"metadata": {"name": name, "namespace": "metallb-system"}, "spec": spec, "status": {}}
        self.announcer.on_change(Change(kind, ("metallb-system", name), None, document, "1"))

    def peer(self, name: str, **spec: Any) -> None:
        fields = {"myASN": NODE_ASN, "peerASN": ROUTER_ASN, "connectTime": "1s", "routerID": "10.0.1.1", **spec}
        self.put(BGP_PEERS, name, fields)

    def asked(self, daemon: Daemon, command: str) -> Any:
        return json.loads(self.announcer.ask(daemon, command).result(10.0).text)

    def scrape(self) -> dict[str, dict[tuple[str, ...], float]]:
        """By metric, its samples by the values of their labels in order."""
        found: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
        for family in text_string_to_metric_families(generate_latest(self.registry).decode()):
            for sample in family.samples:
                found[sample.name][tuple(sample.labels.values())] = sample.value
        return found

    def entry(self, name: str) -> SessionEntry:
        now = self.announcer.snapshot()
        wanted = self.announcer.wanted()
        found = node_report(now, wanted, down_since={}).session(name)
        return found or SessionEntry(peer=name)

    def wait(self, right: Callable[[], object], what: str) -> None:
        wait_until(right, SECONDS, what)


@pytest.fixture
def speaker(site: Bed) -> Iterator[Speaker]:
    site.applying.applying.close()
    speaker = Speaker(site)
    yield speaker
    speaker.announcer.stop()


def test_metrics_are_what_bgpd_and_bfdd_count(speaker: Speaker) -> None:
    speaker.put(BFD_PROFILES, "fast", {"receiveInterval": 300, "transmitInterval": 300})
    speaker.peer("bird", peerAddress=BIRD_ADDRESS)
    speaker.peer("router", peerAddress=ROUTER_ADDRESS)
    speaker.wait(lambda: speaker.scrape()["metallb_bgp_session_up"] == {BIRD: 1, ROUTER: 1}, "both sessions are up")
    # Not before: 10.3 holds a new session back until the router answers BFD, which this one does not speak.
    speaker.peer("router", peerAddress=ROUTER_ADDRESS, bfdProfile="fast")
    speaker.wait(lambda: speaker.scrape()["metallb_bfd_control_packet_output"], "BFD is asked for")
    all_sent = {BIRD: len(VIPS), ROUTER: len(VIPS)}
    speaker.wait(
        lambda: speaker.scrape()["metallb_bgp_announced_prefixes_total"] == all_sent, "all prefixes are sent"
    )
    before = speaker.asked(Daemon.BGPD, "show bgp neighbors json")
    # Sessions are read every two seconds: what is scraped is of a moment between two of bgpd's answers.
    speaker.wait(
        lambda: _counted(speaker, before, "updatesSent", "metallb_bgp_updates_total"),
        "updates are counted as bgpd does",
    )
    scraped = speaker.scrape()
    assert scraped["admitlb_bgp_wanted_prefixes"] == all_sent
    for name in ("opens_sent", "opens_received", "updates_total", "keepalives_sent", "total_sent", "total_received"):
        assert all(value > 0 for value in scraped[f"metallb_bgp_{name}"].values()), name
    assert scraped["admitlb_bgp_frr_connected"] == {("bgpd",): 1, ("bfdd",): 1}
    assert scraped["admitlb_bgp_apply_seconds_count"][()] >= 1
    said = {each["peer"]: each for each in speaker.asked(Daemon.BFDD, "show bfd peers json")}
    up = scraped["metallb_bfd_session_up"]
    assert set(up) == {(ROUTER_ADDRESS, "default")}
    assert up[ROUTER_ADDRESS, "default"] == float(said[ROUTER_ADDRESS]["status"] == "up")
    assert set(scraped["metallb_bfd_control_packet_output"]) == {(ROUTER_ADDRESS, "default")}


def _counted(speaker: Speaker, before: Mapping[str, Any], key: str, name: str) -> bool:
    after = speaker.asked(Daemon.BGPD, "show bgp neighbors json")
    found = speaker.scrape()[name]
    return all(
        before[address]["messageStats"][key]
        <= found[f"{address}:179", "default"]
        <= after[address]["messageStats"][key]
        for address in (BIRD_ADDRESS, ROUTER_ADDRESS)
    )


def test_report_follows_sessions_that_come_end_and_are_refused(speaker: Speaker) -> None:
    speaker.peer("bird", peerAddress=BIRD_ADDRESS)
    speaker.peer("nobody", peerAddress="10.0.1.99")
    speaker.peer("stranger", peerAddress=ROUTER_ADDRESS, peerASN=ROUTER_ASN + 1)
    speaker.wait(lambda: speaker.entry("bird").up, "one is up")
    speaker.wait(lambda: speaker.entry("bird").sent == len(VIPS), "with all prefixes")
    up = speaker.entry("bird")
    assert (up.families, up.wanted, bool(up.since), up.message) == (("IPv4",), len(VIPS), True, "")
    speaker.wait(lambda: "bad peer AS" in speaker.entry("stranger").message, "the router's refusal is in words")
    assert speaker.entry("nobody").state == SessionStatus.DOWN
    assert speaker.entry("nobody").message
    speaker.peer("bird", peerAddress=BIRD_ADDRESS, shutdown=True)
    speaker.wait(lambda: speaker.entry("bird").state == SessionStatus.SHUTDOWN, "shutdown is said")
    resets = speaker.scrape()["admitlb_bgp_session_resets_total"]
    assert resets == {("configuration", "shutdown set"): 1}
