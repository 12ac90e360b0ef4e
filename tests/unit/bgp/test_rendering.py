"""An update that fails half-way leaves nothing behind once it is taken in again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from allocator.bgp.desired import Desired, Difference
from allocator.bgp.frr_config import Config, NetworkKey
from allocator.bgp.rendering import Rendering, render
from tests.unit.bgp import random_desired as drawn


class Fails(Exception):
    """Nobody foresaw this."""


class Failing(Rendering):
    """Fails at one of the networks that it places, once."""

    fails_in = -1

    def _set_network(self, key: NetworkKey, name: str | None) -> None:
        self.fails_in -= 1
        if self.fails_in == 0:
            raise Fails
        super()._set_network(key, name)


@given(drawn.desired, drawn.desired, st.integers(1, 8))
def test_rebuild_and_the_same_difference_come_to_what_would_have_been(
    before: Desired, after: Desired, fails_in: int
) -> None:
    rendering = Failing()
    rendering.update(Difference(before.sessions, before.profiles, before.prefixes))
    gone = dict.fromkeys(before.prefixes.keys() - after.prefixes.keys())
    difference = Difference(after.sessions, after.profiles, {**gone, **after.prefixes})
    rendering.fails_in = fails_in
    try:
        rendering.update(difference)
    except Fails:
        rendering.rebuild()
        rendering.update(difference)
    assert rendering.config(Config()) == render(after)
