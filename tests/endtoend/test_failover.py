"""How announcing moves between nodes: what a client notices, and what people are shown of it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.resource import EVENTS, LEASES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ALLOCATIONS, L2_ADVERTISEMENTS, SERVICE_L2_STATUSES
from speaker.frames.arp import Operation, gratuitous
from speaker.membership.membership import STEADY_SECONDS
from tests.bench import speaker_failover
from tests.bench.speaker_site import BACKEND, VIP, SpeakerSite, speaker_site
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.processes import Process
from tests.lab.waiting import wait_until
from tests.wire.speaking import tap

HEARTBEAT_PORT = "7946"
OUTAGE_LIMIT_MS = 2000.0
"""Twice what an idle machine keeps to: these tests share theirs."""


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[SpeakerSite]:
    with speaker_site(lab) as site:
        yield site


def speaker_of(site: SpeakerSite, node: Node) -> Process:
    pods = site.lab.pods(DEFAULT_NAMESPACE, "component=speaker")
    pod = next(pod["metadata"]["name"] for pod in pods if pod["spec"]["nodeName"] == node.name)
    return site.lab.processes()[f"{DEFAULT_NAMESPACE}/{pod}/speaker"]


def test_a_lost_carrier_moves_the_address_at_once(site: SpeakerSite) -> None:
    assert speaker_failover.carrier_lost(site) < OUTAGE_LIMIT_MS / 2


def test_restarting_every_speaker_fails_no_request_and_moves_no_traffic(site: SpeakerSite) -> None:
    before = site.announcer()
    outage = speaker_failover.rollout(site)
    assert outage.requests > 100
    assert outage.failures == ()
    assert site.announcer() is before


def test_a_drained_node_gives_its_traffic_away_when_its_speaker_ends(site: SpeakerSite) -> None:
    before = site.announcer()
    site.lab.kubectl("cordon", before.name)
    try:
        # Longer than the speakers need to hear of it.
        site.let_it_run(1.0)
        speaker_of(site, before).terminate()
        assert site.announcer(other_than=before).mac() not in (None, before.mac())
    finally:
        site.lab.kubectl("uncordon", before.name)
        site.steady()


def test_a_node_that_comes_back_takes_nothing_back(site: SpeakerSite) -> None:
    before = site.announcer()
    before.kill()
    successor = site.announcer(other_than=before)
    before.revive()
    site.steady()
    assert site.announcer() is successor


def test_a_node_whose_cable_is_back_knows_what_happened_meanwhile_and_gets_what_it_is_preferred_for(
    site: SpeakerSite,
) -> None:
    node = site.announcer()
    chosen = {"matchLabels": {"chosen": "yes"}}
    preference = [{"weight": 10, "preference": chosen}]
    site.admission_works()
    site.create(
        L2_ADVERTISEMENTS,
        DEFAULT_NAMESPACE,
        "chosen",
        interfaces=["eth0"],
        nodeSelectors=[chosen],
        preferredNodeSelectors=preference,
    )
    mac = node.mac("eth0")
    node.link("eth0").down()
    try:
        site.announcer(other_than=node)
        site.lab.kubectl("label", "node", node.name, "chosen=yes")
        # What the API server sends there meanwhile, it sends again at intervals that double.
        site.let_it_run(4.0)
    finally:
        node.link("eth0").up()
    back = time.monotonic()
    try:
        wait_until(lambda: set(site.asker.who_has(VIP, listen_seconds=0.1)) == {mac}, 20, f"{node.name} answers")
        assert STEADY_SECONDS < time.monotonic() - back < STEADY_SECONDS + OUTAGE_LIMIT_MS / 1000
    finally:
        site.lab.kubectl("label", "node", node.name, "chosen-")
        site.steady()


def test_a_node_may_die_while_the_api_server_is_down(site: SpeakerSite) -> None:
    assert speaker_failover.node_killed_without_api(site) < OUTAGE_LIMIT_MS


def test_a_healed_partition_has_one_announcer_again(site: SpeakerSite) -> None:
    logs = [Log(speaker_of(site, node)) for node in site.lab.nodes.values()]
    assert speaker_failover.partition_healed(site) < OUTAGE_LIMIT_MS
    # Counted by whichever of the two was told by the other first.
    counted = [("address.announced-twice", f"ip={VIP}"), ("address.rival", f"ip={VIP}")]
    wait_until(lambda: any(log.has(*words) for log in logs for words in counted), 10, "the double answer is counted")


def test_a_speaker_that_nobody_hears_gives_way_by_lease_and_all_say_so(site: SpeakerSite) -> None:
    cut_off = site.announcer()
    others = [node for node in site.lab.nodes.values() if node is not cut_off]
    logs = {node.name: Log(speaker_of(site, node)) for node in site.lab.nodes.values()}
    begun = time.monotonic()
    try:
        heartbeats(cut_off, "-I")
        for node in others:
            logs[node.name].says("peer.dead", f"node={cut_off.name} ")
            logs[node.name].says("peer.unheard", f"node={cut_off.name} ", "is UDP 7946 blocked?")
        logs[cut_off.name].says("speaker.cut-off", "is UDP 7946 blocked here?")
        assert site.announcer(other_than=cut_off) is not cut_off
        print(f"heartbeats blocked: one announcer again, by Lease, after {time.monotonic() - begun:.1f} s")
        site.serves()
    finally:
        heartbeats(cut_off, "-D")
    for node in others:
        logs[node.name].says("peer.alive", f"node={cut_off.name} ")
    site.announcer()


def heartbeats(node: Node, action: str) -> None:
    """Have the node's firewall swallow heartbeats (-I), or stop to (-D); all else passes."""
    for program in ("iptables", "ip6tables"):
        for chain in ("INPUT", "OUTPUT"):
            node.host.run(program, "-w", action, chain, "-p", "udp", "--dport", HEARTBEAT_PORT, "-j", "DROP")


