"""10,000 prefixes at two vendors: one more, other attributes, a killed bgpd, a new speaker."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from allocator.bgp.command import Daemon
from allocator.bgp.desired import Difference
from allocator.bgp.inputs import Peer
from allocator.bgp.route_class import Attributes, Contribution, Prefix, RouteClass, merged, prefix_of
from allocator.core.addresses import Address, Family
from speaker.bgp.driver import Driver
from speaker.bgp.events import Applied, Connected, Disconnected, Event
from tests.frr.driver.bed import Bed, bird_peer, router_peer
from tests.lab.route_monitor import RouteMonitor
from tests.lab.waiting import wait_until

COUNT = 10_000
SECONDS = 20.0
PLAIN = merged([Contribution(Attributes())])
MARKED = merged([Contribution(Attributes(communities=frozenset({(64500, 7)})))])
FIRST = Address.parse("10.128.0.0").value


def prefix(number: int) -> Prefix:
    """Every second address, so that there is room between them."""
    return prefix_of(Address(Family.IPV4, FIRST + 2 * number), 32)


def many(route_class: RouteClass) -> dict[Prefix, RouteClass | None]:
    return {prefix(number): route_class for number in range(COUNT)}


def announce(site: Bed, *peers: Peer) -> None:
    """Bring both routers to 10,000 routes."""
    here = site.applying
    here.rendering.update(Difference({peer.name: peer for peer in peers}, {}, many(PLAIN)))
    here.applying.apply()
    assert not [event for event in here.events if not isinstance(event, Applied | Connected)], here.events
    wait_for_routes(site, COUNT)


def wait_for_routes(site: Bed, count: int) -> None:
    def both_have() -> bool:
        return site.bird.route_count() == count and router_neighbor(site)["pfxRcd"] == count

    wait_until(both_have, SECONDS, f"both routers have {count} routes")
    site.wait_for_kernel_routes(count)


def router_neighbor(site: Bed) -> Any:
    return site.router_show("show bgp ipv4 unicast summary json")["peers"]["10.0.2.1"]


def updates(site: Bed) -> tuple[int, int]:
    """Routes with their repetitions at BIRD, UPDATE messages at FRR."""
    stats = site.router_show("show bgp neighbors 10.0.2.1 json")["10.0.2.1"]["messageStats"]
    return site.bird.updates_received("node"), int(stats["updatesRecv"])


@contextmanager
def watched(site: Bed) -> Iterator[tuple[RouteMonitor, RouteMonitor]]:
    with RouteMonitor(site.bird_host) as at_bird, RouteMonitor(site.router_host) as at_router:
        yield at_bird, at_router


def test_one_more_prefix_is_one_update_wherever_it_sorts(site: Bed) -> None:
    announce(site, bird_peer(), router_peer())
    here = site.applying
    for value in (FIRST - 2, FIRST + COUNT + 1, FIRST + 2 * COUNT + 2):
        extra = prefix_of(Address(Family.IPV4, value), 32)
        before = updates(site)
        for route_class, count in ((PLAIN, COUNT + 1), (None, COUNT)):
            with watched(site) as monitors:
                here.events.clear()
                here.rendering.update(Difference(prefixes={extra: route_class}))
                here.applying.apply()
                assert [event.commands for event in here.events if isinstance(event, Applied)] == [1]
                wait_for_routes(site, count)
                for monitor in monitors:
                    monitor.wait_for_change(SECONDS)
                    changes = {(change.prefix, change.added) for change in monitor.changes}
                    assert changes == {(str(extra), route_class is not None)}
            if route_class is not None:
                assert updates(site) == (before[0] + 1, before[1] + 1)


def test_new_session_waits_for_no_other_before_it_gets_its_routes(site: Bed) -> None:
    """FRR's own wait is 1 s: for that long a router with a new session had no routes, or stale ones."""
    announce(site, bird_peer(), router_peer())
    groups = site.applying.applying.show(Daemon.BGPD, "show bgp ipv4 unicast update-groups").text
    assert re.findall(r"Coalesce Time: (\d+)", groups) == ["1", "1"], groups


