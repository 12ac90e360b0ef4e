"""What the page shows of a cluster's state, and that nothing from the cluster can become markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, SessionStatus
from allocator.rules import configuration
from allocator.status_page.announcers import NodeLine
from allocator.status_page.html import SHOWN, render
from allocator.status_page.moves import Announcement, Move
from allocator.status_page.picture import AddressLine, Picture, PoolLine, SessionLine, WaitingLine, picture_of
from tests.unit.status_page.claims import Object, allocation, pool, waiting_service

NOW = datetime(2026, 1, 1, 1, 0, tzinfo=UTC)


def picture(
    *,
    pools: Sequence[Object] = (),
    allocations: Sequence[Object] = (),
    services: Sequence[Object] = (),
    **facts: Any,
) -> Picture:
    return picture_of(
        at=NOW,
        leading=True,
        problems=(),
        configuration=configuration.read(pools),
        pools=pools,
        allocations=allocations,
        services=services,
        moves=(Move(at=NOW, ip="192.0.2.10", what="announced by node-1"),),
        **facts,
    )


def text_of(page: str) -> str:
    """The page's text without its tags, as a reader sees it."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.partition("</style>")[2]))


def test_pools_show_what_is_held_and_free() -> None:
    page = render(
        picture(pools=[pool("lan", "192.0.2.10-192.0.2.13")], allocations=[allocation("192.0.2.10", "a/b")])
    )
    assert "lan 192.0.2.10-192.0.2.13 IPv4 1 3 25% serves" in text_of(page)
    assert 'value="0.250"' in page


def test_each_family_of_a_pool_stands_beside_its_own_ranges() -> None:
    text = text_of(render(picture(pools=[pool("both", "192.0.2.0/30", "2001:db8::/64")])))
    assert "both 192.0.2.0/30 IPv4 0 4 0% serves" in text
    assert "both 2001:db8::/64 IPv6 0 over a billion 0% serves" in text


def test_a_full_pool_is_not_shown_as_one_that_serves() -> None:
    pools = [pool("lan", "192.0.2.10"), pool("spare", "192.0.2.11")]
    page = render(picture(pools=pools, allocations=[allocation("192.0.2.10", "a/b")]))
    text = text_of(page)
    assert "lan 192.0.2.10 IPv4 1 0 100% full" in text
    assert "spare 192.0.2.11 IPv4 0 1 0% serves" in text
    assert '<span class="warn">full</span>' in page
    assert page.count('<span class="good">') == 1


def test_a_pool_that_cannot_serve_says_why() -> None:
    told = picture(pools=[pool("odd", "nonsense")])
    assert "odd nonsense 0 0" in text_of(render(told))
    assert "'nonsense' is not" in told.pools[0].trouble
    assert any("IPAddressPool odd" in problem for problem in told.problems)


def test_addresses_show_holder_state_and_announcing_node() -> None:
    page = render(picture(allocations=[allocation("192.0.2.10", "prod/web", node="node-2")]))
    assert "192.0.2.10 prod/web lan Bound 1h node-2 on eth0 1h" in text_of(page)


def test_bgp_sessions_are_shown_with_those_first_that_are_not_up() -> None:
    since = "2026-01-01T00:00:00Z"
    up = SessionEntry(
        peer="tor", neighbor="192.0.2.1", state=SessionStatus.ESTABLISHED, since=since, wanted=3, sent=3, bfd="Up"
    )
    down = replace(up, state=SessionStatus.DOWN, message="not connected; <Hold Timer>", sent=0, bfd="")
    statuses = [
        {"metadata": {"name": node}, "status": BgpNodeStatus(node=node, sessions=(session,)).as_status()}
        for node, session in (("node-1", up), ("node-2", down))
    ]
    shown = picture(allocations=[allocation("192.0.2.10", "prod/web")], bgp_node_statuses=statuses)
    page = render(shown)
    text = text_of(page)
    assert (
        "tor 192.0.2.1 node-2 Down 1h 0/3 not connected; &lt;Hold Timer&gt; tor 192.0.2.1 node-1 Established" in text
    )
    assert "node-1 Established" not in text_of(render(shown, wanted="node-2"))
    assert "BGP sessions" not in render(picture())


