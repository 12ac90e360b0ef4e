"""Every file of `examples/` applies to a real API server as it is, and gives the addresses that it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.installation import Installation, ingress
from tests.lab.waiting import wait_until
from tests.unit.reference.examples import EXAMPLES, POOL, gives


@pytest.fixture(scope="module")
def admitlb(installed: Installation) -> Iterator[Installation]:
    """AdmitLB with the pool that the examples share."""
    kubectl = installed.control_plane.kubectl
    kubectl("apply", "-f", str(POOL))
    yield installed
    installed.clean()
    kubectl("delete", "--ignore-not-found", *(word for path in EXAMPLES for word in ("-f", str(path))))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_applies_and_gives_what_it_says(admitlb: Installation, path: Path) -> None:
    admitlb.control_plane.kubectl("apply", "-f", str(path))
    for service, addresses in gives(path).items():
        namespace, _, name = service.partition("/")

        def has(namespace: str = namespace, name: str = name, addresses: list[str] = addresses) -> bool:
            return ingress(admitlb.service(namespace, name)) == addresses

        wait_until(has, 20, f"{service} has {addresses}")
