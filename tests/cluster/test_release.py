"""`make release DRY_RUN=1`: everything of a release but its images."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.cluster.overlays import folders
from tests.lab.binaries import find
from tests.lab.container import PROJECT

REPOSITORY = "registry.example.com/admitlb"


def release(out: Path) -> str:
    """Build into a folder and return what is printed."""
    # The environment this test runs in will do, whatever its age.
    words = ["make", "--old-file=.venv/.installed", f"PY={sys.executable}", "release", "DRY_RUN=1"]
    words += [f"REPOSITORY={REPOSITORY}", f"RELEASE_ARGS=--out={out}"]
    path = f"{find().kubectl.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        words, cwd=PROJECT, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("release") / "dist"


@pytest.fixture(scope="module")
def printed(out: Path) -> str:
    return release(out)


@pytest.fixture(scope="module")
def version(printed: str, out: Path) -> str:
    (wheel,) = out.glob("*.whl")
    return wheel.name.split("-")[1]


def test_every_file_is_summed_and_there_are_no_others(printed: str, out: Path) -> None:
    lines = [line.split("  ") for line in (out / "SHA256SUMS").read_text().splitlines()]
    sums = {name: digest for digest, name in lines}
    assert sums == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.iterdir()
        if path.name != "SHA256SUMS"
    }
    assert all(f"  {name}\n" in printed for name in sums)
    assert {name for name in sums if name.endswith(".yaml")} == {
        f"install-{name}.yaml" for name in folders("overlays")
    }


def test_every_overlay_runs_the_images_of_the_release(version: str, out: Path) -> None:
    for path in out.glob("install-*.yaml"):
        workloads = [
            one for one in yaml.safe_load_all(path.read_text()) if one["kind"] in ("Deployment", "DaemonSet")
        ]
        images = {
            container["image"]
            for workload in workloads
            for container in workload["spec"]["template"]["spec"]["containers"]
        }
        frr = {f"{REPOSITORY}-frr:{version}"} if "bgp" in path.name else set()
        assert images == {f"{REPOSITORY}:{version}"} | frr, path.name


def test_the_bills_of_materials_name_the_same_images(version: str, out: Path) -> None:
    subjects = {
        (one["name"], one["version"])
        for path in out.glob("sbom-*.cdx.json")
        for one in [json.loads(path.read_text())["metadata"]["component"]]
    }
    assert subjects == {(REPOSITORY, version), (f"{REPOSITORY}-frr", version)}


def test_the_wheel_has_the_overlays(version: str, out: Path) -> None:
    with zipfile.ZipFile(out / f"admitlb-{version}-py3-none-any.whl") as wheel:
        assert "allocator/shipped/kustomize/overlays/default/kustomization.yaml" in wheel.namelist()


def test_images_are_built_for_both_architectures_and_signing_is_left_to_a_person(printed: str, version: str) -> None:
    for target, image in (("image", REPOSITORY), ("image-frr", f"{REPOSITORY}-frr")):
        for machine in ("amd64", "arm64"):
            build = f"make {target} IMAGE={image}:{version}-{machine} IMAGE_ARGS=--platform=linux/{machine}"
            assert f"not run: {build}\n" in printed
    assert f"git tag --sign v{version}" in printed


def test_the_same_commit_makes_the_same_files(printed: str, out: Path, tmp_path: Path) -> None:
    release(tmp_path / "again")
    assert (tmp_path / "again" / "SHA256SUMS").read_text() == (out / "SHA256SUMS").read_text()
