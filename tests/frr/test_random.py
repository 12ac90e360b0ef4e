"""Random objects that are admitted, several on one node: FRR takes every command that is made of them."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allocator.objects.bgp_community import WELL_KNOWN
from allocator.objects.document import name_of
from tests.frr import commands
from tests.frr.daemons import Daemons
from tests.unit.commands.bgp_manifests import judge
from tests.unit.commands.manifests import Object
from tests.unit.rules.bgp_objects import ADVERTISEMENTS, PEERS, PROFILES, sound_peers

_SETTINGS = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def admitted(*objects: Object) -> list[Object]:
    return [one for one, answer in zip(objects, judge(*objects).documents, strict=True) if answer["allowed"]]


@given(st.lists(st.one_of(PEERS, sound_peers()), min_size=1, max_size=4, unique_by=name_of))
@_SETTINGS
def test_admitted_peers_of_one_node_are_taken(daemons: Daemons, peers: list[Object]) -> None:
    specs = [one["spec"] for one in admitted(*peers)]
    # All of them choose every node: who conflicts with whom was judged with that in mind.
    assert daemons.refusals(commands.of_peers(specs)) == []


@given(ADVERTISEMENTS)
@_SETTINGS
def test_an_admitted_advertisement_is_taken(daemons: Daemons, advertisement: Object) -> None:
    for one in admitted(advertisement):
        spec = dict(one["spec"])
        # Names of Communities have no meaning here, as there is none; numbers without a colon are such a name.
        listed = spec.get("communities", ())
        spec["communities"] = [text for text in listed if ":" in text or text.lower() in WELL_KNOWN]
        assert daemons.refusals(commands.of_advertisement(spec)) == []


@given(PROFILES)
@_SETTINGS
def test_an_admitted_profile_is_taken(daemons: Daemons, profile: Object) -> None:
    for one in admitted(profile):
        assert daemons.refusals(commands.of_profile(one["metadata"]["name"], one["spec"])) == []
