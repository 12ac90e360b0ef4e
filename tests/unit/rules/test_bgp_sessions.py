"""What a BGPPeer's conditions say of its sessions on all nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, SessionStatus
from allocator.objects.pool import pool_from
from allocator.rules.bgp_nodes import Nodes
from allocator.rules.bgp_peer import peers_of
from allocator.rules.bgp_status import advertisement_conditions, peer_conditions
from allocator.rules.conditions import Condition
from tests.unit.commands.bgp_manifests import bgp_advertisement, peer
from tests.unit.commands.manifests import pool

NODES = Nodes({f"node-{number}": {"rack": str(number)} for number in range(1, 6)})
UP = SessionEntry(peer="tor", state=SessionStatus.ESTABLISHED)
DOWN = SessionEntry(peer="tor", message="not connected: the router does not answer")
REJECTED = SessionEntry(peer="tor", message="FRR refuses 'x': % no", rejected=True)


def conditions(
    *entries: SessionEntry | None, absent_secrets: tuple[str, ...] = (), **spec: Any
) -> dict[str, Condition]:
    """Of the nodes from node-1 on; the others do not report."""
    statuses = {
        f"node-{number}": BgpNodeStatus(node=f"node-{number}", sessions=(entry,) if entry is not None else ())
        for number, entry in enumerate(entries, 1)
    }
    found = peer_conditions(
        peer(**spec), None, profiles=(), absent_secrets=absent_secrets, nodes=NODES, statuses=statuses
    )
    return {condition.type: condition for condition in found}


def test_peer_is_ready_once_its_session_is_up_on_every_node() -> None:
    assert conditions(UP, UP, UP, UP, UP) == {
        "Ready": Condition(type="Ready", status="True", reason="Established", message="up on 5 of 5 nodes")
    }


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((UP, UP, UP, UP, DOWN), "up on 4 of 5 nodes; node-5 (not connected: the router does not answer)"),
        (
            (DOWN,) * 5,
            "up on 0 of 5 nodes; node-1, node-2, node-3 and 2 more (not connected: the router does not answer)",
        ),
        ((UP, UP, UP, UP, None), "up on 4 of 5 nodes; node-5 (not configured yet)"),
    ],
)
def test_nodes_whose_session_is_not_up_are_named_by_reason(entries: Any, message: str) -> None:
    found = conditions(*entries)
    assert (found["Ready"].status, found["Ready"].reason) == ("False", "NotEstablished")
    assert found["Ready"].message == message
    assert "Reconciling" in found


@pytest.mark.parametrize(
    ("entries", "effect"),
    [
        ((DOWN, DOWN), "no node connects"),
        ((UP, DOWN), "sessions that are up go on with the password that they had"),
    ],
)
def test_secret_that_is_deleted_ends_no_session_and_that_is_said(entries: Any, effect: str) -> None:
    found = conditions(*entries, absent_secrets=("gone",), passwordSecret={"name": "gone"})
    assert found["Ready"].reason == "SecretMissing"
    assert found["Ready"].message == f"there is no Secret gone (yet); {effect}"


def test_node_without_frr_is_mentioned_and_not_waited_for() -> None:
    found = conditions(UP, UP, UP)
    assert found["Ready"].status == "True"
    assert found["Ready"].message == "up on 3 of 3 nodes; no speaker reports BGP on node-4, node-5"
    found = conditions(UP, DOWN)
    assert found["Ready"].message == (
        "up on 1 of 2 nodes; node-2 (not connected: the router does not answer); "
        "no speaker reports BGP on node-3, node-4, node-5"
    )
    found = conditions(UP, nodeSelectors=[{"matchLabels": {"rack": "4"}}])
    assert (found["Ready"].reason, found["Ready"].message) == (
        "NotEstablished",
        "no node connects; no speaker reports BGP on node-4",
    )


def test_router_with_which_another_program_has_a_session_has_a_reason_of_its_own() -> None:
    in_use = SessionEntry(peer="tor", state=SessionStatus.IN_USE, message="set sourceAddress")
    found = conditions(UP, UP, UP, DOWN, in_use)
    assert found["Ready"].reason == "PeerInUse"
    assert "node-5 (set sourceAddress)" in found["Ready"].message


def test_what_frr_refuses_has_to_be_changed_by_somebody() -> None:
    found = conditions(UP, UP, UP, DOWN, REJECTED)
    assert (found["Ready"].reason, found["Ready"].message) == ("Rejected", "node-5 (FRR refuses 'x': % no)")
    assert "Stalled" in found


def test_reset_that_waits_is_said_of_a_peer_that_is_ready() -> None:
    found = conditions(*[replace(UP, message="a reset waits for this node's turn (password set)")] * 5)
    assert found["Ready"].status == "True"
    assert "a reset waits for this node's turn (password set)" in found["Ready"].message


def test_only_the_nodes_that_it_is_for_count() -> None:
    found = conditions(DOWN, UP, nodeSelectors=[{"matchLabels": {"rack": "2"}}])
    assert found["Ready"].message == "up on 1 of 1 nodes"


def test_peer_that_is_shut_down_is_as_it_is_to_be() -> None:
    assert conditions(DOWN, shutdown=True)["Ready"].reason == "Shutdown"


def test_without_a_node_that_speaks_bgp_the_component_is_missing() -> None:
    assert conditions()["Ready"].reason == "NoBGP"


def test_advertisement_is_ready_where_a_node_speaks_bgp() -> None:
    def ready(*, announcing: bool) -> tuple[str, str]:
        (found, *_) = advertisement_conditions(
            bgp_advertisement(),
            None,
            pools=[pool_from(pool("main", "192.0.2.0/28"))],
            peers=peers_of([peer()]),
            aliases={},
            nodes=NODES,
            announcing=announcing,
        )
        return found.reason, found.message

    assert ready(announcing=True) == ("Announced", "pool main goes to BGPPeer tor")
    assert ready(announcing=False)[0] == "NoBGP"
