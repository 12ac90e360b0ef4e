"""A Prometheus on a host of the lab, and what can be asked of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import yaml

from allocator.kube.client import Object
from tests.lab.client import Client
from tests.lab.processes import Process
from tests.lab.prometheus_programs import PrometheusPrograms
from tests.lab.waiting import wait_until

_START_SECONDS = 30.0
_ANSWER_SECONDS = 10.0


class QueryFailed(AssertionError):
    """Prometheus refused a query; the message is the query and what it said."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series' value at the time of asking."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert that fires, its annotations filled in."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class Prometheus:
    """One server on a client's host, over data that ends with the lab. Asked from the same host, by any thread."""

    def __init__(
        self,
        programs: PrometheusPrograms,
        client: Client,
        directory: Path,
        *,
        scrape_configs: Sequence[Object],
        groups: Sequence[Object] = (),
        interval_seconds: int = 1,
        port: int = 9090,
    ) -> None:
        """Start it; `groups` are rule groups, evaluated, as all is scraped, every `interval_seconds`."""
        directory.mkdir(parents=True, exist_ok=True)
        interval = f"{interval_seconds}s"
        (directory / "rules.yaml").write_text(yaml.safe_dump({"groups": list(groups)}))
        configuration = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": ["rules.yaml"],
            "scrape_configs": list(scrape_configs),
        }
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
        self._client = client
        self._url = f"http://127.0.0.1:{port}"
        self.process = Process(
            [
                programs.prometheus,
                f"--config.file={directory / 'prometheus.yaml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            log=directory / "prometheus.log",
            netns=client.host.name,
        )

    def __enter__(self) -> Self:
        self.process.wait_until(self._ready, _START_SECONDS, "Prometheus is ready", retry_on=(OSError,))
        return self

    def __exit__(self, *_: object) -> None:
        self.process.sigkill()

    def query(self, expression: str) -> list[Sample]:
        """Evaluate an expression now. Raises QueryFailed."""
        found = self._ask("query", query=expression)
        if found["resultType"] == "scalar":
            return [Sample({}, float(found["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in found["result"]]

    def value(self, expression: str) -> float | None:
        """Return the value of an expression that has one sample, None while it has none. Raises QueryFailed."""
        found = self.query(expression)
        if len(found) > 1:
            raise QueryFailed(f"{expression}: {len(found)} samples where one was expected")
        return found[0].value if found else None

    def targets(self) -> dict[str, str]:
        """Return every target's health (`up`, `down`, `unknown`) by `job instance`."""
        active = self._ask("targets", state="active")["activeTargets"]
        return {f"{each['labels']['job']} {each['labels']['instance']}": each["health"] for each in active}

    def firing(self, name: str) -> list[Alert]:
        """Return the alerts of that name that fire now."""
        return [
            Alert(alert["labels"], alert["annotations"])
            for alert in self._ask("alerts")["alerts"]
            if alert["state"] == "firing" and alert["labels"]["alertname"] == name
        ]

    def wait_firing(self, name: str, timeout_seconds: float, **labels: str) -> Alert:
        """Wait until an alert fires with these among its labels, and return it."""

        def fires() -> Alert | None:
            return next((alert for alert in self.firing(name) if labels.items() <= alert.labels.items()), None)

        return wait_until(fires, timeout_seconds, f"alert {name} {labels or ''} fires", interval_seconds=0.2)

    def wait_quiet(self, name: str, timeout_seconds: float) -> None:
        """Wait until no alert of that name fires."""
        wait_until(lambda: not self.firing(name), timeout_seconds, f"alert {name} is over", interval_seconds=0.2)

    def _ready(self) -> bool:
        return self._client.http_get(f"{self._url}/-/ready").status == 200

    def _ask(self, what: str, **parameters: str) -> Any:
        url = f"{self._url}/api/v1/{what}?{urlencode(parameters)}"
        answer = json.loads(self._client.http_get(url, timeout_seconds=_ANSWER_SECONDS).text)
        if answer["status"] != "success":
            raise QueryFailed(f"{what} {parameters}: {answer.get('error')}")
        return answer["data"]
