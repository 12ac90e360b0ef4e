"""Who gets no traffic at an address that Services share under externalTrafficPolicy Local."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.rules.local_sharing import local_sharing_warnings, without_traffic
from tests.unit.commands.manifests import service

KEY = {"allow-shared-ip": "key"}
nodes = st.frozensets(st.sampled_from(["node-1", "node-2", "node-3"]))


def shared(*, annotations: dict[str, str] = KEY, **spec: Any) -> dict[str, Any]:
    document = service("web", annotations=annotations, **spec)
    return dict(document)


def test_endpoints_of_its_own_under_local_and_a_sharing_key_are_warned_of() -> None:
    (warning,) = local_sharing_warnings(shared(externalTrafficPolicy="Local", selector={}))
    assert "without an endpoint there get no traffic" in warning
    assert "use externalTrafficPolicy Cluster" in warning


@pytest.mark.parametrize(
    "document",
    [
        shared(externalTrafficPolicy="Cluster", selector={}),
        shared(externalTrafficPolicy="Local", selector={"app": "web"}),
        shared(annotations={}, externalTrafficPolicy="Local", selector={}),
    ],
    ids=["any node forwards", "one set of pods", "nobody shares"],
)
def test_what_cannot_go_wrong_is_not(document: dict[str, Any]) -> None:
    assert local_sharing_warnings(document) == ()


@given(st.dictionaries(st.sampled_from("abcd"), nodes, max_size=4), st.sampled_from(["node-1", "node-2"]))
def test_those_without_an_endpoint_on_the_announcing_node_and_with_one_elsewhere(
    sharing: dict[str, frozenset[str]], node: str
) -> None:
    found = without_traffic(sharing.items(), node)
    assert found == {key for key, on in sharing.items() if on and on.isdisjoint({node})}
