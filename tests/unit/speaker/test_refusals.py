"""What the kernel refuses is given away, and tried again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from allocator.core.addresses import Address
from speaker.election.transitions import State
from speaker.layer2.refusals import RETRY_SECONDS, Refusals, refusal_text
from tests.unit.speaker.simulated import WholeHolder
from tests.unit.speaker.test_holder import FIRST, NODES, SECOND, VIP, decide, inputs

OTHER = Address.parse("192.0.2.101")


def test_what_is_refused_stays_so_until_it_is_tried_again_though_it_is_given_away() -> None:
    refusals = Refusals()
    refusals.note({VIP: "filter"}, tried=[VIP, OTHER], wanted=[VIP, OTHER], failed=False, now=1.0)
    assert refusals.take_change() == ({VIP: "filter"}, [VIP])
    assert refusals.take_change() is None
    refusals.note({}, tried=[VIP], wanted=[OTHER], failed=False, now=2.0)
    assert refusals.current() == {VIP: "filter"}
    assert refusals.retry_at == 1.0 + RETRY_SECONDS
    refusals.forget()
    refusals.note({}, tried=[VIP], wanted=[VIP], failed=False, now=12.0)
    assert refusals.take_change() == ({}, [])
    assert refusals.retry_at is None


def test_an_interface_that_cannot_be_opened_is_tried_again_though_no_address_needs_it() -> None:
    refusals = Refusals()
    refusals.note({}, tried=[], wanted=[], failed=True, now=1.0)
    assert refusals.retry_at == 1.0 + RETRY_SECONDS


def test_the_text_names_an_address_the_reason_and_what_happens() -> None:
    text = refusal_text({OTHER: "b", VIP: "filter on eth0: Cannot allocate memory"})
    assert text.startswith(f"the kernel does not let this node answer for {VIP} and 1 more: filter on eth0: Cannot")
    assert text.endswith("left to other nodes, and tried again after 10 s")


@pytest.mark.parametrize("held", [False, True])
def test_a_node_whose_kernel_refuses_the_address_does_not_hold_it(*, held: bool) -> None:
    holder = WholeHolder(FIRST)
    if held:
        decide(holder, inputs(*NODES))
        assert decide(holder, inputs(*NODES, answered=[VIP]), 1.0).states == {VIP: State.HOLDING}
    refused = decide(holder, replace(inputs(*NODES), refused=frozenset({VIP})), 2.0)
    assert refused.states == {VIP: State.WAITING}
    assert not refused.scopes
    assert decide(holder, inputs(*NODES, holding=SECOND), 3.0).states == {VIP: State.WAITING}, (
        "it stays where it went"
    )
