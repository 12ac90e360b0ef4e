"""What `explain` makes of what the cluster holds."""

from __future__ import annotations

from typing import Any

import pytest

from allocator.commands.explanation import Explanation, Facts, claims_from, explanation_of
from allocator.commands.live import age
from allocator.commands.tables import print_conflicts
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL, SPEAKER_SUBNETS_ANNOTATION
from allocator.offline.plan_result import State
from allocator.rules.left_out import NO_ENDPOINT, NO_SPEAKER, NO_SUBNET, NOT_READY, UNSELECTED
from tests.unit.commands.manifests import Object, advertisement, pool, service

FOUR = pool("four", "192.0.2.10-192.0.2.13")


def allocation(ip: str, *holders: str, state: str = "Bound", status: Object | None = None) -> Object:
    listed = [
        {"namespace": "prod", "name": name, "uid": f"uid-{name}", "since": "2026-01-01T00:00:00Z", "ports": []}
        for name in holders
    ]
    spec = {"address": ip, "pool": "four", "state": state, "since": "2026-01-01T00:00:00Z", "holders": listed}
    return {"metadata": {"name": ip, "resourceVersion": "1"}, "spec": spec, "status": status or {}}


def explain(document: Object, *, lb_class: str = "", **facts: Any) -> Explanation:
    given = {"namespace": None, "pools": [FOUR], "allocations": [], **facts}
    return explanation_of(Facts(service=document, **given), lb_class=lb_class)


def test_a_cooling_address_is_not_held() -> None:
    found = explain(service("web"), allocations=[allocation("192.0.2.10", "web", state="Cooling")])
    assert (found.state, found.addresses) == (State.PENDING, ())
    assert found.message == ("192.0.2.10 from pool four is free for it; it is assigned as soon as a reconciler leads")


HOST = {"hardwareAddress": "02:00:00:00:00:01", "node": "node-1", "interface": "eth0"}


def conflicted(ip: str) -> Object:
    found = allocation(ip, state="Conflicted")
    found["spec"]["foreignHost"] = HOST
    return found


def test_an_address_that_another_host_has_is_not_free_for_anybody() -> None:
    found = explain(service("web"), allocations=[conflicted("192.0.2.10")])
    assert found.message.startswith("192.0.2.11 from pool four is free for it")


def test_a_pool_whose_last_addresses_other_hosts_have_is_full_and_the_first_of_them_named() -> None:
    claims = [conflicted("192.0.2.10"), *(allocation(f"192.0.2.{number}", "api") for number in (11, 12, 13))]
    found = explain(service("web"), allocations=claims)
    assert found.considered == (
        (
            "four",
            "full, and other hosts answer for 1 of its addresses "
            "(192.0.2.10: 02:00:00:00:00:01 (heard by node node-1 on eth0))",
        ),
    )


def test_a_request_for_an_address_that_another_host_has_says_so() -> None:
    request = service("web", annotations={"loadBalancerIPs": "192.0.2.10"})
    found = explain(request, allocations=[conflicted("192.0.2.10")])
    assert "192.0.2.10 is answered for by another host, 02:00:00:00:00:01" in found.message


def test_the_addresses_of_other_hosts_are_listed_with_their_pools(capsys: pytest.CaptureFixture[str]) -> None:
    print_conflicts(claims_from([conflicted("192.0.2.10"), allocation("192.0.2.11", "api")]))
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["ADDRESS", "POOL", "HOST", "HEARD", "BY", "ON", "FOR"]
    assert line.split()[:5] == ["192.0.2.10", "four", "02:00:00:00:00:01", "node-1", "eth0"]


def test_what_is_still_wanted_stands_beside_what_is_held() -> None:
    request = service("web", annotations={"loadBalancerIPs": "192.0.2.13"})
    claims = [allocation("192.0.2.10", "web"), allocation("192.0.2.13", "api")]
    found = explain(request, allocations=claims)
    assert (found.state, [held.ip for held in found.addresses]) == (State.ASSIGNED, ["192.0.2.10"])
    assert "192.0.2.13 is held by prod/api" in found.message


def test_a_wish_that_cannot_be_read_is_the_explanation() -> None:
    found = explain(service("web", annotations={"loadBalancerIPs": "nonsense"}))
    assert (found.state, found.considered) == (State.PENDING, ())
    assert "'nonsense' is not an IP address" in found.message


def test_objects_that_cannot_be_read_do_not_keep_the_rest_from_being_explained() -> None:
    stray: Object = {"metadata": {"name": "not-an-address", "resourceVersion": "1"}, "spec": {}}
    found = explain(service("web"), pools=[pool("bad", "nonsense"), FOUR], allocations=[stray])
    assert "192.0.2.10 from pool four is free for it" in found.message


def test_a_service_that_another_controller_serves_is_ignored_and_so_is_one_of_another_class() -> None:
    assert explain(service("web", shows=("198.51.100.1",))).state is State.IGNORED
    assert explain(service("web"), lb_class="example.com/x").state is State.IGNORED


