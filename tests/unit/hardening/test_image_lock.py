"""The image is built from versions that are locked, with hashes, and the same that development runs with."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.unit.manifests.documents import ROOT

LINE = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def versions(file: str) -> dict[str, str]:
    return {normal(name): version for name, version in LINE.findall((ROOT / file).read_text())}


def declared(*, build: bool = False) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["build-system"]["requires"] if build else project["project"]["dependencies"]
    return [Requirement(line) for line in wanted]


def test_everything_the_package_needs_is_locked_in_a_version_that_will_do() -> None:
    for file, build in (("requirements.lock", False), ("requirements-build.lock", True)):
        locked = versions(file)
        for requirement in declared(build=build):
            assert requirement.specifier.contains(locked[normal(requirement.name)]), requirement


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-build.lock"])
def test_the_image_has_the_versions_that_development_has(file: str) -> None:
    constraints = versions("constraints.txt")
    differing = {name for name, version in versions(file).items() if constraints.get(name, version) != version}

    assert differing == set(), "run `make lock`"


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-build.lock"])
def test_every_locked_version_has_hashes(file: str) -> None:
    blocks = re.split(r"\n(?=[A-Za-z])", (ROOT / file).read_text())

    assert [block.splitlines()[0] for block in blocks if "==" in block and "--hash=sha256:" not in block] == []


def test_the_build_resolves_nothing_by_itself() -> None:
    installs = [
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if "pip" in line and " install " in line
    ]

    assert len(installs) == 3
    for line in installs:
        assert "--require-hashes --no-deps" in line or "--no-deps --no-index" in line
