"""Thousands of objects put where the API server keeps them, in seconds: it reads JSON as well as its own encoding."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterable
from itertools import islice
from typing import Any

from tests.lab.control_plane import ControlPlane

Object = dict[str, Any]

_AT_ONCE = 100
"""etcd takes 128 operations in one transaction."""


def store(control_plane: ControlPlane, objects: Iterable[tuple[str, Object]]) -> None:
    """Put each object at its key below /registry, as if it had been created."""
    waiting = iter(objects)
    while batch := list(islice(waiting, _AT_ONCE)):
        puts = [
            {"requestPut": {"key": _encoded(f"/registry/{key}"), "value": _encoded(json.dumps(obj))}}
            for key, obj in batch
        ]
        body = json.dumps({"success": puts}).encode()
        request = urllib.request.Request(f"{control_plane.etcd_url}/v3/kv/txn", data=body)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["succeeded"]


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
