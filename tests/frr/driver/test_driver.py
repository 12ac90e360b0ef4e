"""The driver on real daemons: what is refused, what is withheld, daemons that go, questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from allocator.bgp.command import Daemon, Reset
from allocator.bgp.desired import Difference
from allocator.bgp.inputs import BFDProfile, Password, Peer
from allocator.bgp.route_class import Attributes, Contribution, merged, prefix_of
from allocator.core.addresses import Address
from speaker.bgp.driver import Driver
from speaker.bgp.events import Applied, Connected, Disconnected, Event, Rejected, Resetting, Withheld
from speaker.bgp.vty import VtyError
from tests.frr.driver.bed import Bed, bird_peer, numbered_peer, router_peer
from tests.frr.driver.test_configuration import assert_as_wanted, running
from tests.lab.waiting import wait_until

PREFIX, OTHER_PREFIX = (prefix_of(Address.parse(each), 32) for each in ("198.51.100.1", "198.51.100.2"))
PLAIN = merged([Contribution(Attributes())])
SECONDS = 20.0


def by_name(*peers: Peer) -> dict[str, Peer]:
    return {peer.name: peer for peer in peers}


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({"password": Password("two hunter2s")}, "neighbor 10.0.2.131 password <hidden>"),
        (
            {"description": "one\nneighbor 10.0.2.2 shutdown"},
            "neighbor 10.0.2.131 description one\nneighbor 10.0.2.2 shutdown",
        ),
    ],
)
def test_new_session_that_frr_refuses_costs_itself_only(site: Bed, fields: dict[str, Any], command: str) -> None:
    here = site.applying
    bad = numbered_peer(30, **fields)
    here.rendering.update(Difference(by_name(bad, router_peer()), {}, {PREFIX: PLAIN}))
    here.applying.apply()
    (rejected,) = [event for event in here.events if isinstance(event, Rejected)]
    assert (rejected.peer, rejected.command) == ("peer-30", command)
    assert "hunter2" not in repr(here.events)
    assert here.neighbors().keys() == {"10.0.2.2"}
    here.wait_established(["10.0.2.2"])
    here.events.clear()
    here.applying.apply()
    assert here.events == [], "what was refused is not sent again"
    good = numbered_peer(30)
    here.rendering.update(Difference(by_name(good, router_peer())))
    here.applying.apply()
    here.wait_established(["10.0.2.131", "10.0.2.2"])


def test_refused_edit_leaves_the_session_as_it_was(site: Bed) -> None:
    here = site.applying
    peer = numbered_peer(31)
    here.rendering.update(Difference(by_name(peer), {}, {}))
    here.applying.apply()
    here.wait_established([peer.id])
    here.events.clear()
    # A local ASN that is our own: both releases refuse it with status 13, which alone says nothing.
    here.rendering.update(Difference(by_name(replace(peer, local_asn=64500, description="rack 4"))))
    here.applying.apply()
    (rejected,) = [event for event in here.events if isinstance(event, Rejected)]
    assert (rejected.peer, rejected.key[-1]) == ("peer-31", "local-as")
    found = running(here).under("neighbor", "", peer.id)
    assert found["neighbor", "", peer.id, "description"] == "description rack 4"
    assert ("neighbor", "", peer.id, "local-as") not in found
    assert here.neighbors()[peer.id]["bgpState"] == "Established"
    here.events.clear()
    here.applying.apply()
    assert here.events == []


def test_profile_that_bfdd_refuses_costs_itself_only(site: Bed) -> None:
    here = site.applying
    profiles = {name: BFDProfile(name=name, detect_multiplier=5) for name in ("a" * 65, "fast")}
    here.rendering.update(Difference({}, profiles, {}))
    here.applying.apply()
    (rejected,) = [event for event in here.events if isinstance(event, Rejected)]
    assert rejected.profile == "a" * 65
    assert running(here).lines["bfd", "fast", "detect-multiplier"] == "detect-multiplier 5"


def test_reset_that_nobody_permits_waits_and_all_else_goes_on(site: Bed) -> None:
    here = site.applying
    peer, other = numbered_peer(32), numbered_peer(33)
    here.rendering.update(Difference(by_name(peer, other), {}, {}))
    here.applying.apply()
    here.wait_established([peer.id, other.id])
    permitted: set[str] = set()
    here.may_reset = lambda reset: reset.neighbor in permitted
    here.events.clear()
    changed = replace(peer, password=Password("secret"), description="rack 4")
    here.rendering.update(Difference(by_name(changed, replace(other, description="rack 5")), {}, {PREFIX: PLAIN}))
    here.applying.apply()
    assert [event for event in here.events if not isinstance(event, Applied)] == [
        Withheld((Reset("", peer.id, "password set"),))
    ]
    found = running(here)
    assert found.lines["neighbor", "", other.id, "description"] == "description rack 5"
    assert ("neighbor", "", peer.id, "password") not in found.lines
    assert set(found.networks) == {("", PREFIX)}
    assert not any(here.drops().values())
    permitted.add(peer.id)
    here.events.clear()
    here.applying.apply()
    assert here.events[:2] == [Withheld(()), Resetting((Reset("", peer.id, "password set"),))]
    assert ("neighbor", "", peer.id, "password") in running(here).lines


def test_session_to_another_address_is_up_before_the_old_one_ends(site: Bed) -> None:
    here = site.applying
    peer = numbered_peer(35)
    moved = replace(numbered_peer(36), name=peer.name)
    here.rendering.update(Difference(by_name(peer), {}, {PREFIX: PLAIN}))
    here.applying.apply()
    here.wait_established([peer.id])
    here.may_reset = lambda _: False
    here.rendering.update(Difference(by_name(moved)))
    here.applying.apply()
    here.wait_established([peer.id, moved.id])
    assert not any(here.drops().values())
    here.may_reset = lambda _: True
    here.applying.apply()
    assert here.neighbors().keys() == {moved.id}
    assert not any(here.drops().values())
    assert_as_wanted(here)


@pytest.mark.parametrize("edit", [{"my_asn": 64999}, {"router_id": "10.0.1.9"}], ids=lambda edit: next(iter(edit)))
def test_prefixes_go_out_while_what_resets_all_sessions_of_a_router_waits(site: Bed, edit: dict[str, Any]) -> None:
    here = site.applying
    peer = numbered_peer(34)
    here.rendering.update(Difference(by_name(peer), {}, {PREFIX: PLAIN}))
    here.applying.apply()
    here.wait_established([peer.id])
    drops = here.drops()
    before = running(here)
    here.may_reset = lambda _: False
    here.rendering.update(Difference(by_name(replace(peer, **edit)), None, {OTHER_PREFIX: PLAIN}))
    here.applying.apply()
    assert running(here).lines == before.lines
    assert set(running(here).networks) == {("", PREFIX), ("", OTHER_PREFIX)}
    assert here.neighbors()[peer.id]["bgpState"] == "Established"
    assert here.drops() == drops
    here.may_reset = lambda _: True
    here.applying.apply()
    after = running(here)
    changed = {"my_asn": ("router", ""), "router_id": ("router", "", "bgp router-id")}[next(iter(edit))]
    assert str(next(iter(edit.values()))) in str(after.lines[changed])
    assert set(after.networks) == {("", PREFIX), ("", OTHER_PREFIX)}


@pytest.fixture
def driven(site: Bed) -> Iterator[tuple[Driver, list[Event]]]:
    events: list[Event] = []
    driver = Driver(site.frr.sockets, report=events.append)
    driver.start()
    yield driver, events
    driver.stop()
    assert not driver.alive


def test_bfdd_that_goes_keeps_nothing_from_bgpd(site: Bed, driven: tuple[Driver, list[Event]]) -> None:
    driver, events = driven
    peers = by_name(bird_peer(), router_peer(bfd_profile="fast"))
    driver.update(Difference(peers, {"fast": BFDProfile(name="fast")}, {}))
    driver.set_complete()
    site.bird.wait_established("node")
    site.frr.kill("bfdd")
    wait_until(lambda: Disconnected in map(type, events), SECONDS, "it is noticed")
    driver.update(
        Difference(profiles={"slow": BFDProfile(name="slow", detect_multiplier=9)}, prefixes={PREFIX: PLAIN})
    )
    wait_until(lambda: site.bird.route_count() == 1, SECONDS, "the prefix is announced")
    site.frr.start("bfdd")

    def has_profile() -> bool:
        return "detect-multiplier 9" in driver.ask(Daemon.BFDD, "show running-config").result(SECONDS).text

    wait_until(has_profile, SECONDS, "bfdd has the profile", retry_on=(VtyError,))
    assert [event.daemon for event in events if isinstance(event, Connected)].count(Daemon.BFDD) == 2


def test_changes_that_come_together_are_sent_together(site: Bed, driven: tuple[Driver, list[Event]]) -> None:
    driver, events = driven
    driver.update(Difference(by_name(bird_peer()), {}, {}))
    driver.set_complete()
    wait_until(lambda: Applied in map(type, events), SECONDS, "the session is configured")
    events.clear()
    for number in range(100):
        driver.update(Difference(prefixes={prefix_of(Address.parse(f"198.51.100.{number}"), 32): PLAIN}))
    wait_until(lambda: len(running_networks(driver)) == 100, SECONDS, "all are configured")
    applied = [event for event in events if isinstance(event, Applied)]
    assert sum(event.commands for event in applied) >= 100
    assert len(applied) <= 5


def running_networks(driver: Driver) -> list[str]:
    text = driver.ask(Daemon.BGPD, "show running-config").result(SECONDS).text
    return [line for line in text.splitlines() if line.startswith("  network ")]


def test_questions_are_answered_in_turn_and_fail_when_nobody_is_there(
    site: Bed, driven: tuple[Driver, list[Event]]
) -> None:
    driver, _ = driven
    wait_until(
        lambda: json.loads(driver.ask(Daemon.BGPD, "show bgp summary json").result(SECONDS).text) == {},
        SECONDS,
        "bgpd answers",
        retry_on=(VtyError,),
    )
    with pytest.raises(ValueError, match="line break"):
        driver.ask(Daemon.BGPD, "show version\nconfigure terminal").result(SECONDS)
    driver.stop()
    with pytest.raises(VtyError, match="stopped"):
        driver.ask(Daemon.BGPD, "show version").result(SECONDS)
