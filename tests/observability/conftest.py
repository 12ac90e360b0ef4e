"""One watched cluster for the whole tier; every test mends what it broke."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bench.speaker_site import SpeakerSite, speaker_site
from tests.lab.lab import Lab
from tests.lab.prometheus import Prometheus
from tests.observability.monitored import monitored


@pytest.fixture(scope="session")
def site() -> Iterator[SpeakerSite]:
    """Three nodes, of which two announce one address, whose application runs on the third."""
    with Lab(nodes=3, clients=1) as lab, speaker_site(lab) as site:
        yield site


@pytest.fixture(scope="session")
def prometheus(site: SpeakerSite) -> Iterator[Prometheus]:
    """A Prometheus by the component's own objects; alerts fire without their `for`."""
    with monitored(site.lab) as prometheus:
        yield prometheus
