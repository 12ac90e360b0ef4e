"""What the component ships refers only to what exists: metrics, runbook entries, monitoring Services."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.observability.component import (
    BGP_COMPONENT,
    COMPONENT,
    alerts,
    dashboard,
    dashboard_queries,
    metrics_in,
    service_monitor,
)
from tests.unit.manifests.documents import shipped
from tests.unit.monitoring.metrics_reference import names

RUNBOOKS = Path(__file__).parents[3] / "docs" / "runbooks.md"
FROM_ELSEWHERE = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"}
"""Prometheus's own, and the client library's."""

METALLBS_ALERTS = {
    "MetalLBStaleConfig",
    "MetalLBConfigNotLoaded",
    "MetalLBAddressPoolExhausted",
    "MetalLBAddressPoolUsage75Percent",
    "MetalLBAddressPoolUsage85Percent",
    "MetalLBAddressPoolUsage95Percent",
    "MetalLBBGPSessionDown",
}
ALL = alerts() | alerts(BGP_COMPONENT)
COMPONENTS = pytest.mark.parametrize("component", [COMPONENT, BGP_COMPONENT], ids=lambda path: str(path.name))


@pytest.mark.parametrize("name", ALL)
def test_an_alert_reads_metrics_that_exist_and_has_a_runbook_entry(name: str) -> None:
    alert = ALL[name]
    read = metrics_in(alert["expr"])
    assert read
    assert read <= names() | FROM_ELSEWHERE
    assert alert["labels"]["severity"] in ("info", "warning", "critical")
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}
    assert alert["annotations"]["runbook"] == f"docs/runbooks.md#{name.lower()}"
    assert f"\n## {name}\n" in RUNBOOKS.read_text()


def test_every_runbook_entry_belongs_to_an_alert() -> None:
    entries = re.findall(r"^## (\w+LB\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert sorted(entries) == sorted(ALL)


def test_metallbs_alerts_keep_their_names() -> None:
    assert {name for name in ALL if name.startswith("MetalLB")} == METALLBS_ALERTS


@COMPONENTS
def test_the_dashboard_reads_metrics_that_exist(component: Path) -> None:
    read = {metric for _, query in dashboard_queries(component) for metric in metrics_in(query)}
    assert read <= names() | FROM_ELSEWHERE


@COMPONENTS
def test_the_dashboard_has_its_panels_side_by_side_each_with_an_id_of_its_own(component: Path) -> None:
    panels = dashboard(component)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells


def test_the_service_monitor_selects_the_three_monitoring_services_and_no_other() -> None:
    selector = service_monitor()["spec"]["selector"]["matchLabels"]
    (endpoint,) = service_monitor()["spec"]["endpoints"]
    selected = [
        service["metadata"]["name"]
        for service in shipped("Service")
        if selector.items() <= service["metadata"]["labels"].items()
        and endpoint["port"] in [port.get("name") for port in service["spec"]["ports"]]
    ]
    assert sorted(selected) == ["reconciler-monitoring", "speaker-monitoring", "webhook-monitoring"]
