"""Who is left out of announcing, as it is stored once an address: a large cluster's next node changes none of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.rules.left_out import by_reason, few_by_reason, in_one_line, summary
from tests.unit.effort import examples

REASONS = st.sampled_from(["no nodeSelectors match", "no serving endpoint", "has the label x"])
NAMES = st.text(alphabet="abz019-", min_size=1, max_size=4)


def test_a_few_nodes_are_named_and_many_are_not() -> None:
    assert few_by_reason(dict.fromkeys("abc", "x")) == (("a, b, c", "x"),)
    assert few_by_reason(dict.fromkeys("abcd", "x")) == (("more than 3 nodes", "x"),)
    assert in_one_line(few_by_reason({"a": "y", **dict.fromkeys("bcde", "x")})) == "more than 3 nodes (x); a (y)"


@given(reasons=st.dictionaries(NAMES, REASONS, max_size=16), name=NAMES, reason=REASONS)
@settings(max_examples=examples(200), deadline=None)
def test_one_node_more_changes_nothing_of_a_reason_that_leaves_many_out(
    reasons: dict[str, str], name: str, reason: str
) -> None:
    """Whatever its name; nor do the other reasons, nor their order."""
    before = dict(sorted((each, why) for each, why in reasons.items() if each != name))
    after = dict(sorted({**before, name: reason}.items()))
    if list(before.values()).count(reason) > 3:
        assert few_by_reason(after) == few_by_reason(before)
    else:
        assert [pair for pair in few_by_reason(after) if pair[1] != reason] == [
            pair for pair in few_by_reason(before) if pair[1] != reason
        ]


def test_what_is_read_once_has_the_first_names_and_the_count_and_what_is_stored_no_count() -> None:
    reasons = dict.fromkeys("abcde", "x")
    assert by_reason(reasons) == (("a, b, c and 2 more", "x"),)
    assert summary(reasons) == "a, b, c and 2 more (x)"
    assert summary(reasons, counted=False) == "a, b, c and others (x)"
