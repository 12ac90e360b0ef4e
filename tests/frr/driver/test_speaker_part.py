"""A speaker's BGP part on real daemons, judged by what two routers have."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from typing import Any

import pytest

from allocator.bgp.changes import changes
from allocator.bgp.sessions import NoSession
from allocator.kube.resource import ENDPOINT_SLICES_V1, NODES, SERVICES
from allocator.objects.names import (
    BGP_ADVERTISEMENTS,
    BGP_PEERS,
    EXCLUDE_FROM_LB_LABEL,
    IP_ADDRESS_POOLS,
    OUT_OF_SERVICE_TAINT,
)
from speaker.bgp import discrepancies, peers_in_use
from speaker.bgp.events import Connected, Resetting
from speaker.bgp.reports import Leave
from tests.frr.driver.bed import NODE_ASN, ROUTER_ADDRESS, ROUTER_ASN, Bed, vtysh
from tests.frr.driver.routes import (
    SECONDS,
    at_bird,
    at_router,
    messages,
    router_session,
    settled_messages,
    wait_for_routes,
)
from tests.frr.driver.speaking import NODE_NAME, POOL, Speaking, advertisement, name_of, peer
from tests.lab.bird import Bird
from tests.lab.frr_programs import find_bird
from tests.lab.route_monitor import RouteMonitor
from tests.lab.waiting import wait_until
from tests.unit.speaker.objects import endpoint, endpoint_slice, node, pool, service

VIP, OTHER = "198.51.100.1", "198.51.100.2"


def test_route_follows_a_service_and_its_endpoints(site: Bed) -> None:
    with Speaking(site) as speaker:
        speaker.begin(VIP)
        wait_for_routes(site, VIP)
        speaker.serve(OTHER, "node-b")
        wait_for_routes(site, VIP, OTHER)
        speaker.serve(OTHER, "node-b", externalTrafficPolicy="Local")
        wait_for_routes(site, VIP)
        speaker.serve(OTHER, "node-b", NODE_NAME, externalTrafficPolicy="Local")
        wait_for_routes(site, VIP, OTHER)
        speaker.put_endpoints(VIP)
        wait_for_routes(site, OTHER)
        speaker.remove(SERVICES, service(OTHER, name=name_of(OTHER)))
        wait_for_routes(site)
        assert not [event for event in speaker.notes.events if isinstance(event, Resetting)]


def test_endpoint_that_ends_and_still_serves_keeps_its_route(site: Bed) -> None:
    with Speaking(site) as speaker:
        speaker.begin()
        speaker.serve(VIP, externalTrafficPolicy="Local")
        wait_for_routes(site, VIP)
        site.wait_for_kernel_routes(1)
        name = name_of(VIP)
        with RouteMonitor(site.bird_host) as monitor:
            ending = endpoint(NODE_NAME, ready=False, serving=True)
            speaker.put(ENDPOINT_SLICES_V1, endpoint_slice(ending, of=name, name=f"{name}-1"))
            speaker.serve(OTHER)
            wait_for_routes(site, VIP, OTHER)
            assert {change.prefix.partition("/")[0] for change in monitor.changes} == {OTHER}


def test_restarted_speaker_says_nothing_to_the_routers_whatever_it_cannot_read(site: Bed) -> None:
    """Of a stricter release, say; and the Node shows another address than the one that the router ID is from."""
    with Speaking(site) as speaker:
        speaker.begin(VIP, OTHER)
        wait_for_routes(site, VIP, OTHER)
        site.wait_for_kernel_routes(2)
    before = settled_messages(site)
    since = router_session(site)["bgpTimerUpEstablishedEpoch"]
    with RouteMonitor(site.bird_host) as one, RouteMonitor(site.router_host) as two, Speaking(site) as speaker:
        # What is known comes piece by piece: nothing may be withdrawn meanwhile.
        speaker.serve(VIP)
        wait_until(lambda: len(speaker.notes.events) == 2, SECONDS, "both daemons are adopted")
        time.sleep(0.5)
        speaker.serve(OTHER)
        speaker.put(NODES, node(NODE_NAME, address="10.0.1.99"))
        speaker.put(IP_ADDRESS_POOLS, pool("public", addresses=[POOL]))
        speaker.put(BGP_ADVERTISEMENTS, advertisement("public", aggregationLength=99))
        speaker.put(BGP_PEERS, peer("bird", myASN=0), peer("router"))
        speaker.know()
        wait_until(lambda: set(speaker.part.snapshot().states) == {"bird", "router"}, SECONDS, "it reads sessions")
        assert speaker.part.snapshot().waiting_for == ""
        time.sleep(1.0)
        assert [type(event) for event in speaker.notes.events] == [Connected, Connected]
        assert messages(site) == before
        assert [change for monitor in (one, two) for change in monitor.changes] == []
        assert abs(router_session(site)["bgpTimerUpEstablishedEpoch"] - since) <= 1
        speaker.put_endpoints(OTHER)
        wait_for_routes(site, VIP)


def test_what_another_does_to_bgpd_is_undone(site: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator at vtysh, say: the speaker sees it by what the sessions have."""
    monkeypatch.setattr(discrepancies, "LASTS_SECONDS", 3.0)
    with Speaking(site) as speaker:
        speaker.begin(VIP, OTHER)
        wait_for_routes(site, VIP, OTHER)
        here = ("enable", "configure terminal", f"router bgp {NODE_ASN}")
        vtysh(site.frr, *here, "address-family ipv4 unicast", f"no network {OTHER}/32")
        wait_for_routes(site, VIP)
        wait_for_routes(site, VIP, OTHER)
        vtysh(site.frr, *here, f"no neighbor {ROUTER_ADDRESS}")
        wait_until(lambda: at_router(site) == set(), SECONDS, "the router has nothing")
        wait_for_routes(site, VIP, OTHER)
        assert not [event for event in speaker.notes.events if isinstance(event, Resetting)]


