"""A speaker as a process, under its role, between a real API server and FRR: its routes outlive it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from allocator.kube.client import Cluster
from tests.frr.driver.bed import Bed
from tests.frr.driver.routes import messages, settled_messages, wait_for_routes
from tests.frr.driver.speaker_process import VIP, Speakers, announce, bare_cluster, put_endpoints
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane

SECONDS = 60.0


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(find(), tmp_path_factory.mktemp("control-plane")) as control_plane:
        bare_cluster(control_plane)
        yield control_plane


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Cluster:
    """A cluster with a Service that has an address and an endpoint, and with both routers as peers."""
    cluster = control_plane.cluster()
    announce(cluster)
    return cluster


@pytest.fixture
def speakers(control_plane: ControlPlane, site: Bed, tmp_path: Path) -> Iterator[Speakers]:
    speakers = Speakers(control_plane, site, tmp_path)
    yield speakers
    for process in speakers.started:
        process.sigkill()


def test_routes_follow_the_cluster_and_outlive_the_speaker(site: Bed, cluster: Cluster, speakers: Speakers) -> None:
    first = speakers.start()
    wait_for_routes(site, VIP, seconds=SECONDS)
    put_endpoints(cluster, ready=False)
    wait_for_routes(site, seconds=SECONDS)
    put_endpoints(cluster, ready=True)
    wait_for_routes(site, VIP, seconds=SECONDS)
    before = settled_messages(site)
    assert first.terminate() == 0
    second = speakers.start()
    second.wait_until(lambda: "bgp.begun" in second.log_tail(), SECONDS, "the second drives FRR")
    time.sleep(1.0)
    second.sigkill()
    third = speakers.start()
    third.wait_until(lambda: "bgp.begun" in third.log_tail(), SECONDS, "the third drives FRR")
    time.sleep(1.0)
    assert messages(site) == before
    put_endpoints(cluster, ready=False)
    wait_for_routes(site, seconds=SECONDS)
