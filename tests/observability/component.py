"""What kustomize/components/prometheus ships, as tests use it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from allocator.kube.client import Object

COMPONENT = Path(__file__).parents[2] / "kustomize" / "components" / "prometheus"
BGP_COMPONENT = COMPONENT.with_name("prometheus-bgp")
OVERLAY = Path(__file__).parent / "overlay"

# A name outside of quotes, label matchers, groupings and durations that no parenthesis follows.
_QUOTED = re.compile(r'"[^"]*"')
_BRACED = re.compile(r"\{[^}]*\}")
_GROUPED = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_RANGED = re.compile(r"\[[^\]]*\]")
_NAME = re.compile(r"\b[a-z_][a-z0-9_:]*\b(?!\s*\()")
_WORDS = {"or", "and", "unless", "offset", "bool", "by", "without", "on", "ignoring"}


def service_monitor() -> Object:
    """Return the ServiceMonitor."""
    document: Object = yaml.safe_load((COMPONENT / "service-monitor.yaml").read_text())
    return document


def rule_groups(component: Path = COMPONENT) -> list[Object]:
    """Return the groups of the PrometheusRule."""
    groups: list[Object] = yaml.safe_load((component / "alerts.yaml").read_text())["spec"]["groups"]
    return groups


def alerts(component: Path = COMPONENT) -> dict[str, Object]:
    """Return every alerting rule by name."""
    return {rule["alert"]: rule for group in rule_groups(component) for rule in group["rules"]}


def impatient(groups: list[Object]) -> list[Object]:
    """Return the groups with every alert firing as soon as its expression has a result."""
    return [{**group, "rules": [{**rule, "for": "0s"} for rule in group["rules"]]} for group in groups]


def dashboard(component: Path = COMPONENT) -> Object:
    """Return Grafana's dashboard."""
    document: Object = json.loads((component / "dashboard.json").read_text())
    return document


def dashboard_queries(component: Path = COMPONENT) -> Iterator[tuple[str, str]]:
    """Give every query of the dashboard, its variables replaced, with its panel's title."""
    for panel in dashboard(component)["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$pool", ".*")


def metrics_in(expression: str) -> set[str]:
    """Return the names of the metrics an expression reads."""
    for noise in (_QUOTED, _BRACED, _GROUPED, _RANGED):
        expression = noise.sub(" ", expression)
    return {name for name in _NAME.findall(re.sub(r"\b\d+[smhd]\b", " ", expression)) if name not in _WORDS}
