"""An address that nobody announces is the first thing on the page, with the reason; and the nodes that announce."""

from __future__ import annotations

from typing import Any

import pytest

from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, SessionStatus
from allocator.status_page.html import ALARMS, render
from tests.unit.commands.manifests import advertisement
from tests.unit.status_page.claims import Object, allocation, pool
from tests.unit.status_page.test_page import picture, text_of

LAN = pool("lan", "192.0.2.0/24")
ALL = advertisement("all")
OTHERS = advertisement("others", ipAddressPools=["elsewhere"])
NODES = {"node-1": {"zone": "a"}, "node-2": {"node.kubernetes.io/exclude-from-external-load-balancers": ""}}


def unready(ip: str, message: str) -> Object:
    found = allocation(ip, "prod/web")
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": "NoEndpoint",
        "message": f"announced by no node: {message}",
    }
    found["status"] = {"conditions": [ready]}
    return found


def session(state: SessionStatus) -> Object:
    entry = SessionEntry(peer="tor", neighbor="192.0.2.1", state=state)
    return {"metadata": {"name": "node-1"}, "status": BgpNodeStatus(node="node-1", sessions=(entry,)).as_status()}


def silent(*allocations: Object, **facts: Any) -> list[str]:
    given = {"pools": [LAN], "l2_advertisements": [ALL], "nodes": NODES, **facts}
    return [line.silent for line in picture(allocations=allocations, **given).silent]


def test_what_a_speaker_reports_is_the_reason() -> None:
    assert silent(unready("192.0.2.10", "no endpoint of the Service serves")) == ["no endpoint of the Service serves"]


def test_that_no_advertisement_covers_the_pool_comes_first() -> None:
    (reason,) = silent(unready("192.0.2.10", "no endpoint"), l2_advertisements=[OTHERS])
    assert reason.startswith("no L2Advertisement or BGPAdvertisement covers pool lan")


def test_where_no_node_reports_it_says_where_to_look() -> None:
    (reason,) = silent(allocation("192.0.2.10", "prod/web"))
    assert reason.startswith("no node reports on it")
    assert "component=speaker" in reason


def test_an_announcing_node_that_is_gone_is_no_announcer() -> None:
    (reason,) = silent(allocation("192.0.2.10", "prod/web", node="node-9"))
    assert reason == "node node-9 announced it last, and there is no such node"


def test_an_address_of_bgp_alone_needs_a_session() -> None:
    only = {"l2_advertisements": [OTHERS], "bgp_advertisements": [ALL]}
    held = allocation("192.0.2.10", "prod/web")
    (reason,) = silent(held, **only, bgp_node_statuses=[session(SessionStatus.DOWN)])
    assert reason == "only BGPAdvertisements cover it, and no session with a router is up"
    up = {**only, "bgp_node_statuses": [session(SessionStatus.ESTABLISHED)]}
    assert silent(held, **up) == []
    assert "Bound 1h BGP" in text_of(render(picture(allocations=[held], pools=[LAN], **up)))


@pytest.mark.parametrize(
    "quiet",
    [
        allocation("192.0.2.10", "prod/web", node="node-1"),
        allocation("192.0.2.10", "prod/web", state="Cooling"),
        allocation("192.0.2.10", "prod/web", state="Tentative"),
    ],
    ids=["announced", "cooling", "reserved"],
)
def test_what_needs_no_announcement_raises_no_alarm(quiet: Object) -> None:
    assert silent(quiet) == []
    assert 'class="alarm"' not in render(picture(allocations=[quiet], l2_advertisements=[ALL], nodes=NODES))


def test_a_new_address_has_some_seconds() -> None:
    fresh = allocation("192.0.2.10", "prod/web")
    fresh["spec"]["since"] = "2026-01-01T00:59:55Z"
    assert silent(fresh) == []
    fresh["spec"]["since"] = "2026-01-01T00:59:45Z"
    assert len(silent(fresh)) == 1
    fresh["spec"]["since"] = "no moment"
    assert len(silent(fresh)) == 1


def test_before_advertisements_and_nodes_are_listed_nothing_is_concluded_from_them() -> None:
    announced = allocation("192.0.2.10", "prod/web", node="node-9")
    assert silent(announced, l2_advertisements=None, nodes=None) == []


def test_the_alarm_is_the_first_thing_on_the_page_and_in_its_title() -> None:
    told = picture(pools=[LAN], allocations=[unready("192.0.2.10", "no endpoint <x>")], l2_advertisements=[ALL])
    page = render(told, wanted="filtered away")
    body = page.partition("<body>")[2].lstrip()
    assert body.startswith('<section class="alarm" role="alert"><h2>1 address is announced by no node</h2>')
    assert "<title>(1 not announced) AdmitLB</title>" in page
    assert "192.0.2.10 prod/web no endpoint &lt;x&gt;" in text_of(page), "a filter hides no alarm"
    calm = render(picture(pools=[LAN]))
    assert "alarm" not in calm.partition("<body>")[2]
    assert "<title>AdmitLB</title>" in calm


def test_a_long_alarm_is_cut_and_says_so() -> None:
    claims = [allocation(f"192.0.2.{number}", "prod/web") for number in range(1, ALARMS + 4)]
    page = render(picture(pools=[LAN], allocations=claims, l2_advertisements=[ALL]))
    alarm = page.partition("</section>")[0]
    assert f"{ALARMS + 3} addresses are announced by no node" in alarm
    assert alarm.count("no node reports on it") == ALARMS
    assert "and 3 more: <code>kubectl get ipallocations</code>" in alarm


def test_every_node_shows_what_it_announces_and_why_it_may_not() -> None:
    held = [allocation(f"192.0.2.{number}", "a/b", node="node-1") for number in (1, 2)]
    held.append(allocation("192.0.2.3", "a/b", node="gone"))
    told = picture(
        pools=[LAN], allocations=held, l2_advertisements=[ALL], nodes=NODES,
        bgp_node_statuses=[session(SessionStatus.DOWN)],
    )  # fmt: skip
    text = text_of(render(told))
    assert "gone 1 there is no such node" in text
    assert "node-1 2 0 of 1" in text
    assert "node-2 0 has the label node.kubernetes.io/exclude-from-external-load-balancers" in text
    assert "Nodes" not in text_of(render(picture()))
    assert [line.name for line in told.nodes] == ["gone", "node-1", "node-2"]
