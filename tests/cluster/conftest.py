"""What the files of the tier share: an API server, one with AdmitLB's kinds, one with AdmitLB as it is installed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from allocator.kube.client import Cluster
from allocator.kube.resource import EVENTS, NAMESPACES
from tests.cluster.installation import Installation
from tests.cluster.reconciling import Reconciling
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane

_serial = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without nodes. A test that stops or kills a part of it starts it again."""
    with ControlPlane(find(), tmp_path_factory.mktemp("control-plane")) as control_plane:
        yield control_plane


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> Cluster:
    """The administrator's connection to it."""
    return control_plane.cluster()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """The name of a namespace that no other test uses."""
    name = f"test-{next(_serial)}"
    cluster.create(NAMESPACES, {"metadata": {"name": name}})
    yield name
    cluster.delete(NAMESPACES, name)


@pytest.fixture(scope="session")
def lasting_installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """AdmitLB on a control plane of its own, where no other kinds and webhooks come and go."""
    with ControlPlane(find(), tmp_path_factory.mktemp("installation")) as control_plane:
        installation = Installation(control_plane, tmp_path_factory.mktemp("logs"))
        yield installation
        installation.stop()


@pytest.fixture(scope="module")
def installed(lasting_installation: Installation) -> Installation:
    """AdmitLB with nothing held and no pools, for files that leave both webhooks and both reconcilers running."""
    lasting_installation.clean()
    for event in lasting_installation.cluster.list(EVENTS, "default")["items"]:
        lasting_installation.cluster.delete(EVENTS, event["metadata"]["name"], "default")
    return lasting_installation


@pytest.fixture(scope="session")
def lasting_kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that has AdmitLB's kinds and never a webhook."""
    with ControlPlane(find(), tmp_path_factory.mktemp("kinds")) as control_plane:
        yield control_plane


@pytest.fixture(scope="module")
def reconciling(lasting_kinds: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reconciling]:
    """AdmitLB's kinds and roles with nothing stored, and no process but what a file starts."""
    reconciling = Reconciling(lasting_kinds, tmp_path_factory.mktemp("logs"))
    reconciling.empty()
    yield reconciling
    reconciling.stop()
    reconciling.wipe()
