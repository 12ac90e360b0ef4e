"""The page of Kubernetes versions has those that the tests are run with; all pages name the same oldest one."""

from __future__ import annotations

import re

from tests.lab.official_release import RELEASES
from tests.unit.reference.kinds import ROOT

PAGE = (ROOT / "docs" / "kubernetes-versions.md").read_text()


def test_each_tested_version_has_its_row() -> None:
    rows = re.findall(r"^\| (\d+\.\d+\.\d+) \|", PAGE, re.M)
    assert rows == sorted({release.version.removeprefix("v") for release in RELEASES.values()}, key=_number)


def test_the_oldest_version_is_the_one_that_install_and_readme_name() -> None:
    minor = ".".join(RELEASES["oldest"].version.removeprefix("v").split(".")[:2])
    for page in ("README.md", "docs/install.md", "docs/kubernetes-versions.md"):
        assert f"Kubernetes {minor} or newer" in " ".join((ROOT / page).read_text().split())


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
