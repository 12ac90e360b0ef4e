"""An empty cluster for each tool, because each installs everything on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.gitops.site import Site
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ControlPlane(find(), tmp_path_factory.mktemp("gitops")) as control_plane:
        site = Site(control_plane, tmp_path_factory.mktemp("logs"), user="gitops")
        yield site
        site.pods.stop()