def test_killed_bgpd_gets_all_again(site: Bed) -> None:
    with Speaking(site) as speaker:
        speaker.begin(VIP, OTHER)
        wait_for_routes(site, VIP, OTHER)
        site.frr.kill("bgpd")
        wait_for_routes(site)
        wait_until(lambda: not speaker.part.snapshot().states, SECONDS, "the sessions are gone")
        speaker.serve("198.51.100.3")
        site.frr.start("bgpd")
        wait_for_routes(site, VIP, OTHER, "198.51.100.3")
        assert speaker.part.alive


def test_frr_that_comes_later_is_driven_then(site: Bed) -> None:
    for daemon in ("bgpd", "bfdd"):
        site.frr.kill(daemon)
    with Speaking(site) as speaker:
        speaker.begin(VIP)
        wait_until(
            lambda: speaker.part.snapshot().prefix_count == 1 and "bgpd" in speaker.part.snapshot().waiting_for,
            SECONDS,
            "it decides without FRR",
        )
        site.frr.start_missing()
        wait_for_routes(site, VIP)


def test_driver_that_fails_starts_over(site: Bed, monkeypatch: Any) -> None:
    failures = iter([KeyError("nobody foresaw this")])

    def failing(*arguments: Any, **options: Any) -> Any:
        for error in failures:
            raise error
        return changes(*arguments, **options)

    monkeypatch.setattr("speaker.bgp.applying.changes", failing)
    with Speaking(site) as speaker:
        speaker.begin(VIP)
        wait_for_routes(site, VIP)
        assert speaker.part.alive


@pytest.mark.parametrize(
    ("leaving", "reason"),
    [
        ({"labels": {EXCLUDE_FROM_LB_LABEL: ""}}, EXCLUDE_FROM_LB_LABEL),
        ({"taint": OUT_OF_SERVICE_TAINT}, OUT_OF_SERVICE_TAINT),
    ],
)
def test_node_that_leaves_marks_its_routes_first_and_withdraws_them_later(
    site: Bed, leaving: dict[str, Any], reason: str
) -> None:
    with Speaking(site, marked_seconds=4.0) as speaker:
        speaker.begin(VIP)
        wait_for_routes(site, VIP)
        drops = site.applying.drops()
        began = time.monotonic()
        with RouteMonitor(site.bird_host) as monitor:
            speaker.put(NODES, node(NODE_NAME, address="10.0.1.1", **leaving))
            wait_until(lambda: "(65535,0)" in site.bird.route(f"{VIP}/32"), 3.5, "BIRD sees the mark")
            assert at_bird(site) == {VIP}
            assert reason in speaker.part.snapshot().leave_reason
            wait_for_routes(site)
            (gone,) = [change for change in monitor.changes if not change.added]
            assert gone.at - began >= 4.0
        assert speaker.part.snapshot().leave is Leave.LEFT
        assert site.applying.drops() == drops, "sessions stay"
        speaker.put(NODES, node(NODE_NAME, address="10.0.1.1"))
        wait_for_routes(site, VIP)
        wait_until(lambda: "(65535,0)" not in site.bird.route(f"{VIP}/32"), SECONDS, "the mark is gone")


def test_node_that_is_excluded_when_its_speaker_starts_announces_nothing(site: Bed) -> None:
    with RouteMonitor(site.bird_host) as one, RouteMonitor(site.router_host) as two, Speaking(site) as speaker:
        speaker.begin()
        speaker.put(NODES, node(NODE_NAME, address="10.0.1.1", labels={EXCLUDE_FROM_LB_LABEL: ""}))
        speaker.serve(VIP)
        site.bird.wait_established("node")
        wait_until(lambda: router_session(site)["bgpState"] == "Established", SECONDS, "the sessions are up")
        time.sleep(1.5)
        assert [change for monitor in (one, two) for change in monitor.changes] == []


