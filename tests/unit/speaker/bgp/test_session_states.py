"""What bgpd says of its sessions, as it says it (FRR 8.4 and 10.3), and whose each is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from allocator.bgp.inputs import Peer
from allocator.core.addresses import Address
from speaker.bgp.session_states import session_states
from tests.unit.speaker.bgp.said_by_bgp import TOR

UP = {
    "bgpState": "Established",
    "bgpTimerUpEstablishedEpoch": 1767225600,
    "portForeign": 179,
    "connectionsDropped": 2,
    "lastErrorCodeSubcode": "0000",
    "neighborCapabilities": {
        "multiprotocolExtensions": {
            "ipv4Unicast": {"advertisedAndReceived": True},
            "ipv6Unicast": {"advertised": True},
        }
    },
    "addressFamilyInfo": {"ipv4Unicast": {"sentPrefixCounter": 3}, "ipv6Unicast": {"sentPrefixCounter": 1}},
}


def answer(**neighbors: Any) -> str:
    return json.dumps({"vrfId": 0, "vrfName": "default", **neighbors})


@pytest.mark.parametrize(
    ("peer", "called"),
    [
        (TOR, "192.0.2.1"),
        (replace(TOR, address=Address.parse("2001:db8::1")), "2001:db8::1"),
        # glibc's way of writing addresses that begin with 96 zeros.
        (replace(TOR, address=Address.parse("::c000:201")), "::192.0.2.1"),
        (replace(TOR, address=None, interface="eth0"), "eth0"),
    ],
    ids=lambda each: getattr(each, "id", each),
)
def test_session_is_found_by_what_frr_calls_its_neighbor(peer: Peer, called: str) -> None:
    found = session_states(answer(**{called: UP, "203.0.113.1": {"bgpState": "Active"}}), "", [peer])
    assert list(found) == ["tor"]
    state = found["tor"]
    assert (state.neighbor, state.up, state.established_at) == (peer.id, True, 1767225600.0)
    assert (state.families, state.sent_prefixes, state.drops, state.last_error) == (("IPv4",), 4, 2, "")


def test_peer_of_another_vrf_and_what_is_no_neighbor_are_passed_over() -> None:
    assert session_states(answer(**{"192.0.2.1": UP}), "", [replace(TOR, vrf="red")]) == {}
    assert session_states(answer(**{"192.0.2.1": "gone"}), "", [TOR]) == {}
    assert session_states("", "", [TOR]) == {}


def test_answer_that_is_no_object_is_said() -> None:
    for text in ("[]", "% no such neighbor"):
        with pytest.raises(ValueError, match=r"no object|Expecting value"):
            session_states(text, "", [TOR])
