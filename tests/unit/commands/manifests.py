"""Short ways to write manifests, and to run a command on them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from allocator.cli import main

Object = dict[str, Any]


def pool(name: str, *addresses: str, namespace: str = "metallb-system", **spec: Any) -> Object:
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"addresses": list(addresses), **spec},
    }


def advertisement(name: str, namespace: str = "metallb-system", **spec: Any) -> Object:
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "L2Advertisement",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def service(
    name: str,
    *,
    namespace: str = "prod",
    annotations: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    shows: tuple[str, ...] = (),
    **spec: Any,
) -> Object:
    """A Service of type LoadBalancer; `shows` are the addresses in its status."""
    document: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {
                key if "/" in key else f"metallb.io/{key}": value for key, value in (annotations or {}).items()
            },
            "labels": labels or {},
        },
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}], **spec},
    }
    if shows:
        document["status"] = {"loadBalancer": {"ingress": [{"ip": ip} for ip in shows]}}
    return document


def namespace(name: str, *, quota: str | None = None, **labels: str) -> Object:
    metadata: Object = {"name": name, "labels": labels}
    if quota is not None:
        metadata["annotations"] = {"admitlb.io/ip-quota": quota}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def node(name: str, *, taints: tuple[Object, ...] = (), **labels: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": list(taints)},
    }


def deleted(document: Object) -> Object:
    return {**document, "metadata": {**document["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


@dataclass(frozen=True)
class Ran:
    """What a command printed (JSON, read) and its exit code."""

    code: int
    told: Any

    @property
    def services(self) -> dict[str, Object]:
        return {f"{one['namespace']}/{one['name']}": one for one in self.told["services"]}

    @property
    def ips(self) -> dict[str, list[str]]:
        """By name, for tests that stay in one namespace."""
        return {one["name"]: one["ips"] for one in self.told["services"]}

    @property
    def states(self) -> dict[str, str]:
        return {one["name"]: one["state"] for one in self.told["services"]}

    @property
    def pools(self) -> dict[str, Object]:
        return {one["name"]: one for one in self.told["pools"]}

    @property
    def documents(self) -> list[Object]:
        listed: list[Object] = self.told["documents"]
        return listed

    @property
    def codes(self) -> list[int]:
        return [one["code"] for one in self.documents]

    @property
    def messages(self) -> list[str]:
        return [one["message"] for one in self.documents]

    @property
    def warnings(self) -> list[str]:
        return [warning for one in self.documents for warning in one["warnings"]]


def run(command: str, *documents: Object, options: tuple[str, ...] = ()) -> Ran:
    """Run `admitlb command -o json` on documents given on stdin."""
    stream = "\n".join(json.dumps(document) for document in documents)
    result = CliRunner().invoke(main, [command, "-", "-o", "json", *options], input=stream)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, json.loads(result.stdout))


def plan(*documents: Object, options: tuple[str, ...] = ()) -> Ran:
    return run("plan", *documents, options=options)


def lint(*documents: Object, options: tuple[str, ...] = ()) -> Ran:
    return run("lint", *documents, options=options)