def test_addresses_are_in_the_order_of_their_numbers() -> None:
    claims = [allocation(ip, "a/b") for ip in ("2001:db8::1", "192.0.2.100", "192.0.2.9")]
    assert [line.ip for line in picture(allocations=claims).addresses] == ["192.0.2.9", "192.0.2.100", "2001:db8::1"]


def test_services_that_wait_show_their_reason() -> None:
    page = render(picture(services=[waiting_service("web", "prod/web: no IPv4 address left (lan: full)")]))
    assert "prod/web 1h no IPv4 address left (lan: full)" in text_of(page)


def test_nothing_waits_on_a_page_without_waiting_services() -> None:
    assert "Waiting" not in render(picture(services=[{"metadata": {"namespace": "a", "name": "b"}}]))


def test_the_filter_finds_by_address_service_pool_and_node() -> None:
    told = picture(
        allocations=[
            allocation("192.0.2.10", "prod/web", node="node-1"),
            allocation("192.0.2.11", "dev/api", pool="other", node="node-2"),
        ]
    )
    for wanted in ("192.0.2.11", "DEV/", "other", "node-2"):
        shown = text_of(render(told, wanted=wanted))
        assert "dev/api" in shown
        assert "prod/web" not in shown


def test_a_large_cluster_is_cut_and_says_so() -> None:
    claims = [allocation(f"10.0.{number // 250}.{number % 250}", "a/b") for number in range(SHOWN + 7)]
    page = render(picture(allocations=claims))
    assert page.count("Bound</td>") == SHOWN
    assert "and 7 more" in page


class _Tags(HTMLParser):
    """Collects every tag and attribute a browser would see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: set[tuple[str, str]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {(tag, "")} | {(tag, name) for name, _ in attrs}


def _tags(page: str) -> set[tuple[str, str]]:
    parser = _Tags()
    parser.feed(page)
    return parser.seen


hostile = st.text(alphabet=st.sampled_from("<>\"'&=/ aonerrscipt;\n"), min_size=1, max_size=40)


def _full(text: str) -> Picture:
    """A picture in which every text is the same."""
    return Picture(
        at=NOW,
        leading=False,
        problems=(text,),
        pools=(PoolLine(name=text, addresses=(text,), uses=(), trouble=text),),
        addresses=(
            AddressLine(
                ip=text,
                pool=text,
                state=text,
                holders=text,
                since=text,
                announcement=Announcement(text, (text,), text),
                silent=text,
            ),
        ),
        sessions=(SessionLine(node=text, session=SessionEntry(peer=text, neighbor=text, message=text)),),
        nodes=(NodeLine(name=text, announced=1, sessions_up=0, sessions=1, remark=text),),
        waiting=(WaitingLine(service=text, message=text, since=text),),
        moves=(Move(at=NOW, ip=text, what=text),),
    )


@settings(max_examples=50)
@given(hostile, st.booleans())
def test_no_text_from_the_cluster_becomes_markup(text: str, reload: bool) -> None:
    page, plain = (render(_full(each), wanted=each, reload=reload) for each in (text, "x"))
    assert _tags(page) == _tags(plain)
    assert page.count("href=") == plain.count("href=")
    assert all(target.startswith("?q=") for target in re.findall(r'href="([^"]*)"', page))


def test_the_page_runs_no_script_and_loads_nothing() -> None:
    page = render(_full("x"))
    assert not {tag for tag, _ in _tags(page)} & {"script", "link", "img", "iframe", "object", "svg"}
    assert not re.search(r"\bstyle=|\bsrc=|\bhref=[^?]{2}|url\(|@import|\bon\w+=", page.partition("<body>")[2])


def test_a_page_that_reloads_has_no_field_to_lose_what_is_typed() -> None:
    still, reloading = render(_full("x"), wanted="w"), render(_full("x"), wanted="w", reload=True)
    assert ("input", "") in _tags(still)
    assert "http-equiv" not in still
    assert '<meta http-equiv="refresh" content="10">' in reloading
    assert not {"input", "form", "textarea", "select"} & {tag for tag, _ in _tags(reloading)}
    assert 'href="?q=w"' in reloading, "there is a way back, with what was searched for"
