"""What a speaker writes for people to see, in which order, and that it writes nothing twice."""

from __future__ import annotations

from typing import Any

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Key
from speaker.status.diff import (
    NAME_LABEL,
    NAMESPACE_LABEL,
    NODE_LABEL,
    Announcement,
    Books,
    Contested,
    Drop,
    Show,
    Shown,
    Tell,
    steps,
)

VIP, OTHER = Address.parse("192.0.2.1"), Address.parse("192.0.2.2")
WEB, API = ("default", "web"), ("default", "api")
EARLY = Announcement(interfaces=("eth0",), since="2026-01-01T00:00:00Z")
LATE = Announcement(interfaces=("eth0",), since="2026-01-01T00:05:00Z")


def said(service: Key = WEB, address: Address = VIP, since: str = EARLY.since, node: str = "node-1") -> Object:
    return {
        "node": node,
        "serviceName": service[1],
        "serviceNamespace": service[0],
        "interfaces": [{"name": "eth0"}],
        "addresses": [str(address)],
        "since": since,
    }


def stored(name: str, service: Key = WEB, *, node: str = "node-1", status: Object | None = None) -> Object:
    labels = {NODE_LABEL: node, NAMESPACE_LABEL: service[0], NAME_LABEL: service[1]}
    return {"metadata": {"name": name, "labels": labels}, "status": status}


def plan(**books: Any) -> list[object]:
    return list(steps(Books(node="node-1", **books)))


def test_who_has_said_everything_writes_nothing() -> None:
    own = stored("l2-a", status=said())
    assert plan(wanted={(WEB, VIP): EARLY}, shown={VIP: Shown(EARLY)}, statuses=(own,)) == []


def test_every_address_is_shown_before_any_status_and_what_moved_last_comes_first() -> None:
    assert plan(wanted={(API, VIP): EARLY, (WEB, OTHER): LATE}) == [
        Show(OTHER, Shown(LATE)),
        Show(VIP, Shown(EARLY)),
        Tell(WEB, None, said(WEB, OTHER, LATE.since)),
        Tell(API, None, said(API, VIP)),
    ]


def test_a_conflict_comes_before_everything() -> None:
    contested = Contested(claimed=True, message="a printer has it", since=EARLY.since)
    first = plan(wanted={(API, VIP): EARLY, (WEB, OTHER): LATE}, contested={VIP: contested})[0]
    assert first == Show(VIP, Shown(EARLY, contested))


def test_a_former_holders_status_goes_just_before_our_own_comes() -> None:
    former = stored("l2-b", node="node-2", status=said(node="node-2"))
    planned = plan(wanted={(WEB, VIP): EARLY}, shown={VIP: Shown(EARLY)}, statuses=(former,))
    assert planned == [Drop("l2-b"), Tell(WEB, None, said())]


def test_what_is_not_announced_here_any_more_is_taken_back_last_and_others_are_left_alone() -> None:
    ours, theirs = stored("l2-a", API, status=said(API)), stored("l2-c", ("default", "x"), node="node-3")
    planned = plan(wanted={(WEB, OTHER): EARLY}, shown={VIP: Shown(EARLY)}, statuses=(ours, theirs))
    assert planned == [
        Show(OTHER, Shown(EARLY)),
        Show(VIP, Shown()),
        Tell(WEB, None, said(WEB, OTHER)),
        Drop("l2-a"),
    ]


def test_a_status_that_says_something_else_is_corrected_and_a_second_one_goes() -> None:
    outdated, second = stored("l2-a", status=said(since="2025-01-01T00:00:00Z")), stored("l2-b", status=said())
    planned = plan(wanted={(WEB, VIP): EARLY}, shown={VIP: Shown(EARLY)}, statuses=(outdated, second))
    assert planned == [Drop("l2-b"), Tell(WEB, "l2-a", said())]


def test_fields_that_the_api_server_drops_are_not_written_again_and_again() -> None:
    kept = {field: value for field, value in said().items() if field not in ("addresses", "since")}
    own = stored("l2-a", status=kept)
    assert plan(wanted={(WEB, VIP): EARLY}, shown={VIP: Shown(EARLY)}, statuses=(own,)) == []
