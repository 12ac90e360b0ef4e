"""What the tables of `plan --against-cluster` say of pools."""

from __future__ import annotations

import pytest

from allocator.commands.tables import print_effects
from tests.unit.commands.live_clusters import change, live_cluster
from tests.unit.commands.manifests import advertisement, pool, service


def test_a_service_without_a_pool_before_has_one_name_in_the_column(capsys: pytest.CaptureFixture[str]) -> None:
    live = live_cluster(pool("lan", "192.0.2.10-192.0.2.13"), advertisement("all"))
    print_effects(change(live, service("new")).change)
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("prod/new")]
    assert line.split() == ["prod/new", "Gains", "-", "192.0.2.10", "lan"]