def test_router_with_a_session_of_another_program_is_not_dialled(site: Bed, monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setattr(peers_in_use, "QUIET_SECONDS", 2.0)
    monkeypatch.setattr(peers_in_use, "LOOK_SECONDS", 0.5)
    root = find_bird()
    assert root is not None
    session = f"""
protocol bgp tor {{
  local 10.0.2.1 as {NODE_ASN};
  neighbor {ROUTER_ADDRESS} as {ROUTER_ASN};
  connect delay time 1;
  ipv4 {{ import none; export none; }};
}}
"""
    with ExitStack() as running:
        other = running.enter_context(
            Bird(root, netns=site.node.name, logs=tmp_path, router_id="10.0.2.1", sessions=session)
        )
        other.wait_established("tor")
        drops = router_session(site)["connectionsDropped"]
        speaker = running.enter_context(Speaking(site))
        speaker.begin(VIP)
        wait_until(lambda: at_bird(site) == {VIP}, SECONDS, "the other router gets its route")
        wait_until(
            lambda: "router" in speaker.part.snapshot().refused,
            SECONDS,
            "the router's session is seen to be another's",
        )
        assert speaker.part.snapshot().refused["router"].reason is NoSession.PEER_IN_USE
        for _ in range(20):
            assert other.established("tor")
            assert at_router(site) == set()
            time.sleep(0.1)
        assert router_session(site)["connectionsDropped"] == drops
        other.close()
        wait_for_routes(site, VIP)


def test_no_router_ever_has_a_route_that_the_node_may_not_announce(site: Bed) -> None:
    """A random walk over all that decides; an address counts as allowed until a moment after it is not any more."""
    choose = random.Random(20)
    addresses = [f"198.51.100.{number}" for number in range(1, 5)]
    local = {address: False for address in addresses}
    served: dict[str, tuple[str, ...]] = {address: (NODE_NAME,) for address in addresses}
    signs: dict[str, Any] = {}
    with RouteMonitor(site.bird_host) as monitor, Speaking(site, marked_seconds=0.3) as speaker:
        speaker.begin(*addresses)

        def allowed() -> set[str]:
            if signs:
                return set()
            return {each for each in addresses if (NODE_NAME in served[each] if local[each] else served[each])}

        wait_for_routes(site, *allowed())
        for _ in range(25):
            began, before = time.monotonic(), allowed()
            if choose.random() < 0.3:
                signs = choose.choice(
                    [
                        {},
                        {"labels": {EXCLUDE_FROM_LB_LABEL: ""}},
                        {"network_down": True},
                        {"taint": OUT_OF_SERVICE_TAINT},
                    ]
                )
                speaker.put(NODES, node(NODE_NAME, address="10.0.1.1", **signs))
            else:
                address = choose.choice(addresses)
                local[address] = choose.random() < 0.5
                policy: dict[str, Any] = {"externalTrafficPolicy": "Local"} if local[address] else {}
                speaker.put(SERVICES, service(address, name=name_of(address), **policy))
                # The Service first, then its slice: what it may announce in between counts as allowed.
                before |= allowed()
                served[address] = choose.choice([(), ("node-b",), (NODE_NAME,), ("node-b", NODE_NAME)])
                speaker.put_endpoints(address, *served[address])
            wait_for_routes(site, *allowed())
            appeared = {change.prefix.partition("/")[0] for change in monitor.since(began) if change.added}
            assert appeared <= before | allowed()
        assert not [event for event in speaker.notes.events if isinstance(event, Resetting)]


def test_edit_of_one_peer_resets_no_other_session(site: Bed) -> None:
    with Speaking(site) as speaker:
        speaker.begin(VIP)
        wait_for_routes(site, VIP)
        drops = site.applying.drops()
        since = router_session(site)["bgpTimerUpEstablishedEpoch"]
        speaker.put(BGP_PEERS, peer("bird", ebgpMultiHop=True))
        wait_until(
            lambda: [event for event in speaker.notes.events if isinstance(event, Resetting)],
            SECONDS,
            "it is announced",
        )
        (resetting,) = [event for event in speaker.notes.events if isinstance(event, Resetting)]
        assert [(reset.neighbor, reset.reason) for reset in resetting.resets] == [("10.0.1.2", "ebgp-multihop set")]
        wait_for_routes(site, VIP)
        assert site.applying.drops()[ROUTER_ADDRESS] == drops[ROUTER_ADDRESS]
        assert abs(router_session(site)["bgpTimerUpEstablishedEpoch"] - since) <= 1
