"""ServiceL2Statuses: what a node writes so that each Service it announces has one of its own, and nothing twice."""

from __future__ import annotations

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.objects.names import SERVICE_L2_STATUSES
from speaker.status.service_l2_status import (
    NAME_LABEL,
    NAMESPACE_LABEL,
    NODE_LABEL,
    Announcement,
    Drop,
    Step,
    StoredStatuses,
    Tell,
    name_of,
    steps,
)

NODE = "node-1"
VIP, V6 = Address.parse("192.0.2.1"), Address.parse("2001:db8::1")
WEB, API = ("default", "web"), ("default", "api")
EARLY = Announcement(interfaces=("eth0",), since="2026-01-01T00:00:00Z")
LATE = Announcement(interfaces=("eth0",), since="2026-01-01T00:05:00Z")
NAME = name_of(NODE, WEB)


def said(*addresses: Address, since: str = EARLY.since) -> Object:
    return {
        "node": NODE,
        "serviceName": "web",
        "serviceNamespace": "default",
        "interfaces": [{"name": "eth0"}],
        "addresses": [str(address) for address in addresses or (VIP,)],
        "since": since,
        "leftOut": [],
    }


def stored(name: str = NAME, *, status: Object | None = None, version: str = "1") -> Object:
    labels = {NODE_LABEL: NODE, NAMESPACE_LABEL: WEB[0], NAME_LABEL: WEB[1]}
    return {"metadata": {"name": name, "labels": labels, "resourceVersion": version}, "status": status}


def plan(announced: dict[Address, Announcement], *there: Object) -> list[Step]:
    return list(steps(NODE, WEB, announced, there))


def test_what_is_announced_has_an_object_and_is_written_once() -> None:
    assert plan({VIP: EARLY}) == [Tell(NAME, False, said())]
    assert plan({VIP: EARLY}, stored(status=said())) == []


def test_both_addresses_of_a_service_are_in_one_object_since_the_first_of_them() -> None:
    assert plan({V6: LATE, VIP: EARLY}) == [Tell(NAME, False, said(VIP, V6))]


def test_what_says_something_else_is_corrected_and_a_second_one_goes() -> None:
    outdated = stored(status=said(since="2025-01-01T00:00:00Z"))
    assert plan({VIP: EARLY}, outdated, stored("l2-x")) == [Drop("l2-x"), Tell(NAME, True, said())]


def test_one_that_an_earlier_release_made_is_kept() -> None:
    assert plan({VIP: EARLY}, stored("l2-x7k2p", status=said())) == []


def test_what_is_not_announced_any_more_goes() -> None:
    assert plan({}, stored(status=said()), stored("l2-x")) == [Drop("l2-x"), Drop(NAME)]
    assert plan({}) == []


def test_who_is_left_out_is_said_for_all_addresses_together_and_nobody_is_as_if_not_said() -> None:
    excluded = ("node-2, node-3", "has the label x")
    first = Announcement(interfaces=("eth0",), since=EARLY.since, left_out=(excluded,))
    second = Announcement(interfaces=("eth0",), since=EARLY.since, left_out=(excluded, ("node-4", "no speaker runs")))
    (step,) = plan({VIP: first, V6: second})
    assert isinstance(step, Tell)
    assert step.said["leftOut"] == [
        {"nodes": "node-2, node-3", "reason": "has the label x"},
        {"nodes": "node-4", "reason": "no speaker runs"},
    ]
    assert plan({VIP: EARLY}, stored(status={**said(), "leftOut": step.said["leftOut"]})) == [
        Tell(NAME, True, said())
    ]
    assert plan({VIP: EARLY}, stored(status={key: said()[key] for key in said() if key != "leftOut"})) == []


def test_fields_that_the_api_server_drops_are_not_written_again_and_again() -> None:
    kept = {field: value for field, value in said().items() if field not in ("addresses", "since")}
    assert plan({VIP: EARLY}, stored(status=kept)) == []


def test_every_node_and_service_has_a_name_of_its_own_that_any_node_can_tell() -> None:
    names = {name_of(node, service) for node in (NODE, "node-2") for service in (WEB, API)}
    assert len(names) == 4
    assert name_of(NODE, WEB) == NAME


def test_the_echo_of_an_own_write_is_nothing_new() -> None:
    known = StoredStatuses()
    written = stored(version="7")
    known.put(written)
    assert known.note(Change(SERVICE_L2_STATUSES, ("home", NAME), None, written, "7")) is None
    assert known.note(Change(SERVICE_L2_STATUSES, ("home", NAME), written, stored(version="8"), "8")) == WEB
    assert known.note(Change(SERVICE_L2_STATUSES, ("home", NAME), stored(version="8"), None, "9")) == WEB
    assert known.of(WEB) == ()
