"""A class is what all peers get and what some get besides: an entry of a route-map takes nothing away."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from allocator.bgp.frr_config import split
from allocator.bgp.route_class import Attributes, RouteClass

ONE, TWO = (64500, 1), (64500, 2)
_SOME = st.builds(
    Attributes,
    communities=st.frozensets(st.sampled_from([ONE, TWO])),
    local_pref=st.sampled_from([None, 100, 200]),
    med=st.sampled_from([None, 0, 50]),
    prepend=st.sampled_from([None, 1]),
)
_NAMED = st.dictionaries(st.sampled_from(["peer-a", "peer-b"]), st.none() | _SOME)


@given(st.builds(lambda default, named: RouteClass(default, tuple(sorted(named.items()))), st.none() | _SOME, _NAMED))
def test_both_parts_together_are_what_each_peer_gets(route_class: RouteClass) -> None:
    common, mark = split(route_class)
    for name in ("peer-a", "peer-b", "any other"):
        wanted, own = route_class.for_peer(name), mark.for_peer(name)
        assert (own is None) == (wanted is None)
        if own is None or wanted is None:
            continue
        assert wanted == Attributes(
            communities=common.communities | own.communities,
            local_pref=own.local_pref if own.local_pref is not None else common.local_pref,
            med=own.med if own.med is not None else common.med,
            prepend=own.prepend,
        )


def test_what_all_get_stays_with_the_class_where_others_get_more() -> None:
    default = Attributes(communities=frozenset({ONE}), local_pref=200)
    more = replace(default, communities=frozenset({ONE, TWO}))
    common, mark = split(RouteClass(default, (("peer-a", more),)))
    assert common == default
    assert mark == RouteClass(Attributes(), (("peer-a", Attributes(communities=frozenset({TWO}))),))
