"""Writes as the API server itself counts them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from tests.lab.control_plane import ControlPlane

_WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_USERS = frozenset({"POST services", "DELETE services"})
_OF_KUBERNETES = frozenset({"PATCH events"})
"""Its own controllers repeat themselves so; AdmitLB only ever creates Events."""
_PER_SERVICE = frozenset({"ipallocations", "ipallocations/status", "services", "services/status", "events"})
"""What AdmitLB may write for one Service. Endpoints and their Events come in where a Service has a selector."""
_PER_POOL = frozenset(
    {"ipaddresspools", "ipaddresspools/status", "configurationstates", "configurationstates/status"}
)

_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class ApiWrites:
    """How many writes succeeded since the API server's start, by verb and resource, as in `PATCH services/status`."""

    counts: Counter[str]

    @classmethod
    def counted_by(cls, control_plane: ControlPlane) -> ApiWrites:
        """Read apiserver_request_total."""
        counts: Counter[str] = Counter()
        for line in control_plane.kubectl("get", "--raw", "/metrics").stdout.splitlines():
            if line.startswith("apiserver_request_total{"):
                text, _, value = line.rpartition(" ")
                labels = dict(_LABEL.findall(text))
                if labels["verb"] in _WRITES and labels["code"].startswith("2"):
                    resource = "/".join(filter(None, (labels["resource"], labels["subresource"])))
                    counts[f"{labels['verb']} {resource}"] += round(float(value))
        return cls(counts)

    def __sub__(self, earlier: ApiWrites) -> ApiWrites:
        return ApiWrites(self.counts - earlier.counts)

    def of_users(self) -> int:
        """How often Services were created and deleted."""
        return sum(count for what, count in self.counts.items() if what in _USERS)

    def for_services(self) -> dict[str, int]:
        """What AdmitLB wrote for Services, the most frequent first."""
        return self._about(_PER_SERVICE)

    def for_pools(self) -> dict[str, int]:
        """What AdmitLB wrote for pools, which is at most once a second for each however many Services come and go."""
        return self._about(_PER_POOL)

    def _about(self, resources: frozenset[str]) -> dict[str, int]:
        return {
            what: count
            for what, count in self.counts.most_common()
            if what not in _USERS | _OF_KUBERNETES and what.split()[1] in resources
        }
