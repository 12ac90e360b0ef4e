"""A Service is written to when it shows something else, once, and on API servers without conditions too."""

from __future__ import annotations

import copy
from typing import Any, cast

from allocator.core.addresses import Address
from allocator.kube.client import Cluster, Object
from allocator.reconciler.service_status import ServiceStatus
from allocator.rules.conditions import Condition
from allocator.rules.service_report import IP_ASSIGNED

FIRST = Address.parse("192.0.2.1")
ASSIGNED = Condition(type=IP_ASSIGNED, status="True", reason="Assigned", message="192.0.2.1 from pool p")
WAITS = Condition(type=IP_ASSIGNED, status="False", reason="Exhausted", message="none left")


class Server:
    """Applies our patches to one Service, as an API server does, with or without status.conditions."""

    def __init__(self, *, keeps_conditions: bool) -> None:
        self.keeps_conditions = keeps_conditions
        self.writes = 0
        metadata = {"namespace": "prod", "name": "web", "uid": "u", "resourceVersion": "1"}
        self.service: Object = {"metadata": metadata, "status": {}}

    def patch(self, *arguments: Any, **_: Any) -> Object:
        body: Object = arguments[2]
        self.writes += 1
        stored = copy.deepcopy(self.service)
        annotations = {**stored["metadata"].get("annotations", {}), **body["metadata"]["annotations"]}
        stored["metadata"]["annotations"] = {key: value for key, value in annotations.items() if value is not None}
        stored["metadata"]["resourceVersion"] = str(1 + self.writes)
        stored["status"].update(body["status"])
        if not self.keeps_conditions:
            stored["status"].pop("conditions", None)
        self.service = stored
        return stored


def test_addresses_pools_and_condition_take_one_write_and_no_second() -> None:
    server = Server(keeps_conditions=True)
    status = ServiceStatus(cast(Cluster, server))
    assert status.show(server.service, [FIRST], "p", ASSIGNED)
    assert not status.show(server.service, [FIRST], "p", ASSIGNED)
    assert server.writes == 1
    assert server.service["status"]["loadBalancer"] == {"ingress": [{"ip": "192.0.2.1"}]}
    assert server.service["status"]["conditions"][0]["reason"] == "Assigned"


def test_a_mirror_behind_our_own_write_is_not_written_to_again() -> None:
    server = Server(keeps_conditions=True)
    status = ServiceStatus(cast(Cluster, server))
    behind = server.service
    status.show(behind, [FIRST], "p", ASSIGNED)
    assert not status.show(status.latest(behind), [FIRST], "p", ASSIGNED)
    newer = copy.deepcopy(server.service)
    newer["metadata"]["resourceVersion"] = "9"
    assert status.latest(newer) is newer


def test_a_server_without_conditions_is_not_written_to_for_their_sake() -> None:
    server = Server(keeps_conditions=False)
    status = ServiceStatus(cast(Cluster, server))
    assert status.clear(server.service, [], WAITS)
    assert not status.clear(server.service, [], WAITS)
    assert status.show(server.service, [FIRST], "p", ASSIGNED)
    assert not status.show(server.service, [FIRST], "p", ASSIGNED)
    assert server.writes == 2


def test_a_server_that_begins_to_keep_conditions_is_noticed() -> None:
    server = Server(keeps_conditions=False)
    status = ServiceStatus(cast(Cluster, server))
    status.clear(server.service, [], WAITS)
    server.keeps_conditions = True
    status.show(server.service, [FIRST], "p", ASSIGNED)
    reworded = Condition(type=IP_ASSIGNED, status="True", reason="Held", message="wants another")
    assert status.show(server.service, [FIRST], "p", reworded)


def test_what_somebody_else_wrote_stays() -> None:
    server = Server(keeps_conditions=True)
    foreign = [{"hostname": "lb.example.com"}, {"ip": "198.51.100.1"}]
    server.service["status"]["loadBalancer"] = {"ingress": [*foreign, {"ip": "192.0.2.1"}]}
    status = ServiceStatus(cast(Cluster, server))
    assert status.clear(server.service, [FIRST], WAITS)
    assert server.service["status"]["loadBalancer"] == {"ingress": foreign}
    assert not status.clear(server.service, [FIRST], WAITS)
