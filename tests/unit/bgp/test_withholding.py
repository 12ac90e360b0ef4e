"""While a reset of sessions waits, nothing else does: above all no prefix."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from allocator.bgp.changes import changes
from allocator.bgp.command import Reset, apply
from allocator.bgp.desired import Desired
from allocator.bgp.frr_config import Config
from allocator.bgp.inputs import Password, Peer
from allocator.bgp.rendering import render
from allocator.bgp.route_class import Attributes, Contribution, merged, prefix_of
from allocator.bgp.withholding import permitted_changes
from allocator.core.addresses import Address
from tests.unit.bgp import random_desired

FINAL = ("removed", "shutdown set")
PEER = Peer(name="tor", my_asn=64500, peer_asn=64501, address=Address.parse("192.0.2.1"), router_id="192.0.2.9")
OTHER = replace(PEER, name="spine", address=Address.parse("192.0.2.2"))
PLAIN = merged([Contribution(Attributes())])
LONGER = merged([Contribution(Attributes(prepend=2))])
ONE, TWO = (prefix_of(Address.parse(each), 32) for each in ("198.51.100.1", "198.51.100.2"))


def final(reset: Reset) -> bool:
    return reset.reason in FINAL


def waiting(before: Desired, after: Desired) -> tuple[Config, Config, tuple[Reset, ...]]:
    """What runs before and while all resets wait that do not end a session for good, and these."""
    present = render(before)
    wanted = render(after, present).copy()
    commands, withheld = permitted_changes(present, wanted, None, final)
    assert all(final(reset) for command in commands for reset in command.resets)
    now = present.copy()
    for command in commands:
        apply(now, command, wanted)
    assert (now.lines, now.networks) == (wanted.lines, wanted.networks)
    return present, now, withheld


@given(random_desired.desired, random_desired.desired)
@settings(max_examples=40)
def test_prefixes_go_out_to_the_sessions_that_run(before: Desired, after: Desired) -> None:
    present, now, withheld = waiting(before, after)
    assert now.networks == render(after, present).networks
    for reset in withheld:
        neighbor = ("neighbor", reset.vrf, reset.neighbor)
        if (*neighbor, "shutdown") in now.lines:
            # It waits for nobody, nor does what is edited of a session that does not run.
            continue
        kept = {key: line for key, line in now.under(*neighbor).items() if key[-1] not in ("description", "timers")}
        assert kept.items() <= present.under(*neighbor).items(), reset


@pytest.mark.parametrize(
    "edit",
    [{"router_id": "192.0.2.10"}, {"my_asn": 64999}, {"local_asn": 64998}, {"password": Password("secret")}],
    ids=lambda edit: next(iter(edit)),
)
def test_a_prefix_beside_each_kind_of_reset_goes_out_at_once(edit: dict[str, object]) -> None:
    """Also one that is the first of its class, with the prepending of the ASN that runs."""
    before = Desired({"tor": PEER}, {}, {ONE: PLAIN})
    after = Desired({"tor": replace(PEER, **edit)}, {}, {TWO: LONGER})  # type: ignore[arg-type]
    present, now, withheld = waiting(before, after)
    assert {reset.neighbor for reset in withheld} == {PEER.id}
    assert set(now.networks) == {("", TWO)}
    assert now.under("neighbor") == present.under("neighbor")
    assert now.lines["router", ""] == "router bgp 64500"
    assert now.lines["router", "", "bgp router-id"] == "bgp router-id 192.0.2.9"
    (prepended,) = [line for key, line in now.lines.items() if key[-1] == "set as-path prepend"]
    assert prepended == "set as-path prepend 64500 64500"


@pytest.mark.parametrize(
    "edit",
    [
        {"password": Password("secret")},
        {"graceful_restart": True, "local_asn": 64998},
        {"router_id": "192.0.2.10"},
        {"my_asn": 64999},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_shutdown_waits_for_nobody_whatever_is_edited_with_it(edit: dict[str, object]) -> None:
    _, now, withheld = waiting(
        Desired({"tor": PEER, "spine": OTHER}),
        Desired({"tor": replace(PEER, shutdown=True, **edit), "spine": replace(OTHER, **edit)}),  # type: ignore[arg-type]
    )
    assert ("neighbor", "", PEER.id, "shutdown") in now.lines
    assert OTHER.id in {reset.neighbor for reset in withheld}


def test_session_that_is_shut_down_and_edited_ends_once() -> None:
    present = render(Desired({"tor": PEER}))
    wanted = render(Desired({"tor": replace(PEER, shutdown=True, password=Password("secret"))}), present)
    resets = [reset for command in changes(present, wanted) for reset in command.resets]
    assert resets == [Reset("", PEER.id, "shutdown set")]


def test_what_is_told_already_is_not_told_by_another_asn() -> None:
    before = Desired({"tor": PEER}, {}, {ONE: LONGER})
    present, now, _ = waiting(before, Desired({"tor": replace(PEER, local_asn=64998)}, {}, {ONE: LONGER}))
    assert now == present


def test_no_prepending_where_the_session_is_internal_still() -> None:
    """The router would find its own ASN in the path, and take the route for a loop."""
    inside = replace(PEER, peer_asn=64500)
    _, now, withheld = waiting(Desired({"tor": inside}, {}, {}), Desired({"tor": PEER}, {}, {ONE: LONGER}))
    assert withheld
    assert set(now.networks) == {("", ONE)}
    assert not [key for key in now.lines if key[-1] == "set as-path prepend"]


def test_beside_another_asn_a_session_that_ends_for_good_ends_and_a_new_one_waits() -> None:
    before = Desired({"tor": PEER, "spine": OTHER}, {}, {ONE: PLAIN})
    new = replace(PEER, name="leaf", address=Address.parse("192.0.2.3"))
    after = {"tor": replace(PEER, my_asn=64999), "leaf": replace(new, my_asn=64999)}
    _, now, _ = waiting(before, Desired(after, {}, {ONE: PLAIN}))
    assert {key[2] for key in now.under("neighbor")} == {PEER.id}


def test_beside_another_router_id_a_new_session_comes_up() -> None:
    new = replace(OTHER, router_id="192.0.2.10")
    after = {"tor": replace(PEER, router_id="192.0.2.10"), "spine": new}
    _, now, withheld = waiting(Desired({"tor": PEER}, {}, {}), Desired(after, {}, {}))
    assert {key[2] for key in now.under("neighbor")} == {PEER.id, OTHER.id}
    assert withheld == (Reset("", PEER.id, "router-id changed"),)
