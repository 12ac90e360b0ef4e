"""What the files of the tier share: an API server, one with AdmitLB's kinds, one with AdmitLB as it is installed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from allocator.kube.client import Cluster
from allocator.kube.resource import EVENTS, NAMESPACES
from tests.cluster.installation import Installation
from tests.cluster.lasting import Lasting
from tests.cluster.reconciling import Reconciling
from tests.durations import file_of
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.side_by_side import SHARING

LASTING = pytest.StashKey[dict[str, Lasting[Any]]]()
"""Of the session: what runs, by the name of its fixture."""

_serial = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            used = [name for name in SHARING if name in getattr(item, "fixturenames", ())]
            if used and not any(file_of(item.nodeid) in files for files in SHARING.values()):
                raise pytest.UsageError(f"{item.nodeid} uses {used[0]}: list its file in tests/side_by_side.py")


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End what the next file does not need, in a run whose order keeps those together that share."""
    last = nextitem is None or nextitem.path != item.path
    if last and hasattr(item.config, "workerinput"):
        for name, lasting in item.session.stash.get(LASTING, {}).items():
            if name not in getattr(nextitem, "fixturenames", ()):
                lasting.end()


def _lasting(request: pytest.FixtureRequest, lasting: Lasting[Any]) -> None:
    request.session.stash.setdefault(LASTING, {})[str(request.fixturename)] = lasting
    request.addfinalizer(lasting.end)


@pytest.fixture(scope="session")
def lasting_control_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Lasting[ControlPlane]:
    """A control plane for files that leave it as they found it."""
    lasting = Lasting(lambda: ControlPlane(find(), tmp_path_factory.mktemp("control-plane")))
    _lasting(request, lasting)
    return lasting


@pytest.fixture(scope="module")
def control_plane(lasting_control_plane: Lasting[ControlPlane]) -> ControlPlane:
    """A control plane without nodes. A test that stops or kills a part of it starts it again."""
    return lasting_control_plane.running()


@pytest.fixture(scope="module")
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
def lasting_installation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Lasting[Installation]:
    """AdmitLB on a control plane of its own, where no other kinds and webhooks come and go."""

    @contextmanager
    def start() -> Iterator[Installation]:
        with ControlPlane(find(), tmp_path_factory.mktemp("installation")) as control_plane:
            installation = Installation(control_plane, tmp_path_factory.mktemp("logs"))
            yield installation
            installation.stop()

    lasting = Lasting(start)
    _lasting(request, lasting)
    return lasting


@pytest.fixture(scope="module")
def installed(lasting_installation: Lasting[Installation]) -> Installation:
    """AdmitLB with nothing held and no pools, for files that leave both webhooks and both reconcilers running."""
    installation = lasting_installation.running()
    installation.start_again()
    installation.clean()
    for event in installation.cluster.list(EVENTS, "default")["items"]:
        installation.cluster.delete(EVENTS, event["metadata"]["name"], "default")
    return installation


@pytest.fixture(scope="session")
def lasting_kinds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lasting[ControlPlane]:
    """A control plane that has AdmitLB's kinds and never a webhook."""
    lasting = Lasting(lambda: ControlPlane(find(), tmp_path_factory.mktemp("kinds")))
    _lasting(request, lasting)
    return lasting


@pytest.fixture(scope="module")
def reconciling(
    lasting_kinds: Lasting[ControlPlane], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reconciling]:
    """AdmitLB's kinds and roles with nothing stored, and no process but what a file starts."""
    reconciling = Reconciling(lasting_kinds.running(), tmp_path_factory.mktemp("logs"))
    reconciling.empty()
    yield reconciling
    reconciling.stop()
    reconciling.wipe()
