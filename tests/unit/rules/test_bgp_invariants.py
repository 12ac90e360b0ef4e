"""Whatever stands in the objects for BGP: no rule fails, refusals name their field, and no password is repeated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from allocator.objects import names
from allocator.objects.bgp_peer import peer_from
from allocator.objects.document import InvalidDocument
from allocator.rules import bgp_status, configuration
from allocator.rules.bgp_nodes import Nodes
from allocator.rules.kinds import BY_KIND
from tests.unit.commands.bgp_manifests import judge, peer
from tests.unit.commands.manifests import Object, deleted, lint, pool
from tests.unit.manifests.documents import named
from tests.unit.rules.bgp_objects import ADVERTISEMENT_FIELDS, OBJECTS, PASSWORD, PEER_FIELDS, PEERS, PROFILE_FIELDS

POOLS = [pool("main", "192.0.2.0/24"), pool("wide", "2001:db8::/120", "198.51.100.4-198.51.100.19")]
_REFUSAL = re.compile(
    r"(BGPPeer|BGPAdvertisement|BFDProfile|Community) \S+: (spec\.\w+|metadata\.name|is used by|the chan)"
)
NODES: Mapping[str, Mapping[str, str]] = {"n1": {"rack": "a"}, "n2": {}}


def fields_of(kind: str) -> set[str]:
    (version,) = named("CustomResourceDefinition", kind)["spec"]["versions"]
    return set(version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("bgppeers.metallb.io", PEER_FIELDS),
        ("bgpadvertisements.metallb.io", ADVERTISEMENT_FIELDS),
        ("bfdprofiles.metallb.io", PROFILE_FIELDS),
    ],
)
def test_every_field_of_the_schema_is_tried(kind: str, made: dict[str, Any]) -> None:
    assert set(made) == fields_of(kind)


@given(st.lists(OBJECTS, min_size=1, max_size=5))
def test_no_object_fails_a_rule_and_a_refusal_names_its_field(objects: list[Object]) -> None:
    for strict in (False, True):
        for one in judge(*POOLS, *objects, *map(deleted, objects), strict=strict).documents:
            for line in (one["message"], *one["warnings"]):
                assert "\n" not in line
                assert PASSWORD not in line
            assert one["allowed"] or _REFUSAL.match(one["message"]), one["message"]


@given(st.lists(OBJECTS, min_size=1, max_size=6), st.sampled_from([{}, NODES]))
def test_no_stored_object_fails_the_conditions(objects: list[Object], nodes: Mapping[str, Mapping[str, str]]) -> None:
    """Of objects that came in while nothing checked them; of two of one name the last is stored."""
    stored = {
        kind: list({one["metadata"]["name"]: one for one in objects if one["kind"] == kind.kind}.values())
        for kind in names.BGP_KINDS
    }
    found = configuration.read(POOLS, stored, nodes)
    texts = found.errors()
    pools = list(found.pools.values())
    known = Nodes(nodes)
    for one in stored[names.BGP_PEERS]:
        fault = found.fault(names.BGP_PEERS, one["metadata"]["name"])
        shown = bgp_status.peer_conditions(one, fault, profiles=(), absent_secrets=(), nodes=known)
        texts += [condition.message for condition in shown]
    for one in stored[names.BGP_ADVERTISEMENTS]:
        fault = found.fault(names.BGP_ADVERTISEMENTS, one["metadata"]["name"])
        conditions = bgp_status.advertisement_conditions(one, fault, pools=pools, peers=(), aliases={}, nodes=known)
        texts += [shown.message for shown in conditions]
    assert not any(PASSWORD in text or "\n" in text for text in texts)


@given(PEERS)
def test_the_value_of_a_peer_shows_no_password(document: Object) -> None:
    try:
        value = peer_from(document)
    except InvalidDocument as error:
        assert PASSWORD not in str(error)
    else:
        assert PASSWORD not in repr(value)


@given(PEERS)
def test_what_is_refused_is_at_fault_and_the_other_way_round(document: Object) -> None:
    """Admission and conditions have one set of rules."""
    answered = judge(document).documents[0]
    found = configuration.read([], {names.BGP_PEERS: [document]})
    kind = BY_KIND["metallb.io", "BGPPeer"]
    if answered["allowed"]:
        assert found.errors() == []
    elif not judged_by_schema(document):
        # A requirement listed twice is refused when written, and read when stored.
        assert found.errors() or "listed twice" in answered["message"]
    assert kind.in_one_namespace


def judged_by_schema(document: Object) -> bool:
    return any(word in judge(document).messages[0] for word in ("is too", "at most", "is unknown", "is not a"))


@pytest.mark.parametrize(
    "misplaced",
    [
        {"password": int(1e9)},
        {"password": [PASSWORD]},
        {"password": {"value": PASSWORD}},
        {"passwordSecret": PASSWORD},
        {"passwordSecret": {"name": [PASSWORD]}},
        {"passwordSecret": {"value": PASSWORD}},
        {"pasword": PASSWORD},
    ],
    ids=str,
)
@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
def test_a_password_in_the_wrong_place_is_not_repeated(misplaced: dict[str, Any], version: str) -> None:
    document = peer(**misplaced)
    document["apiVersion"] = f"metallb.io/{version}"
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": yaml.safe_dump(document)}
    document["metadata"]["annotations"] = annotations
    said = str(lint(document).told)
    assert PASSWORD not in said
    assert "1000000000" not in said
