"""An object that is refused today, and yet is stored, is in the way of no change of what its rules do not read."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from allocator.rules.kinds import BY_KIND, Change
from allocator.rules.verdict import Rules, Verdict
from tests.unit.commands.manifests import Object, namespace, pool
from tests.unit.objects.test_selectors import BAD, everywhere

STORED: dict[str, Object] = {
    **everywhere(BAD),
    "a namespace's quota": namespace("prod", quota="many"),
    "a pool's address": pool("p", "10.0.0.300"),
}
UNRELATED: dict[str, Callable[[Object], Any]] = {
    "a label": lambda one: one["metadata"].update(labels={"team": "a"}),
    "another's annotation": lambda one: one["metadata"].setdefault("annotations", {}).update({"example.com/x": "y"}),
    "a finalizer": lambda one: one["metadata"].update(finalizers=[]),
}


class Empty:
    """A cluster in which there is nothing else."""

    def __getattr__(self, _: str) -> Callable[..., Any]:
        return lambda *_args: ()


def answer(new: Object, old: Object | None) -> Verdict:
    kind = BY_KIND[new["apiVersion"].rpartition("/")[0], new["kind"]]
    empty: Any = Empty()
    change = Change(new=new, old=old, rules=Rules(), context=lambda: empty, pool_names=list)
    return kind.answer(change, namespace=new["metadata"].get("namespace", ""))


@pytest.mark.parametrize("change", UNRELATED)
@pytest.mark.parametrize("place", STORED)
def test_a_change_that_no_rule_reads_is_admitted_with_the_reason(place: str, change: str) -> None:
    refused = answer(STORED[place], None)
    assert refused.code == 422
    new = deepcopy(STORED[place])
    UNRELATED[change](new)
    verdict = answer(new, STORED[place])
    assert verdict.allowed, verdict.message
    assert any(refused.message in warning for warning in verdict.warnings)


def test_a_change_of_what_a_rule_reads_is_judged() -> None:
    for before, after in ((pool("p", "10.0.0.300"), pool("p", "10.0.0.301")), (pool("p", "10.0.0.1"), pool("p", ""))):
        assert answer(after, before).code == 422
    assert answer(namespace("prod", quota="few"), namespace("prod", quota="many")).code == 422
