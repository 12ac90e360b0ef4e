"""The image that `python -m tests.image` built, and a cluster that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.image.__main__ import built
from tests.lab.images import Image
from tests.lab.lab import Lab

SECCOMP_PROFILE = Path("/usr/share/containers/seccomp.json")
"""What Podman and CRI-O call the default; Buildah's package brings it."""


@pytest.fixture(scope="session")
def images() -> dict[str, Image]:
    """Two builds of the same sources, one after the other."""
    try:
        return built()
    except FileNotFoundError:
        pytest.fail("no image was built; run `make image-test`, which builds it first")


@pytest.fixture(scope="session")
def image(images: dict[str, Image]) -> Image:
    """What was built."""
    return images["first"]


@pytest.fixture(scope="module")
def lab(image: Image) -> Iterator[Lab]:
    """Three nodes that run AdmitLB from the image, under a runtime's default seccomp profile."""
    with Lab(nodes=3, clients=1, images={"admitlb": replace(image, seccomp=SECCOMP_PROFILE)}) as lab:
        lab.install()
        yield lab