class Log:
    """What a process says from now on."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._begins = process.log.stat().st_size

    def says(self, *words: str) -> None:
        """Wait for a line with all of the words."""
        wait_until(lambda: self.has(*words), 30, f"{self._process.name} says {words}")

    def has(self, *words: str) -> bool:
        """Tell whether there is a line with all of the words."""
        lines = self._process.log.read_text()[self._begins :].splitlines()
        return any(all(word in line for word in words) for line in lines)


def test_a_paused_speaker_does_not_answer_for_what_it_has_lost(site: SpeakerSite) -> None:
    before = site.announcer()
    speaker = speaker_of(site, before)
    speaker.sigstop()
    try:
        successor = site.announcer(other_than=before)
        # These questions wait in its socket until it wakes.
        for _ in range(5):
            assert site.lab.client().who_has(VIP, listen_seconds=0.05) == {successor.mac()}
    finally:
        with site.lab.client().capture(ethertype=0x0806, keep=lambda frame: claims(frame, before)) as capture:
            speaker.sigcont()
            wait_until(lambda: "membership.stalled" in speaker.log_tail(), 10, "it notices that time has passed")
            site.let_it_run(1.0)
    assert capture.frames == []
    assert site.announcer() is successor


def claims(frame: bytes, node: Node) -> bool:
    """Whether an ARP frame says that the node has the address."""
    sender_mac, sender_ip = frame[22:28], ".".join(map(str, frame[28:32]))
    return sender_ip == VIP and sender_mac == bytes.fromhex(node.mac().replace(":", ""))


def test_everybody_sees_who_announces(site: SpeakerSite) -> None:
    announcer = site.announcer()

    def told_everywhere() -> bool:
        shown = site.lab.cluster().get(IP_ALLOCATIONS, VIP).get("status") or {}
        by, conditions = shown.get("announcedBy") or {}, shown.get("conditions") or []
        statuses = site.lab.cluster().list(SERVICE_L2_STATUSES, DEFAULT_NAMESPACE)["items"]
        # A Service that an earlier test deleted may still have its own, until its speaker hears of the deletion.
        statuses = [one for one in statuses if (one.get("status") or {}).get("serviceName") == "web"]
        told = [status["status"] for status in statuses]
        assert (by.get("node"), by.get("interfaces")) == (announcer.name, ["eth0"])
        ready = [(one["status"], one["message"]) for one in conditions if one["type"] == "Ready"]
        assert ready == [("True", f'announced by node "{announcer.name}" on eth0')]
        assert [(each["node"], each["interfaces"]) for each in told] == [(announcer.name, [{"name": "eth0"}])]
        assert told[0]["addresses"] == [VIP]
        assert statuses[0]["metadata"]["name"].startswith("l2-")
        assert statuses[0]["metadata"]["labels"]["metallb.io/node"] == announcer.name
        return True

    wait_until(
        told_everywhere,
        20,
        "claim and status name the announcing node",
        retry_on=(AssertionError, IndexError, KeyError),
    )


def test_each_move_is_one_event(site: SpeakerSite) -> None:
    message = f'announcing from node "{site.announcer().name}"'
    wait_until(lambda: events(site, message), 20, "who announces now is told")
    before = len(events(site, "announcing from node"))
    speaker_failover.carrier_lost(site)
    wait_until(lambda: len(events(site, "announcing from node")) > before, 20, "the move is told")
    # Touching the Service, or whatever else makes the speakers decide anew, is none.
    site.lab.kubectl("label", "service", "web", "touched=yes")
    site.lab.kubectl("label", "node", BACKEND, "touched=yes")
    site.let_it_run(1.5)
    assert len(events(site, "announcing from node")) == before + 1
    site.lab.kubectl("label", "node", BACKEND, "touched-")


def events(site: SpeakerSite, message: str) -> list[Object]:
    items = site.lab.cluster().list(EVENTS, "default")["items"]
    return [event for event in items if event["reason"] == "nodeAssigned" and message in event["message"]]


def test_every_speaker_has_a_lease_that_goes_with_its_node(site: SpeakerSite) -> None:
    leases = {
        lease["metadata"]["name"]: lease for lease in site.lab.cluster().list(LEASES, DEFAULT_NAMESPACE)["items"]
    }
    for node in site.lab.nodes.values():
        lease = leases[f"speaker-{node.name}"]
        assert lease["spec"]["holderIdentity"] == node.name
        addresses = lease["metadata"]["annotations"]["admitlb.io/heartbeat-addresses"].split(",")
        assert addresses[0] == node.addresses[0]
        assert [owner["kind"] for owner in lease["metadata"]["ownerReferences"]] == ["Node"]


def test_a_foreign_host_that_claims_the_address_is_reported(site: SpeakerSite) -> None:
    site.announcer()
    client = site.lab.client()
    with tap(client.host) as wire:
        wire.send(gratuitous(Operation.REPLY, Address.parse(VIP), wire.mac).encode())

    def reported() -> bool:
        conditions = (site.lab.cluster().get(IP_ALLOCATIONS, VIP).get("status") or {}).get("conditions") or []
        found = [each for each in conditions if each["type"] == "AddressConflict"]
        return bool(found) and found[0]["status"] == "True" and client.host.mac("eth0") in found[0]["message"]

    wait_until(reported, 20, "the claim carries the condition")
    warned = [e for e in site.lab.cluster().list(EVENTS, "default")["items"] if e["reason"] == "addressConflict"]
    assert warned
    assert warned[0]["type"] == "Warning"
