"""The documentation's console sessions do what they show, from an empty cluster on."""

from __future__ import annotations

import pytest

from tests.endtoend.removal import remove
from tests.endtoend.transcripts import PROJECT, play
from tests.lab.lab import Lab

DOCS = PROJECT / "docs"
INSTALLED = (
    "operations.md",
    "upgrading.md",
    "request-an-address.md",
    "share-an-address.md",
    "external-traffic-policy.md",
    "ipv6.md",
)
"""Those before list all IPAllocations, and what the others release cools for a minute."""


@pytest.mark.timeout(300)
def test_install(lab: Lab) -> None:
    remove(lab)
    play(lab, DOCS / "install.md")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", INSTALLED)
def test_on_an_installed_cluster(lab: Lab, document: str) -> None:
    lab.install()
    play(lab, DOCS / document)
