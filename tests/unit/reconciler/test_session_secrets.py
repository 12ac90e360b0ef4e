"""Secrets that BGPPeers name: asked for when nobody knows, and again when an answer has become old."""

from __future__ import annotations

from allocator.reconciler.session_secrets import MISSING_SECONDS, PRESENT_SECONDS, SessionSecrets


class Cluster:
    """Secrets, a clock, and what was asked."""

    def __init__(self, *present: str) -> None:
        self.present = set(present)
        self.now = 1000.0
        self.asked: list[str] = []
        self.secrets = SessionSecrets(self._is_absent, clock=lambda: self.now)

    def _is_absent(self, name: str) -> bool:
        self.asked.append(name)
        return name not in self.present

    def absent(self, *wanted: str) -> set[str]:
        self.asked.clear()
        return set(self.secrets.absent(wanted))


def test_each_is_asked_for_once_while_its_answer_counts() -> None:
    cluster = Cluster("there")
    assert not cluster.secrets.due()
    assert cluster.absent("there", "gone") == {"gone"}
    assert cluster.asked == ["gone", "there"]
    assert cluster.absent("there", "gone") == {"gone"}
    assert cluster.asked == []


def test_a_missing_one_is_asked_for_again_soon_and_the_other_later() -> None:
    cluster = Cluster("there")
    cluster.absent("there", "gone")
    cluster.present.add("gone")
    cluster.now += MISSING_SECONDS - 0.1
    assert not cluster.secrets.due()
    cluster.now += 0.1
    assert cluster.secrets.due()
    assert cluster.absent("there", "gone") == set()
    assert cluster.asked == ["gone"]
    assert not cluster.secrets.due()
    cluster.present.clear()
    cluster.now += PRESENT_SECONDS
    assert cluster.secrets.due()
    assert cluster.absent("there", "gone") == {"there", "gone"}


def test_what_nobody_names_any_more_is_not_asked_for() -> None:
    cluster = Cluster()
    cluster.absent("gone")
    assert cluster.absent() == set()
    cluster.now += PRESENT_SECONDS
    assert not cluster.secrets.due()
