"""Which Pods of FRR a speaker works with, by release."""

from __future__ import annotations

import re
import tomllib

import pytest

from allocator.bgp.pod_releases import RELEASES, unsupported
from speaker.bgp.pod_release import RELEASE
from tests.unit.manifests.documents import ROOT

FIVE = ("0.1", "0.2", "0.9", "1.0", "1.1")


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ("1.1", ""),
        ("1.0", ""),
        ("0.9", ""),
        ("0.2", "more than 2 releases before the speaker's 1.1: renew it (admitlb bgp roll)"),
        ("0.1", "of AdmitLB 0.1, more than 2 releases before"),
        ("1.2", "of AdmitLB 1.2, which the speaker of 1.1 does not know: update the speakers"),
        ("", ""),
    ],
)
def test_own_release_and_two_before_it(release: str, said: str) -> None:
    found = unsupported(release, releases=FIVE)
    assert said in found
    assert bool(found) == bool(said)


def test_the_list_is_that_of_the_changelog_and_ends_with_this_release() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert RELEASES[-1] == RELEASE == ".".join(version.split(".")[:2])
    headings = re.findall(r"^## \[(\d+\.\d+)\.", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert set(headings) <= set(RELEASES)
    assert sorted(RELEASES, key=lambda one: [*map(int, one.split("."))]) == [*RELEASES]
