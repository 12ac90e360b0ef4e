"""A speaker that restarts over an FRR that serves already."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from allocator.bgp.command import Daemon
from allocator.bgp.inputs import LocalNode
from allocator.bgp.sessions import hashed_router_id
from allocator.kube.reflector import Change
from allocator.kube.resource import NODES
from allocator.objects.names import BGP_PEERS
from speaker.bgp.announcer import BgpAnnouncer
from speaker.bgp.leaving import Leaving
from speaker.bgp.reports import Leave
from speaker.bgp.settings import BgpSettings
from tests.lab.waiting import wait_until
from tests.unit.speaker.bgp.test_announcer import change, put_cluster, put_lists
from tests.unit.speaker.bgp.vty_daemons import vty_daemons
from tests.unit.speaker.objects import node

SECONDS = 20.0
SERVING = """
router bgp 64512
 neighbor 192.0.2.1 remote-as 64513
 !
 address-family ipv4 unicast
  network 198.51.100.1/32 route-map admitlb
 exit-address-family
exit
"""


@pytest.mark.parametrize("connected_first", [True, False])
def test_restart_withdraws_nothing_where_kube_proxy_does_not_answer(tmp_path: Path, *, connected_first: bool) -> None:
    with vty_daemons(tmp_path) as daemons, socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        daemons.answers["show running-config"] = SERVING
        url = f"http://127.0.0.1:{refusing.getsockname()[1]}/healthz"
        part = BgpAnnouncer(BgpSettings(node="node-a", sockets=tmp_path, kube_proxy_url=url, marked_seconds=0.1))
        if not connected_first:
            put_cluster(part)
        part.start()
        try:
            wait_until(lambda: Daemon.BGPD in part.snapshot().daemons, SECONDS, "FRR is connected")
            if connected_first:
                put_cluster(part)
            put_lists(part)
            wait_until(lambda: part.snapshot().last_apply is not None, SECONDS, "FRR is brought to what is wanted")
        finally:
            part.stop()
        assert part.snapshot().leave is Leave.NO
        assert part.snapshot().prefix_count == 1
    lost = [each for each in daemons.commands if each.strip().startswith("no network")]
    marked = [each for each in daemons.commands if "graceful-shutdown" in each]
    assert (lost, marked) == ([], [])


def test_node_that_is_to_leave_when_its_speaker_comes_back_is_marked_before_its_routes_go(tmp_path: Path) -> None:
    """The routers would otherwise lose them at once, as FRR serves still."""
    with vty_daemons(tmp_path) as daemons:
        daemons.answers["show running-config"] = SERVING
        part = BgpAnnouncer(BgpSettings(node="node-a", sockets=tmp_path, kube_proxy_url="", marked_seconds=0.3))
        put_cluster(part)
        label = {"node.kubernetes.io/exclude-from-external-load-balancers": ""}
        part.on_change(Change(NODES, ("", "node-a"), None, node("node-a", labels=label), "2"))
        part.start()
        try:
            put_lists(part)
            wait_until(lambda: part.snapshot().leave is Leave.LEFT, SECONDS, "it has left")
            gone = "no network 198.51.100.1/32"
            wait_until(lambda: gone in daemons.commands, SECONDS, "the route is withdrawn")
        finally:
            part.stop()
    assert "bgp graceful-shutdown" in daemons.commands[: daemons.commands.index(gone)]


def test_running_router_keeps_its_id_whatever_addresses_the_node_shows(tmp_path: Path) -> None:
    with vty_daemons(tmp_path) as daemons:
        daemons.answers["show running-config"] = SERVING.replace(
            "\n neighbor", "\n bgp router-id 10.9.9.9\n neighbor", 1
        )
        part = BgpAnnouncer(BgpSettings(node="node-a", sockets=tmp_path, kube_proxy_url="", marked_seconds=0.1))
        put_cluster(part)
        part.start()
        try:
            put_lists(part)
            wait_until(lambda: part.snapshot().last_apply is not None, SECONDS, "FRR is brought to what is wanted")
            for address in ("10.0.0.8", "2001:db8::8"):
                changed = node("node-a")
                changed["status"]["addresses"] = [{"type": "InternalIP", "address": address}]
                part.on_change(Change(NODES, ("", "node-a"), None, changed, address))
            spec = {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.2"}
            part.on_change(change(BGP_PEERS, "more", spec))
            wait_until(lambda: "more" in part.snapshot().sessions, SECONDS, "all of it is taken in")
            assert {peer.router_id for peer in part.snapshot().sessions.values()} == {"10.9.9.9"}
            for name, address in (("tor", "192.0.2.1"), ("more", "192.0.2.2")):
                spec = {"myASN": 64512, "peerASN": 64513, "peerAddress": address, "routerID": "10.1.1.1"}
                part.on_change(change(BGP_PEERS, name, spec))
            first = "bgp router-id 10.1.1.1"
            wait_until(lambda: first in daemons.commands, SECONDS, "what BGPPeers set comes first")
            for name, address in (("tor", "192.0.2.1"), ("more", "192.0.2.2")):
                spec = {"myASN": 64512, "peerASN": 64513, "peerAddress": address}
                part.on_change(change(BGP_PEERS, name, spec))
            own = hashed_router_id("node-a")
            last = f"bgp router-id {own}"
            wait_until(lambda: last in daemons.commands, SECONDS, "without that it is the node's, and no old one")
        finally:
            part.stop()
    assert [each for each in daemons.commands if "router-id" in each] == [first, last]


def test_node_that_was_not_seen_yet_does_not_leave_and_announces_nothing() -> None:
    here = Leaving("node-a", marked_seconds=2.0)
    for announcing in (False, True):
        assert here.advance(0.0, announcing=announcing) == LocalNode(name="node-a", leaving=True)
        assert (here.stage, here.reason) == (Leave.NO, "")
    here.set_node(None)
    here.advance(1.0, announcing=True)
    assert (here.stage, here.reason) == (Leave.MARKED, "its Node is gone")
