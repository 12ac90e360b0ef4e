"""The page of metrics is what the code counts now."""

from __future__ import annotations

import re

from tests.unit.monitoring.metrics_reference import PAGE, exporters, page


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.unit.monitoring.metrics_reference"


def test_every_metric_is_named_after_its_kind_and_says_what_it_counts() -> None:
    for exporter in exporters():
        assert len({metric.name for metric in exporter.metrics()}) == len(exporter.metrics()), exporter.title
    for metric in (metric for exporter in exporters() for metric in exporter.metrics()):
        assert re.fullmatch(r"(metallb|admitlb)_[a-z0-9_]+", metric.name)
        assert metric.documentation
        if metric.name.startswith("admitlb_"):
            assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
