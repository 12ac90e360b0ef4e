"""What this node is to announce, input by input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from allocator.kube.reflector import Change
from allocator.objects.names import BGP_PEERS
from speaker.bgp.decision import Decision
from speaker.bgp.observed import observe
from speaker.bgp.settings import BgpSettings
from tests.unit.speaker.bgp.said_by_bgp import TOR, session


def put_peer(decision: Decision, spec: dict[str, Any] | None) -> None:
    """Take in the BGPPeer of TOR, or that it is gone."""
    document = {"metadata": {"name": "tor", "namespace": "m"}, "spec": spec}
    seen = observe(Change(BGP_PEERS, ("m", "tor"), None, document if spec is not None else None, "1"))
    assert seen is not None
    decision.take_object(seen)
    decision.take_difference()


def test_only_peer_that_is_deleted_and_made_anew_is_not_up_before_bgpd_says_so() -> None:
    settings = BgpSettings(node="node-a", sockets=Path("/nowhere"), kube_proxy_url="", marked_seconds=0)
    decision = Decision(settings, turn=None, on_secrets=lambda _: None)
    spec = {"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1"}
    put_peer(decision, spec)
    decision.take_states("", {"tor": session(TOR)})
    assert decision.snapshot().states["tor"].up
    put_peer(decision, None)
    decision.take_states("", {"tor": session(TOR)})
    put_peer(decision, spec)
    assert decision.snapshot().states == {}