def test_the_last_events_are_shown_in_the_order_they_happened() -> None:
    def event(reason: str, **times: Any) -> Object:
        return {"reason": reason, "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, **times}

    events = [
        event("third", lastTimestamp="2026-01-04T00:00:00Z"),
        event("first"),
        event("second", eventTime="2026-01-03T00:00:00.000000Z"),
        *(event(f"old-{number}", lastTimestamp="2025-01-01T00:00:00Z") for number in range(20)),
    ]
    shown = [one["reason"] for one in explain(service("web"), events=events).events]
    assert shown[-3:] == ["first", "second", "third"]
    assert len(shown) == 10


def test_ages_are_written_as_kubectl_writes_them() -> None:
    assert age("") == ""
    assert age("2020-01-01T00:00:00Z").endswith("d")
    assert age("2999-01-01T00:00:00Z") == "0s", "clocks differ"


@pytest.mark.parametrize(
    ("selected", "said"), [({}, ""), ({"ipAddressPools": ["four"]}, ""), ({"ipAddressPools": ["six"]}, "four")]
)
def test_an_address_of_a_pool_that_no_advertisement_covers_is_said_to_be_announced_by_nobody(
    selected: Object, said: str
) -> None:
    found = explain(
        service("web", shows=("192.0.2.10",)),
        allocations=[allocation("192.0.2.10", "web")],
        advertisements=[advertisement("a", **selected)],
    )
    (held,) = found.addresses
    assert held.not_announced.startswith(f"no L2Advertisement or BGPAdvertisement covers pool {said}") == bool(said)


def node(name: str, *, ready: bool = True, **labels: str) -> Object:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {"metadata": {"name": name, "labels": labels}, "status": {"conditions": [condition]}}


def lease(name: str, *subnets: str, holder: str | None = "x") -> Object:
    annotations = {SPEAKER_SUBNETS_ANNOTATION: ",".join(subnets)}
    return {"metadata": {"name": f"speaker-{name}", "annotations": annotations}, "spec": {"holderIdentity": holder}}


def test_who_is_left_out_is_told_with_the_reason() -> None:
    excluded: Object = {"metadata": {"name": "f", "labels": {EXCLUDE_FROM_LB_LABEL: "", "zone": "edge"}}}
    found = explain(
        service("web", shows=("192.0.2.10",)),
        allocations=[allocation("192.0.2.10", "web")],
        advertisements=[advertisement("a", nodeSelectors=[{"matchLabels": {"zone": "edge"}}])],
        nodes=[
            *(node(name, zone="edge") for name in "abc"),
            node("d", zone="edge", ready=False),
            node("e", zone="core"),
            excluded,
        ],
        leases=[
            lease("a", "192.0.2.0/24"),
            lease("b", "198.51.100.0/24", "2001:db8::/64"),
            lease("c", holder=None),
            lease("d", "192.0.2.0/24"),
            lease("e", "192.0.2.0/24"),
            {"metadata": {"name": "controller"}, "spec": {"holderIdentity": "c"}},
        ],
    )
    assert dict(found.addresses[0].left_out) == {
        "b": NO_SUBNET,
        "c": NO_SPEAKER,
        "d": NOT_READY,
        "e": UNSELECTED,
        "f": f"has the label {EXCLUDE_FROM_LB_LABEL}",
    }


def test_where_no_node_is_in_the_subnet_none_is_left_out_for_it() -> None:
    found = explain(
        service("web", shows=("192.0.2.10",)),
        allocations=[allocation("192.0.2.10", "web")],
        advertisements=[advertisement("a")],
        nodes=[node("a"), node("b", ready=False)],
        leases=[lease("a", "10.0.0.0/24"), lease("b")],
    )
    assert dict(found.addresses[0].left_out) == {"b": NOT_READY}


def test_what_a_speaker_says_of_an_address_that_nobody_announces_is_the_reason() -> None:
    message = "announced by no node: no endpoint of the Service serves"
    ready = {"type": "Ready", "status": "False", "reason": "NoEndpoint", "message": message}
    found = explain(
        service("web", shows=("192.0.2.10",)),
        allocations=[allocation("192.0.2.10", "web", status={"conditions": [ready]})],
        advertisements=[advertisement("a")],
    )
    assert found.addresses[0].not_announced == "no endpoint of the Service serves"


def test_what_only_a_speaker_knows_of_who_is_left_out_is_taken_from_its_status() -> None:
    found = explain(
        service("web", shows=("192.0.2.10",)),
        allocations=[allocation("192.0.2.10", "web")],
        advertisements=[advertisement("a")],
        nodes=[node("a"), node("b")],
        leases=[lease("a")],
        announcements=[
            {
                "status": {
                    "node": "a",
                    "leftOut": [
                        {"nodes": "c, d and 2 more", "reason": NO_ENDPOINT},
                        {"nodes": "b", "reason": NO_SPEAKER},
                    ],
                }
            }
        ],
    )
    assert found.addresses[0].left_out == (("b", NO_SPEAKER), ("c, d and 2 more", NO_ENDPOINT))