def test_other_attributes_reach_both_routers_without_a_withdrawal(site: Bed) -> None:
    announce(site, bird_peer(), router_peer())
    here = site.applying
    withdrawn = site.bird.withdrawals_received("node")
    with watched(site) as monitors:
        here.rendering.update(Difference(prefixes=many(MARKED)))
        here.applying.apply()

        def all_marked() -> bool:
            at_bird = site.bird.ask("show route table master4 where (64500,7) ~ bgp_community count")
            at_router = site.router_show("show bgp ipv4 unicast community 64500:7 json")
            return f"{COUNT} of" in at_bird and len(at_router["routes"]) == COUNT

        wait_until(all_marked, SECONDS, "all routes have the community")
        gone = [change for monitor in monitors for change in monitor.changes if not change.added]
    assert not gone
    assert site.bird.withdrawals_received("node") == withdrawn
    assert {neighbor: count for neighbor, count in here.drops().items() if count} == {}


def test_other_attributes_take_no_route_of_ipv6_away(site: Bed) -> None:
    """Other than of IPv4, Linux says of each that it was entered anew."""
    prefixes = [
        prefix_of(Address(Family.IPV6, Address.parse("2001:db8:f::").value + number), 128) for number in range(20)
    ]
    peers = (
        replace(bird_peer(), address=Address.parse("2001:db8:a::2")),
        replace(router_peer(), address=Address.parse("2001:db8:b::2")),
    )
    here = site.applying
    here.rendering.update(Difference({peer.name: peer for peer in peers}, {}, dict.fromkeys(prefixes, PLAIN)))
    here.applying.apply()
    site.wait_for_kernel_routes(len(prefixes), Family.IPV6)
    with watched(site) as monitors:
        here.rendering.update(Difference(prefixes=dict.fromkeys(prefixes, MARKED)))
        here.applying.apply()
        for monitor in monitors:
            wait_until(lambda m=monitor: len(m.changes) >= len(prefixes), SECONDS, "all are entered anew")  # type: ignore[misc]
        assert not [change for monitor in monitors for change in monitor.changes if not change.added]
        for monitor in monitors:
            (hops,) = {change.hops for change in monitor.changes}
            assert len(hops) == 1, hops


@contextmanager
def driven(site: Bed, *peers: Peer) -> Iterator[tuple[Driver, list[Event]]]:
    """The driver as the speaker runs it."""
    events: list[Event] = []
    driver = Driver(site.frr.sockets, report=events.append)
    driver.start()
    try:
        driver.update(Difference({peer.name: peer for peer in peers}, {}, many(PLAIN)))
        driver.set_complete()
        yield driver, events
    finally:
        driver.stop()


def test_new_speaker_sends_nothing_and_bgp_says_nothing(site: Bed) -> None:
    peers = (bird_peer(), router_peer())
    with driven(site, *peers):
        wait_for_routes(site, COUNT)
    before = updates(site)
    assert site.bird.route_count() == COUNT, site.bird.ask("show protocols all node")
    events: list[Event] = []
    again = Driver(site.frr.sockets, report=events.append)
    again.start()
    try:
        wait_until(lambda: len(events) >= 2, SECONDS, "both daemons are adopted")
        # Not all is known yet: nothing is withdrawn.
        again.update(Difference({peer.name: peer for peer in peers}, {}, {prefix(0): PLAIN}))
        time.sleep(0.3)
        again.update(Difference(prefixes=many(PLAIN)))
        again.set_complete()
        time.sleep(1.0)
    finally:
        again.stop()
    assert [type(event) for event in events] == [Connected, Connected]
    assert updates(site) == before
    assert site.bird.route_count() == COUNT, site.bird.ask("show protocols all node")


def test_killed_bgpd_is_brought_back_without_a_route_event(site: Bed) -> None:
    """The last test here: graceful restart keeps its routes at the routers for two minutes after its sessions end."""
    peers = (bird_peer(graceful_restart=True), router_peer(graceful_restart=True))
    with driven(site, *peers) as (driver, events):
        wait_for_routes(site, COUNT)
        with watched(site) as monitors:
            events.clear()
            killed = time.monotonic()
            site.frr.kill("bgpd")
            wait_until(lambda: any(isinstance(event, Disconnected) for event in events), SECONDS, "it is noticed")
            site.frr.start("bgpd")
            wait_until(lambda: any(isinstance(event, Applied) for event in events), SECONDS, "all is sent again")

            def is_back() -> bool:
                return site.bird.established("node") and router_neighbor(site)["state"] == "Established"

            wait_until(is_back, SECONDS, "the sessions are back")
            wait_for_routes(site, COUNT)
            # Stale routes would go with End-of-RIB.
            time.sleep(2.0)
            changes = [change for monitor in monitors for change in monitor.since(killed)]
        assert changes == []
        assert driver.alive
