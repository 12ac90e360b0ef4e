"""Moments of the API as people read them, whoever wrote them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from allocator.kube.timestamps import age_text

NOW = datetime(2026, 1, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("2026-01-01T00:00:00Z", "2d"),
        ("2026-01-02T23:58:00.000001Z", "1m"),
        ("2026-01-03T00:00:05Z", "0s"),
        ("2026-01-02T22:00:00", "2h"),
        ("yesterday", "yesterday"),
        ("", ""),
    ],
)
def test_an_age_is_told_as_kubectl_does_and_what_is_no_moment_is_shown_as_it_is(moment: str, shown: str) -> None:
    assert age_text(moment, NOW) == shown
