"""One watched cluster for the whole tier; every test mends what it broke."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.bench.speaker_site import SpeakerSite, speaker_site
from tests.lab.lab import Lab
from tests.lab.prometheus import Prometheus
from tests.observability.monitored import monitored

_LOG_LINES = 15


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show, with a failure, the end of the log of every component that wrote meanwhile."""
    report = yield
    site = getattr(item, "funcargs", {}).get("site")
    if report.failed and isinstance(site, SpeakerSite):
        for path in site.lab.directory.glob("pods/*/*.log"):
            if path.stat().st_mtime >= call.start:
                lines = path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
                report.sections.append((f"end of {path.parent.name}/{path.name}", "\n".join(lines)))
    return report


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
