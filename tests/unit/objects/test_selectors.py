"""Label selectors in our kinds: accepted and refused as the API server accepts and refuses its own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from allocator.objects.document import InvalidDocument, Problems
from allocator.objects.selectors import selector_from, selectors_from
from tests.unit.commands.manifests import Object, advertisement, lint, pool
from tests.unit.objects.labels_oracle import SELECTORS, TABLE, Selector, is_accepted

BAD: dict[str, Any] = {"matchLabels": {"bad key!": "x"}}
TWICE: dict[str, Any] = {
    "matchExpressions": [
        {"key": "a", "operator": "In", "values": ["x", "y"]},
        {"key": "b", "operator": "Exists"},
        {"key": "a", "operator": "In", "values": ["y", "x"]},
    ]
}


def bgp(kind: str, version: str, **spec: Any) -> Object:
    metadata = {"name": "o", "namespace": "metallb-system"}
    return {"apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": metadata, "spec": spec}


def everywhere(selector: dict[str, Any]) -> dict[str, Object]:
    """The selector in every place of our kinds that takes one, by its path."""
    listed = [{"matchLabels": {"fine": "yes"}}, selector]
    peer = {"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1"}
    return {
        "spec.serviceAllocation.namespaceSelectors[1]": pool(
            "p", "10.0.0.1", serviceAllocation={"namespaceSelectors": listed}
        ),
        "spec.serviceAllocation.serviceSelectors[1]": pool(
            "p", "10.0.0.1", serviceAllocation={"serviceSelectors": listed}
        ),
        "spec.ipAddressPoolSelectors[1]": advertisement("a", ipAddressPoolSelectors=listed),
        "spec.nodeSelectors[1]": advertisement("a", nodeSelectors=listed),
        "spec.serviceSelectors[1]": advertisement("a", serviceSelectors=listed),
        "spec.preferredNodeSelectors[1].preference": advertisement(
            "a", preferredNodeSelectors=[{"weight": 1, "preference": one} for one in listed]
        ),
        "BGPPeer spec.nodeSelectors[1]": bgp("BGPPeer", "v1beta2", **peer, nodeSelectors=listed),
        **{
            f"BGPAdvertisement spec.{field}[1]": bgp("BGPAdvertisement", "v1beta1", **{field: listed})
            for field in ("ipAddressPoolSelectors", "nodeSelectors", "serviceSelectors")
        },
    }


def problems_of(selector: Selector) -> list[str]:
    problems = Problems()
    selector_from(selector, "s", problems)
    try:
        problems.raise_if_any()
    except InvalidDocument as error:
        return [problem.path for problem in error.problems]
    return []


@pytest.mark.parametrize("selector", TABLE, ids=repr)
def test_every_rule_is_the_api_servers(selector: Selector) -> None:
    assert (problems_of(selector) == []) is is_accepted(selector)


@given(SELECTORS)
def test_any_selector_is_accepted_exactly_where_the_api_server_accepts_it(selector: Selector) -> None:
    assert (problems_of(selector) == []) is is_accepted(selector)


@pytest.mark.parametrize(("place", "document"), everywhere(BAD).items(), ids=list(everywhere(BAD)))
def test_a_bad_key_is_refused_wherever_a_selector_can_stand(place: str, document: Object) -> None:
    ran = lint(document)
    assert ran.codes == [422]
    path = place.rpartition(" ")[2]
    assert f"{path}.matchLabels[bad key!]: key 'bad key!' is no valid key; use letters" in ran.messages[0]


@pytest.mark.parametrize(("place", "document"), everywhere(TWICE).items(), ids=list(everywhere(TWICE)))
def test_the_same_requirement_twice_is_refused_in_any_order_of_its_values(place: str, document: Object) -> None:
    ran = lint(document)
    assert ran.codes == [422]
    path = place.rpartition(" ")[2]
    assert f"{path}.matchExpressions[2]: a in (x,y) is listed twice; remove one" in ran.messages[0]


def test_selectors_that_cannot_be_read_are_not_said_to_be_the_same() -> None:
    problems = Problems()
    selectors_from([{"matchLabels": {"bad key!": "x"}}, {"matchLabels": {"k": "v v"}}, {}], "s", problems)
    with pytest.raises(InvalidDocument) as raised:
        problems.raise_if_any()
    assert [problem.path for problem in raised.value.problems] == [
        "s[0].matchLabels[bad key!]",
        "s[1].matchLabels[k]",
    ]


def test_a_stored_selector_with_the_same_requirement_twice_is_read_all_the_same() -> None:
    problems = Problems()
    (selector,) = selectors_from([TWICE], "s", problems)
    problems.raise_if_any()
    assert str(selector) == "a in (x,y), b"


@pytest.mark.parametrize(
    ("selector", "path", "says"),
    [
        ({"matchLabels": {"a/b/c": "x"}}, "s.matchLabels[a/b/c]", "more than one '/'"),
        ({"matchLabels": {"/a": "x"}}, "s.matchLabels[/a]", "nothing before its '/'"),
        ({"matchLabels": {"A.com/a": "x"}}, "s.matchLabels[A.com/a]", "no DNS name"),
        ({"matchLabels": {"a": "v" * 64}}, "s.matchLabels[a]", "has 64 characters; use 63 at most"),
        ({"matchExpressions": [{"key": "a.", "operator": "Exists"}]}, "s.matchExpressions[0].key", "no valid key"),
        (
            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y z"]}]},
            "s.matchExpressions[0].values[1]",
            "no label value",
        ),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn"}]}, "s.matchExpressions[0].values", "at least one"),
        (
            {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]},
            "s.matchExpressions[0].values",
            "takes no values",
        ),
        (
            {"matchExpressions": [{"key": "a", "operator": "exists"}]},
            "s.matchExpressions[0].operator",
            "use one of In, NotIn, Exists, DoesNotExist",
        ),
    ],
)
def test_a_refusal_names_field_value_and_remedy(selector: Selector, path: str, says: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        selector_from(selector, "s")
    (problem,) = refused.value.problems
    assert problem.path == path
    assert says in problem.why


def test_a_message_does_not_repeat_text_of_any_length() -> None:
    with pytest.raises(InvalidDocument) as refused:
        selector_from({"matchLabels": {"k" * 100_000: "v" * 100_000}}, "s")
    assert len(str(refused.value)) < 1000
