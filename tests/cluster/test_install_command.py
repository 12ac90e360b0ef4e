"""`admitlb install` of a wheel in a virtual environment of its own: no file of the checkout is at hand."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from allocator.kube.client import NotFound
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS
from tests.cluster.installation import pool
from tests.cluster.overlays import KUSTOMIZE, as_list, compose, folders, key, render
from tests.lab.binaries import find
from tests.lab.container import PROJECT
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until
from tests.lab.workloads import DEPLOYMENTS

IMAGE = "registry.example.com/admitlb"
WORKLOADS = (("daemonset", "speaker"), ("deployment", "controller"))


@dataclass(frozen=True, slots=True)
class Installed:
    """The command as pip has installed it, on an empty cluster."""

    program: Path
    folder: Path
    control_plane: ControlPlane

    def run(self, *words: str) -> str:
        """Run `admitlb install` with these words, in an empty folder, and return what it prints."""
        environment = {
            "PATH": f"{find().kubectl.parent}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.control_plane.kubeconfig()),
            "HOME": str(self.folder),
        }
        done = subprocess.run(
            [self.program, "install", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(find(), tmp_path_factory.mktemp("install-command")) as control_plane:
        yield control_plane


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, control_plane: ControlPlane) -> Installed:
    """A wheel of this checkout, installed with what it depends on taken from the tests' own environment."""
    work = tmp_path_factory.mktemp("wheel")
    build: list[str | Path] = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", work, "build"]
    build += [
        "--build-base",
        work / "build",
        "bdist_wheel",
        "--dist-dir",
        work / "dist",
        "--bdist-dir",
        work / "tree",
    ]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True, timeout=110)
    (wheel,) = (work / "dist").glob("*.whl")
    home = work / "home"
    venv.create(home, with_pip=True)
    install: list[str | Path] = [
        home / "bin" / "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-compile",
        wheel,
    ]
    subprocess.run(install, check=True, timeout=110)
    (site_packages,) = home.glob("lib/python3*/site-packages")
    # Packages alone: the checkout itself is found by a .pth file of that folder, which is not read from here.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    empty = tmp_path_factory.mktemp("empty")
    return Installed(home / "bin" / "admitlb", empty, control_plane)


@pytest.mark.parametrize("overlay", folders("overlays"))
def test_an_overlay_is_printed_as_a_clone_renders_it(installed: Installed, overlay: str) -> None:
    clone = subprocess.run(
        [find().kubectl, "kustomize", KUSTOMIZE / "overlays" / overlay], check=True, capture_output=True, text=True
    )

    assert installed.run("--overlay", overlay) == clone.stdout


def test_choices_are_as_in_an_overlay_of_ones_own(installed: Installed, tmp_path: Path) -> None:
    chosen = ("--component", "bgp", "--component", "strict", "-n", "lb")
    images = ("--image", f"{IMAGE}:1", "--frr-image", f"{IMAGE}-frr:2")
    overrides = [
        {"name": "admitlb", "newName": IMAGE, "newTag": "1"},
        {"name": "admitlb-frr", "newName": f"{IMAGE}-frr", "newTag": "2"},
    ]

    (tmp_path / "printed.yaml").write_text(installed.run(*chosen, *images))
    (tmp_path / "kustomization.yaml").write_text("resources: [printed.yaml]")

    own = render(compose(tmp_path / "own", "bgp", "strict", namespace="lb", images=overrides))
    assert as_list(sorted(render(tmp_path), key=key)) == as_list(sorted(own, key=key))


def test_installed_upgraded_and_removed_with_the_pools_kept_at_first(installed: Installed) -> None:
    cluster = installed.control_plane.cluster()

    def image() -> str:
        deployment = cluster.get(DEPLOYMENTS, "controller", DEFAULT_NAMESPACE)
        return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    assert "deployment.apps/controller created" in installed.run("--apply", "--image", f"{IMAGE}:1")
    assert image() == f"{IMAGE}:1"
    wait_until(lambda: cluster.serves(IP_ADDRESS_POOLS), 10, "our kinds are served")

    upgrade = ("--apply", "--image", f"{IMAGE}:2")
    for options, suffix in ((("--", "--dry-run=server"), " (server dry run)"), ((), "")):
        assert image() == f"{IMAGE}:1"
        changed = [line for line in installed.run(*upgrade, *options).splitlines() if " unchanged" not in line]
        assert sorted(changed) == [f"{kind}.apps/{name} configured{suffix}" for kind, name in WORKLOADS]
    assert image() == f"{IMAGE}:2"

    removed = installed.run("--remove", "--keep-pools", "--yes").splitlines()
    assert "mutatingwebhookconfiguration" in removed[0]
    with pytest.raises(NotFound):
        cluster.get(DEPLOYMENTS, "controller", DEFAULT_NAMESPACE)
    # With the webhooks gone nobody is asked any more.
    stored = wait_until(
        lambda: cluster.create(IP_ADDRESS_POOLS, pool("kept", "192.0.2.1"), DEFAULT_NAMESPACE),
        10,
        "a pool may be stored",
        retry_on=(Exception,),
    )
    installed.run("--apply")
    assert cluster.get(IP_ADDRESS_POOLS, "kept", DEFAULT_NAMESPACE)["metadata"]["uid"] == stored["metadata"]["uid"]

    installed.run("--remove", "--yes")
    assert not [name for name in defined(installed) if "metallb.io" in name or "admitlb.io" in name]


def defined(installed: Installed) -> list[str]:
    """The names of all CustomResourceDefinitions."""
    return installed.control_plane.kubectl("get", "crd", "-o", "name").stdout.split()
