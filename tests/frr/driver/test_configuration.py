"""What FRR is configured with after any sequence of changes: what is wanted, no more and no less.

Two sessions that nobody edits, to BIRD and to FRR, are up all the time and never end. `BGP_FUZZ_EXAMPLES` makes the
search longer.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from allocator.bgp.desired import DesiredState, Difference
from allocator.bgp.frr_config import Config
from allocator.bgp.inputs import Peer, Service
from allocator.bgp.object_values import advertisement_value, peer_value
from allocator.bgp.route_class import Prefix, RouteClass
from allocator.core.addresses import Address
from allocator.objects.bgp_advertisement import advertisement_from
from allocator.objects.bgp_bfd_profile import bfd_profile_from
from allocator.objects.bgp_peer import peer_from
from speaker.bgp.events import Applied, Event, Resetting
from tests.frr.driver.bed import Bed, NodeFrr, bird_peer, numbered_peer
from tests.unit.bgp import random_desired
from tests.unit.commands.bgp_manifests import judge
from tests.unit.commands.manifests import Object
from tests.unit.rules.bgp_objects import ADVERTISEMENTS, PEERS, PROFILES, sound_peers

EXAMPLES = int(os.environ.get("BGP_FUZZ_EXAMPLES", "15"))
BYSTANDERS = {peer.name: peer for peer in (bird_peer(), numbered_peer(23))}
SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


def running(here: NodeFrr) -> Config:
    """What both daemons say they are configured with."""
    found = Config()
    for link in here.applying.links.values():
        part = link.running_config()
        found.lines |= part.lines
        found.networks |= part.networks
    return found


def assert_as_wanted(here: NodeFrr) -> None:
    found, wanted = running(here), here.rendering.config(here.applying.present)
    assert found.networks == wanted.networks
    assert found.lines == wanted.lines
    assert (here.applying.present.lines, here.applying.present.networks) == (found.lines, found.networks)


def surprises(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Applied | Resetting)]


def test_any_sequence_of_changes_ends_as_wanted_and_leaves_other_sessions_alone(site: Bed) -> None:
    here = site.applying
    here.rendering.update(Difference(BYSTANDERS, {}, {}))
    here.applying.apply()
    here.wait_established([peer.id for peer in BYSTANDERS.values()])
    before = {name: each["connectionsEstablished"] for name, each in here.neighbors().items()}

    class Changes(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.known: set[Prefix] = set(here.rendering.prefixes)
            here.events.clear()

        @initialize()
        def nothing_but_bystanders(self) -> None:
            here.rendering.update(Difference(BYSTANDERS, {}, dict.fromkeys(self.known)))
            here.applying.apply()

        @rule(sessions=random_desired.running)
        def sessions(self, sessions: dict[str, Peer]) -> None:
            here.rendering.update(Difference({**_alike(sessions), **BYSTANDERS}))
            here.applying.apply()

        @rule(profiles=random_desired.profiles)
        def profiles(self, profiles: Any) -> None:
            here.rendering.update(Difference(profiles=profiles))
            here.applying.apply()

        @rule(announced=random_desired.announced)
        def prefixes(self, announced: dict[Prefix, RouteClass]) -> None:
            difference = {prefix: announced.get(prefix) for prefix in {*self.known, *announced}}
            self.known = set(announced)
            here.rendering.update(Difference(prefixes=difference))
            here.applying.apply()

        @rule(prefix=random_desired.prefixes, route_class=st.one_of(st.none(), random_desired.classes))
        def one_prefix(self, prefix: Prefix, route_class: RouteClass | None) -> None:
            self.known |= {prefix}
            here.rendering.update(Difference(prefixes={prefix: route_class}))
            here.applying.apply()

        @rule()
        def speaker_restarts(self) -> None:
            sessions, prefixes = here.rendering.sessions, dict(here.rendering.prefixes)
            profiles = here.rendering.profiles
            again = site.restart_applying()
            assert again.applying.connect()
            again.rendering.update(Difference(sessions, profiles, prefixes))
            again.events.clear()
            again.applying.apply()
            assert again.events == []
            again.applying.close()
            here.applying.close()
            site.applying = here
            assert here.applying.connect()
            here.events.clear()

        @invariant()
        def frr_has_what_is_wanted(self) -> None:
            assert surprises(here.events) == []
            assert_as_wanted(here)

        @invariant()
        def bystanders_are_not_classed_as_reset(self) -> None:
            resets = {
                reset.neighbor for event in here.events if isinstance(event, Resetting) for reset in event.resets
            }
            assert resets.isdisjoint(peer.id for peer in BYSTANDERS.values())

    run_state_machine_as_test(Changes, settings=SETTINGS)
    after = here.neighbors()
    for peer in BYSTANDERS.values():
        assert after[peer.id]["bgpState"] == "Established"
        assert after[peer.id]["connectionsEstablished"] == before[peer.id]


def _alike(sessions: dict[str, Peer]) -> dict[str, Peer]:
    """Without what the bystanders' router ID would be contradicted by."""
    return {name: peer for name, peer in sessions.items() if peer.vrf or peer.router_id == "10.0.1.1"}


@given(
    peers=st.lists(
        st.one_of(PEERS, sound_peers()), min_size=1, max_size=3, unique_by=lambda one: one["metadata"]["name"]
    ),
    advertisements=st.lists(ADVERTISEMENTS, max_size=3, unique_by=lambda one: one["metadata"]["name"]),
    profiles=st.lists(PROFILES, max_size=2, unique_by=lambda one: one["metadata"]["name"]),
)
@settings(SETTINGS, max_examples=3 * EXAMPLES)
def test_what_admission_takes_frr_takes(
    site: Bed, peers: list[Object], advertisements: list[Object], profiles: list[Object]
) -> None:
    here = site.applying
    state = DesiredState(random_desired.NODE)
    for document in _admitted(peers):
        peer = peer_value(peer_from(document))
        state.set_peer(peer.name, peer)
    for document in _admitted(profiles):
        profile = bfd_profile_from(document)
        state.set_profile(profile.name, profile)
    for document in _admitted(advertisements):
        advertisement = advertisement_value(advertisement_from(document))
        state.set_advertisement(advertisement.name, advertisement)
    addresses = dict.fromkeys((Address.parse("198.51.100.1"), Address.parse("2001:db8:1::1")), ("main",))
    state.set_service("x/y", Service(addresses=addresses, has_endpoints=True))
    now = state.desired
    gone = dict.fromkeys(here.rendering.prefixes)
    here.events.clear()
    here.rendering.update(Difference(now.sessions, now.profiles, {**gone, **now.prefixes}))
    here.applying.apply()
    assert surprises(here.events) == []
    assert_as_wanted(here)


def _admitted(documents: list[Object]) -> list[Object]:
    answers = judge(*documents).documents
    return [one for one, answer in zip(documents, answers, strict=True) if answer["allowed"]]
