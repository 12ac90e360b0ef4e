"""Another program's CRD in the place of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from allocator.kube.resource import Resource
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until


@contextmanager
def status_subresource(control_plane: ControlPlane, kind: Resource) -> Iterator[None]:
    """For as long as the block runs the status of a kind is a subresource, as by MetalLB's CRDs."""
    subresource = replace(kind, plural=f"{kind.plural}/status")

    def define(**operation: object) -> None:
        patch = json.dumps([{"path": "/spec/versions/0/subresources", **operation}])
        control_plane.kubectl("patch", "crd", f"{kind.plural}.{kind.group}", "--type=json", "-p", patch)
        served = operation["op"] == "add"
        wait_until(lambda: control_plane.cluster().serves(subresource) is served, 20, "the CRD is in force")

    define(op="add", value={"status": {}})
    try:
        yield
    finally:
        define(op="remove")
