"""A peer or a node that there is not is refused, with those that there are: no empty answer, no exit code 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.commands.lists_api import EVERYTHING, Lists, run
from tests.unit.doctor.clusters import bgp_status

STATUSES: Lists = {
    "/apis/admitlb.io/v1alpha1/namespaces/metallb-system/bgpnodestatuses": [
        [bgp_status("node-1"), bgp_status("node-2")]
    ]
}


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_peer_that_no_node_has(output: str, tmp_path: Path) -> None:
    done = run(EVERYTHING, tmp_path, "bgp", "--peer=tro", "-o", output, objects=STATUSES)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == "Error: no node reports a session with BGPPeer tro; there are: tor"
    there = run(EVERYTHING, tmp_path, "bgp", "--peer=tor", "-o", output, objects=STATUSES)
    assert there.exit_code == 0
    assert "node-2" in there.stdout


def test_a_node_that_announces_nothing_and_could_not(tmp_path: Path) -> None:
    done = run(EVERYTHING, tmp_path, "rebalance", "--from=node-9")
    assert done.exit_code == 2
    said = "Error: node-9 announces nothing, and is no node that could; there are: none"
    assert done.stderr.splitlines()[-1] == said
