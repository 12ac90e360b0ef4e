"""Overlays on a real and empty API server: any order of arrival, other names, every object accepted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from allocator.cluster import Object
from allocator.names import DEFAULT_NAMESPACE
from tests.cluster.overlays import KUSTOMIZE, as_list, compose, folders, render
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane

PREFIX, HOME = "edge-", "lb"
COMPONENTS = ("strict", "priority-highest-first")
CONFIGURATION = f"{PREFIX}metallb-webhook-configuration"
ROUNDS = 5


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this module's own: AdmitLB is installed on it under names that no other test expects."""
    with ControlPlane(find(), tmp_path_factory.mktemp("overlays")) as control_plane:
        yield control_plane


@pytest.fixture(scope="module")
def variant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overlay with a prefix, another namespace and components, as a user would write it."""
    folder = tmp_path_factory.mktemp("variant") / "overlay"
    return compose(folder, *COMPONENTS, namePrefix=PREFIX, namespace=HOME)


@pytest.fixture(scope="module")
def arrived(empty: ControlPlane, variant: Path) -> list[Object]:
    """Its objects, which came to the empty cluster shuffled, and after all others the namespace they live in."""
    objects = render(variant)
    shuffled = random.Random(7).sample(objects, len(objects))
    shuffled.sort(key=lambda obj: bool(obj["kind"] == "Namespace"))
    for _ in range(ROUNDS):
        if empty.kubectl("apply", "-f", "-", stdin=as_list(shuffled), check=False).returncode == 0:
            return objects
    raise AssertionError(f"not everything was taken in {ROUNDS} rounds")


def test_all_objects_arrive_in_whatever_order(arrived: list[Object]) -> None:
    assert {obj["kind"] for obj in arrived} >= {"Namespace", "CustomResourceDefinition", "Deployment", "DaemonSet"}


@pytest.mark.parametrize(
    "check",
    [
        f"{PREFIX}controller patch mutatingwebhookconfigurations.admissionregistration.k8s.io/{CONFIGURATION}",
        f"{PREFIX}controller list ipaddresspools.metallb.io",
        f"{PREFIX}speaker list ipaddresspools.metallb.io",
        f"{PREFIX}speaker get secrets/memberlist",
    ],
)
def test_the_prefixed_accounts_have_their_rights(empty: ControlPlane, arrived: list[Object], check: str) -> None:
    account, verb, what = check.split()

    answer = empty.kubectl(
        "auth", "can-i", verb, what, "-n", HOME, f"--as=system:serviceaccount:{HOME}:{account}", check=False
    )

    assert answer.stdout.split() == ["yes"], answer.stderr


@pytest.mark.parametrize("name", folders("overlays"))
def test_every_object_of_an_overlay_is_accepted_as_far_as_the_server_knows_its_kind(
    empty: ControlPlane, arrived: list[Object], name: str
) -> None:
    """As a dry run. Fields newer than the server are dropped by it; of kinds it does not serve kubectl says so."""
    objects = render(KUSTOMIZE / "overlays" / name)
    empty.kubectl("create", "namespace", DEFAULT_NAMESPACE, check=False)

    done = empty.kubectl(
        "apply", "--dry-run=server", "--validate=false", "-f", "-", stdin=as_list(objects), check=False
    )

    complaints = [line for line in done.stderr.splitlines() if line and not expected(line)]
    unserved = [line for line in done.stderr.splitlines() if "no matches for kind" in line]
    assert complaints == []
    assert len(done.stdout.splitlines()) == len(objects) - len(unserved)


def expected(line: str) -> bool:
    return "no matches for kind" in line or "ensure CRDs are installed first" in line or line.startswith("Warning:")
