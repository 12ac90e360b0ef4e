"""Nodes whose speakers stopped renewing their Leases are found by a few reads, and none while nobody reports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from allocator.kube.client import ApiError, Object
from allocator.kube.timestamps import write_time
from allocator.reconciler.silent_nodes import LOOK_SECONDS, SilentNodes

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Installation:
    """Leases, and a clock that counts from 1,000 s."""

    seconds: float = 1000.0
    renewed: dict[str, float] = field(default_factory=dict)
    reads: int = 0
    refused: bool = False

    def leases(self) -> Iterable[Object]:
        self.reads += 1
        if self.refused:
            raise ApiError(403, "Forbidden", "leases is forbidden")
        return [
            {
                "metadata": {"name": name},
                "spec": {"renewTime": write_time(self._at(seconds)), "leaseDurationSeconds": 30},
            }
            for name, seconds in self.renewed.items()
        ]

    def now(self) -> datetime:
        return self._at(self.seconds)

    @staticmethod
    def _at(seconds: float) -> datetime:
        return BEGUN + timedelta(seconds=seconds)


@pytest.fixture
def installation() -> Installation:
    return Installation(renewed={"admitlb-reconciler": 1000, "speaker-a": 995, "speaker-b": 960})


@pytest.fixture
def silent(installation: Installation) -> SilentNodes:
    return SilentNodes(installation.leases, clock=lambda: installation.seconds, now=installation.now)


def test_lease_that_has_run_out_silences_its_node(installation: Installation, silent: SilentNodes) -> None:
    assert silent.look(reporting=True) == {"b"}
    installation.renewed["speaker-b"] = installation.seconds = 1000 + LOOK_SECONDS
    assert silent.due()
    assert silent.look(reporting=True) == {"a"}


def test_leases_are_read_twice_a_minute_while_somebody_reports(
    installation: Installation, silent: SilentNodes
) -> None:
    assert silent.look(reporting=False) == frozenset()
    assert not silent.due()
    assert installation.reads == 0
    for _ in range(60):
        silent.look(reporting=True)
        installation.seconds += 1
    assert installation.reads == 2
    assert silent.look(reporting=False) == frozenset()


def test_all_counts_while_leases_cannot_be_read(installation: Installation, silent: SilentNodes) -> None:
    silent.look(reporting=True)
    installation.refused, installation.seconds = True, 1000 + LOOK_SECONDS
    assert silent.look(reporting=True) == frozenset()
    assert not silent.due(), "it is not asked again at once"
