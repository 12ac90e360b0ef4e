"""What a storm has cost is read as the API server and the kernel have written it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.bench.storm_cost import ProgramTimes, WritesByUser


def _line(user: str, verb: str, resource: str, *, code: int = 201, stage: str = "ResponseComplete") -> str:
    name, _, subresource = resource.partition("/")
    reference = {"resource": name, **({"subresource": subresource} if subresource else {})}
    return json.dumps(
        {
            "stage": stage,
            "verb": verb,
            "user": {"username": user},
            "objectRef": reference,
            "responseStatus": {"code": code},
        }
    )


def test_writes_are_counted_by_user_and_kind_and_what_was_refused_apart(tmp_path: Path) -> None:
    controller = "system:serviceaccount:metallb-system:controller"
    lines = [
        _line(controller, "patch", "services/status", code=200),
        _line(controller, "patch", "services/status", code=409),
        _line(controller, "create", "events", stage="RequestReceived"),
        _line(controller, "create", "events"),
        _line(controller, "create", "events"),
        _line(controller, "update", "leases", code=200),
        _line(controller, "list", "services", code=200),
        _line(controller, "create", "ipallocations")[:20],
    ]
    log = tmp_path / "audit.jsonl"
    log.write_text("\n".join(lines))
    writes = WritesByUser.logged(log)
    assert writes.total() == 4
    assert writes.each(2) == (
        "controller: create events 1.00; controller: patch services/status 0.50; "
        "controller: patch services/status (409) 0.50"
    )


def test_programs_of_all_nodes_are_one_and_kube_proxy_is_apart() -> None:
    own = os.getpid()
    times = ProgramTimes.of([("node-1/kube-proxy", own), ("node-2/kube-proxy", own), ("ns/pod/speaker", own)])
    proxies, speaker = times.seconds["kube-proxy"], times.seconds["speaker"]
    assert proxies >= 1.9 * speaker > 0
    assert abs(times.without_proxies - (sum(times.seconds.values()) - proxies)) < 1e-9
