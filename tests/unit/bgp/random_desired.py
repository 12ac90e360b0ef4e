"""Hypothesis strategies for desired states: sessions that go together, profiles, prefixes of few classes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from allocator.bgp.desired import Desired
from allocator.bgp.inputs import BFDProfile, LocalNode, Peer
from allocator.bgp.route_class import Attributes, Contribution, held, merged, prefix_of
from allocator.bgp.sessions import sessions
from tests.unit.bgp import random_inputs as drawn

NODE = LocalNode(name=drawn.NODE, ipv4="10.0.1.1", labels={"tier": "a", "zone": "b"})

attributes = st.builds(
    Attributes,
    communities=st.frozensets(
        st.sampled_from(((64500, 1), (65535, 65281), (0, 0), (64500, 1, 2), (65535, 0), (65535, 65283))), max_size=3
    ),
    local_pref=st.sampled_from((None, None, 100, 200)),
    med=st.sampled_from((None, None, 0, 50)),
    prepend=st.sampled_from((None, None, 1, 3)),
)
classes = st.lists(
    st.builds(
        Contribution, attributes, st.one_of(st.none(), st.frozensets(st.sampled_from(drawn.PEERS), min_size=1))
    ),
    min_size=1,
    max_size=2,
).map(merged)
waiting = st.builds(
    lambda now, before, peers: held(now, before, [Contribution(None, peers)]),
    classes,
    st.one_of(st.none(), classes),
    st.one_of(st.none(), st.frozensets(st.sampled_from(drawn.PEERS), min_size=1)),
).filter(lambda each: each.announceable)
prefixes = st.one_of(
    st.builds(prefix_of, st.sampled_from(drawn.ADDRESSES), st.sampled_from((32, 24))),
    st.builds(prefix_of, st.sampled_from(drawn.ADDRESSES_V6), st.sampled_from((128, 64))),
)


def _running(peers: dict[str, Peer]) -> dict[str, Peer]:
    named = [replace(peer, name=name) for name, peer in peers.items()]
    return dict(sessions(named, NODE).running)


def _named(profiles: dict[str, BFDProfile]) -> dict[str, BFDProfile]:
    return {name: replace(profile, name=name) for name, profile in profiles.items()}


running = st.dictionaries(st.sampled_from(drawn.PEERS), drawn.peers(vrfs=("", "", "", "red")), max_size=4).map(
    _running
)
profiles = st.dictionaries(st.sampled_from(drawn.PROFILES[:2]), drawn.profiles).map(_named)
announced = st.dictionaries(prefixes, st.one_of(classes, classes, classes, waiting), max_size=6)
desired = st.builds(Desired, running, profiles, announced)
