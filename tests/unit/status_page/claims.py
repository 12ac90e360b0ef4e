"""IPAllocations and pools as the API server stores them, for the status page to read."""

from __future__ import annotations

from typing import Any

from allocator.core.addresses import Address

Object = dict[str, Any]


def allocation(ip: str, holder: str, *, state: str = "Bound", pool: str = "lan", node: str = "") -> Object:
    """An IPAllocation held by `namespace/name`."""
    namespace, _, name = holder.partition("/")
    since = "2026-01-01T00:00:00Z"
    held = {"namespace": namespace, "name": name, "uid": "u", "since": since, "ports": []}
    status = {"announcedBy": {"node": node, "interfaces": ["eth0"], "since": since}} if node else {}
    return {
        "metadata": {"name": Address.parse(ip).claim_name, "resourceVersion": "1"},
        "spec": {"address": ip, "pool": pool, "state": state, "holders": [held], "since": since},
        "status": status,
    }


def pool(name: str, *addresses: str) -> Object:
    """An IPAddressPool."""
    return {
        "metadata": {"name": name, "namespace": "metallb-system", "generation": 1},
        "spec": {"addresses": list(addresses)},
    }


def waiting_service(name: str, message: str) -> Object:
    """A Service in `prod` that has been told it waits."""
    condition = {
        "type": "admitlb.io/IPAssigned",
        "status": "False",
        "reason": "Exhausted",
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return {"metadata": {"namespace": "prod", "name": name}, "status": {"conditions": [condition]}}
