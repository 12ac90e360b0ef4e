"""In which order the controller learns what other threads report, and that nothing that counts is lost."""

from __future__ import annotations

import threading
from dataclasses import replace

from allocator.core.addresses import Address
from allocator.kube.resource import SERVICES
from speaker.cluster.observation import Observation
from speaker.event_queue import EventQueue, Urgent
from speaker.membership.fence import clock
from speaker.membership.link import Link
from speaker.membership.liveness import Liveness
from speaker.netdev.interfaces import Interface

ALONE = Liveness(alive=frozenset({"node-a"}))
BOTH = Liveness(alive=frozenset({"node-a", "node-b"}))
ETH0 = Interface(index=1, name="eth0", mac=bytes(6), flags=0x10003)


def change(name: str) -> Observation:
    return Observation(SERVICES.plural, ("default", name), None)


def now() -> float:
    """A deadline that does not let an empty queue hold the test up."""
    return clock()


def synced(*names: str) -> EventQueue[Observation]:
    queue: EventQueue[Observation] = EventQueue()
    for name in names:
        queue.put_change(change(name))
    queue.put_synced()
    return queue


def test_changes_come_in_their_order_once_all_of_the_cluster_is_known() -> None:
    queue: EventQueue[Observation] = EventQueue()
    queue.put_change(change("a"))
    queue.put_change(change("b"))
    assert queue.take(now()) == Urgent(), "only the time is up"
    queue.put_synced()
    assert queue.take(None) == [change("a"), change("b")]
    queue.put_change(change("c"))
    assert queue.take(None) == [change("c")]


def test_that_the_cluster_is_empty_is_reported_once() -> None:
    queue = synced()
    assert queue.take(None) == []
    assert queue.take(now()) == Urgent()


def test_a_backlog_waits_for_what_is_urgent_and_is_not_lost_by_it() -> None:
    queue = synced("a")
    queue.put_liveness(ALONE)
    queue.put_interfaces([ETH0])
    queue.put_gone(frozenset({"node-b"}))
    queue.put_answered()
    assert queue.take(None) == Urgent(
        liveness=ALONE, links=(Link(name="eth0", mac=bytes(6)),), gone=frozenset({"node-b"}), answered=True
    )
    assert queue.take(None) == [change("a")]


def test_a_backlog_waits_when_the_time_is_up() -> None:
    queue = synced("a")
    assert queue.take(now()) == Urgent()
    assert queue.take(None) == [change("a")]


def test_of_the_living_only_the_latest_counts_but_a_shake_is_not_forgotten() -> None:
    queue: EventQueue[Observation] = EventQueue()
    queue.put_liveness(Liveness(alive=ALONE.alive, shaken=True))
    queue.put_liveness(BOTH)
    assert queue.take(None) == Urgent(liveness=Liveness(alive=BOTH.alive, shaken=True))
    queue.put_liveness(BOTH)
    assert queue.take(None) == Urgent(liveness=BOTH), "that shake has been taken note of"


def test_nor_is_what_others_have_ceased_to_claim() -> None:
    one, other = (frozenset({Address.parse(f"192.0.2.{number}")}) for number in (1, 2))
    queue: EventQueue[Observation] = EventQueue()
    for let_go in (one, other, frozenset()):
        queue.put_liveness(replace(BOTH, let_go=let_go))
    assert queue.take(None) == Urgent(liveness=replace(BOTH, let_go=one | other))
    queue.put_liveness(BOTH)
    assert queue.take(None) == Urgent(liveness=BOTH)


def test_whoever_waits_is_let_go_and_what_is_left_stays() -> None:
    queue: EventQueue[Observation] = EventQueue()
    taken: list[object] = []
    waiting = threading.Thread(target=lambda: taken.append(queue.take(None)))
    waiting.start()
    queue.close()
    waiting.join(5)
    assert taken == [None]
    queue.put_liveness(ALONE)
    assert queue.take(None) is None


def test_an_interface_cut_off_on_its_lan_is_so_until_the_heartbeats_say_otherwise() -> None:
    queue = synced()
    assert queue.take(None) == []
    queue.put_interfaces([ETH0])
    queue.put_liveness(Liveness(cut_off_links=frozenset({"eth0"})))
    urgent = queue.take(None)
    assert isinstance(urgent, Urgent)
    assert urgent.links == (Link(name="eth0", mac=bytes(6), cut_off=True),)
    queue.put_interfaces([ETH0])
    urgent = queue.take(None)
    assert isinstance(urgent, Urgent)
    assert urgent.links == (Link(name="eth0", mac=bytes(6), cut_off=True),), "it is known again with the same LAN"
    queue.put_liveness(Liveness())
    urgent = queue.take(None)
    assert isinstance(urgent, Urgent)
    assert urgent.links == (Link(name="eth0", mac=bytes(6)),)
