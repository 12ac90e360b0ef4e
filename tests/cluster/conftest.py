"""One real API server for the whole tier, and a namespace of its own for every test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from allocator.kube.client import Cluster
from allocator.kube.resource import NAMESPACES
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
