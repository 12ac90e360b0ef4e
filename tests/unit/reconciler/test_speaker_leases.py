"""What the Leases of speakers say is known by a few reads, and none while nobody needs it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from allocator.core.addresses import Address
from allocator.kube.client import ApiError, Object
from allocator.kube.timestamps import write_time
from allocator.objects.names import SPEAKER_SUBNETS_ANNOTATION
from allocator.reconciler.speaker_leases import LOOK_SECONDS, SpeakerLeases

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
                "metadata": {"name": name, "annotations": {SPEAKER_SUBNETS_ANNOTATION: "192.0.2.0/24"}},
                "spec": {
                    "holderIdentity": name.removeprefix("speaker-"),
                    "renewTime": write_time(self._at(seconds)),
                    "leaseDurationSeconds": 30,
                },
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
def leases(installation: Installation) -> SpeakerLeases:
    return SpeakerLeases(installation.leases, clock=lambda: installation.seconds, now=installation.now)


def test_lease_that_has_run_out_silences_its_node(installation: Installation, leases: SpeakerLeases) -> None:
    leases.look(needed=True)
    assert leases.silent == {"b"}
    installation.renewed["speaker-b"] = installation.seconds = 1000 + LOOK_SECONDS
    assert leases.due()
    leases.look(needed=True)
    assert leases.silent == {"a"}


def test_leases_are_read_twice_a_minute_while_somebody_needs_them(
    installation: Installation, leases: SpeakerLeases
) -> None:
    leases.look(needed=False)
    assert leases.silent == frozenset()
    assert not leases.due()
    assert installation.reads == 0
    for _ in range(60):
        leases.look(needed=True)
        installation.seconds += 1
    assert installation.reads == 2
    leases.look(needed=False)
    assert leases.silent == frozenset()


def test_all_counts_while_leases_cannot_be_read(installation: Installation, leases: SpeakerLeases) -> None:
    leases.look(needed=True)
    before = leases.subnets
    assert before.nodes
    installation.refused, installation.seconds = True, 1000 + LOOK_SECONDS
    leases.look(needed=True)
    assert leases.silent == frozenset()
    assert leases.subnets is before
    assert not leases.due(), "it is not asked again at once"


def test_subnets_are_those_of_nodes_that_are_not_silent_and_the_same_value_while_they_are(
    installation: Installation, leases: SpeakerLeases
) -> None:
    leases.look(needed=True)
    before = leases.subnets
    assert before.nodes == {"a"}
    assert before.inside(Address.parse("192.0.2.9")) == {"a"}
    installation.seconds = installation.renewed["speaker-a"] = 1000 + LOOK_SECONDS
    leases.look(needed=True)
    assert leases.subnets is before
    installation.seconds = installation.renewed["speaker-b"] = 1000 + 3 * LOOK_SECONDS
    leases.look(needed=True)
    assert leases.subnets.inside(Address.parse("192.0.2.9")) == {"b"}, "a is silent, and b not any more"
