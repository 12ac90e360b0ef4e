"""The comment of a pull request: what it says, and that nothing in it is taken for markup."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.commands.markdown import _SAID, MOST_CHARACTERS, TITLE, _counted, as_markdown, plain
from tests.unit.commands.live_clusters import change, live_cluster
from tests.unit.commands.manifests import advertisement, pool, service

LAN = pool("lan", "192.0.2.10-192.0.2.13")
ALL = advertisement("all")


def test_several_services_of_one_effect_are_counted_in_the_plural() -> None:
    live = live_cluster(LAN, ALL)
    plan = change(live, service("a"), service("b"))
    assert "2 gain an address; 0 Services stay" in as_markdown(plan)
    assert [_counted(2, said) for said in _SAID.values()] == [
        "2 denied",
        "2 lose an address",
        "2 move",
        "2 no longer announced",
        "2 wait",
        "2 deleted",
        "2 gain an address",
        "2 announced now",
        "2 change pool",
    ]


def test_the_comment_of_a_change() -> None:
    live = live_cluster(LAN, ALL, service("web"), service("api"))
    plan = change(
        live,
        service("web", annotations={"loadBalancerIPs": "192.0.2.13"}),
        service("new"),
        pool("all", "192.0.2.0/24"),
    )
    why = (
        "spec.addresses&#91;0&#93;: 192.0.2.0/24 overlaps 192.0.2.10-192.0.2.13 of pool lan; every address belongs "
        "to one range of one pool; to take them over from lan, write spec.addressesFrom: &#91;lan&#93;"
    )
    assert (
        as_markdown(plan)
        == f"""{TITLE}

1 moves, 1 gains an address, 1 of 3 documents refused; 1 Service stays as it is.

| Service | effect | before | after | why |
| --- | --- | --- | --- | --- |
| prod/web | **moves** | `192.0.2.10` | `192.0.2.13` |  |
| prod/new | gains an address | none | `192.0.2.12` |  |

**Refused by admission:**

| document | code | why |
| --- | --- | --- |
| IPAddressPool all | 422 | IPAddressPool all: {why} |

<details><summary>Pools after it</summary>

| pool | family | assigned | available |
| --- | --- | --- | --- |
| lan | IPv4 | 3 | 1 |

</details>
"""
    )


def test_the_comment_of_a_change_that_changes_nothing() -> None:
    comment = as_markdown(change(live_cluster(LAN, ALL, service("web")), service("web")))
    assert "Nothing changes for any Service; 1 Service stays as it is." in comment


@given(st.text(max_size=250))
def test_text_is_shown_as_it_is_and_is_no_markup(text: str) -> None:
    shown = plain(text)
    without = [each.replace("\u200b", "") for each in (html.unescape(shown), " ".join(text.split()))]
    assert without[0] == without[1] or "\x00" <= min(text) < " " or not text.isprintable()
    assert not re.search(r"[|<>`*_\[\]@#!\n]", re.sub(r"&#\d+;", "", shown))


_LINKS = re.compile(r"\w+://|www\.|@\w|#\d|GH-\d|[!~$%&]\w|\^alert#", re.IGNORECASE)
"""What GitHub and GitLab make a link or a mention of after they have decoded entities."""
_PARTS = st.sampled_from(
    ["https", "http", ":", "//", "www", "WWW", ".", "@", "#", "GH", "gh", "-", "1", "a", " ", *"!~$%&^"]
)


@pytest.mark.parametrize(
    "text",
    [
        "https://x.example",
        "www.x.example",
        "@name",
        "@org/team",
        "#1",
        "o/r#1",
        "GH-12",
        "a@x.example",
        "o/r!1",
        "~bug",
        "$1",
        "%v1",
        "&1",
        "^alert#1",
    ],
)
def test_a_link_is_none_and_a_mention_is_none(text: str) -> None:
    assert _LINKS.search(text)
    assert not _LINKS.search(html.unescape(plain(text)))


@given(st.lists(_PARTS, max_size=40).map("".join))
def test_no_text_is_a_link_or_a_mention(text: str) -> None:
    assert not _LINKS.search(html.unescape(plain(text)))


def test_a_value_that_somebody_wrote_mentions_nobody() -> None:
    wicked = service("web", annotations={"loadBalancerIPs": "@everyone](https://x.example) | <img>`"})
    comment = as_markdown(change(live_cluster(LAN, ALL), wicked))
    assert "everyone" in comment
    assert not re.search(r"@|<img|\]\(", comment)


def test_a_long_comment_is_cut_and_says_so() -> None:
    live = live_cluster(pool("lan", "192.0.2.0/24"), ALL)
    message = {"loadBalancerIPs": "x" * 400}
    plan = change(live, *(service(f"s{number:03}", annotations=message) for number in range(250)))
    comment = as_markdown(plan)
    assert len(comment) <= MOST_CHARACTERS + 100
    assert comment.endswith("\n\nThe rest does not fit into a comment: see the output of the pipeline.\n")
    few = as_markdown(change(live, *(service(f"s{number:03}") for number in range(250))))
    assert "and 50 more." in few


def test_what_says_that_a_comment_is_cut_is_not_folded_away() -> None:
    plan = change(live_cluster(LAN, ALL), service("web"))
    long = replace(plan.pools[0], name="x" * 300)
    comment = as_markdown(replace(plan, pools=(long,) * 200))
    _, _, end = comment.rpartition("|\n\n")
    assert end == "</details>\n\nThe rest does not fit into a comment: see the output of the pipeline.\n"
    assert comment.count("<details>") == comment.count("</details>") == 1
    assert len(comment) <= MOST_CHARACTERS + 100
