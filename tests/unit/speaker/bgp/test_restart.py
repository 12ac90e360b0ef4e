"""A speaker that restarts over an FRR that serves already."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from allocator.bgp.command import Daemon
from allocator.bgp.inputs import LocalNode
from speaker.bgp.announcer import BgpAnnouncer
from speaker.bgp.leaving import Leaving
from speaker.bgp.reports import Leave
from speaker.bgp.settings import BgpSettings
from tests.lab.waiting import wait_until
from tests.unit.speaker.bgp.test_announcer import put_cluster, put_lists
from tests.unit.speaker.bgp.vty_daemons import vty_daemons

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


def test_node_that_was_not_seen_yet_does_not_leave_and_announces_nothing() -> None:
    here = Leaving("node-a", marked_seconds=2.0)
    for announcing in (False, True):
        assert here.advance(0.0, announcing=announcing) == LocalNode(name="node-a", leaving=True)
        assert (here.stage, here.reason) == (Leave.NO, "")
    here.set_node(None)
    here.advance(1.0, announcing=True)
    assert (here.stage, here.reason) == (Leave.MARKED, "its Node is gone")
