"""A node whose speaker renews no Lease, or that is gone, counts for nothing in what is reported."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from allocator.kube.client import Cluster, Object
from allocator.kube.reflector import Change
from allocator.kube.timestamps import write_time
from allocator.objects import names
from allocator.reconciler.bgp_reporter import BgpReporter
from allocator.reconciler.speaker_leases import SpeakerLeases
from tests.unit.reconciler.test_bgp_conditions import FOUND, report


def leases(**renewed: int) -> list[Object]:
    """Leases of speakers, by seconds since their renewal."""
    now = datetime.now(UTC)
    return [
        {"metadata": {"name": f"speaker-{node}"}, "spec": {"renewTime": write_time(now - timedelta(seconds=ago))}}
        for node, ago in renewed.items()
    ]


def test_silent_node_and_one_that_is_gone_do_not_count() -> None:
    read = SpeakerLeases(lambda: leases(a=1, b=300, c=1))
    reporter = BgpReporter(cast("Cluster", None), read, namespace="metallb-system", on_change=lambda _: None)
    assert not reporter.take_reports()
    for node in "abc":
        key = ("metallb-system", node)
        reporter._note_status(Change(names.BGP_NODE_STATUSES, key, None, report(node), "1"))

    def write(*_: Any) -> bool:
        return False

    read.look(needed=reporter.take_reports())
    reporter.report(FOUND, {"a": {}, "b": {}}, write)
    assert reporter._uncounted == {"b", "c"}
