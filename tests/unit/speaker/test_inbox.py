"""In which order the decider learns what other threads tell, and that nothing which counts is lost on the way."""

from __future__ import annotations

import threading

from allocator.kube.reflector import Change
from allocator.kube.resource import SERVICES
from speaker.event_queue import Inbox, Urgent
from speaker.membership.fence import clock
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import Link
from speaker.netdev.interfaces import Interface

ALONE = Liveness(frozenset({"node-a"}))
BOTH = Liveness(frozenset({"node-a", "node-b"}))
ETH0 = Interface(index=1, name="eth0", mac=bytes(6), flags=0x10003)


def change(name: str) -> Change:
    return Change(SERVICES, ("default", name), None, {}, "1")


def now() -> float:
    """A deadline that does not let an empty inbox hold the test up."""
    return clock()


def synced(*names: str) -> Inbox:
    inbox = Inbox()
    for name in names:
        inbox.put_change(change(name))
    inbox.put_synced()
    return inbox


def test_changes_come_in_their_order_once_all_of_the_cluster_is_known() -> None:
    inbox = Inbox()
    inbox.put_change(change("a"))
    inbox.put_change(change("b"))
    assert inbox.take(now()) == Urgent(), "only the time is up"
    inbox.put_synced()
    assert inbox.take(None) == [change("a"), change("b")]
    inbox.put_change(change("c"))
    assert inbox.take(None) == [change("c")]


def test_that_the_cluster_is_empty_is_news_once() -> None:
    inbox = synced()
    assert inbox.take(None) == []
    assert inbox.take(now()) == Urgent()


def test_a_backlog_waits_for_what_is_urgent_and_is_not_lost_by_it() -> None:
    inbox = synced("a")
    inbox.put_liveness(ALONE)
    inbox.put_interfaces([ETH0])
    inbox.put_gone(frozenset({"node-b"}))
    inbox.put_answered()
    assert inbox.take(None) == Urgent(
        liveness=ALONE, links=(Link(name="eth0", mac=bytes(6)),), gone=frozenset({"node-b"}), answered=True
    )
    assert inbox.take(None) == [change("a")]


def test_a_backlog_waits_when_the_time_is_up() -> None:
    inbox = synced("a")
    assert inbox.take(now()) == Urgent()
    assert inbox.take(None) == [change("a")]


def test_of_the_living_only_the_latest_counts_but_a_shake_is_not_forgotten() -> None:
    inbox = Inbox()
    inbox.put_liveness(Liveness(ALONE.alive, shaken=True))
    inbox.put_liveness(BOTH)
    assert inbox.take(None) == Urgent(liveness=Liveness(BOTH.alive, shaken=True))
    inbox.put_liveness(BOTH)
    assert inbox.take(None) == Urgent(liveness=BOTH), "that shake has been taken note of"


def test_whoever_waits_is_let_go_and_what_is_left_stays() -> None:
    inbox = Inbox()
    taken: list[object] = []
    waiting = threading.Thread(target=lambda: taken.append(inbox.take(None)))
    waiting.start()
    inbox.close()
    waiting.join(5)
    assert taken == [None]
    inbox.put_liveness(ALONE)
    assert inbox.take(None) is None
