"""Reading webhook configurations, and the patch that brings one in line: how, and by what trust, we are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from allocator.kube.client import Object
from webhook.routes import path_of, route_of
from webhook.secret_fields import decoded, encoded

Path = Callable[[str, str | None], str]
"""(route, path an entry has now) -> the path it should have."""


@dataclass(frozen=True, slots=True)
class Caller:
    """How a registered webhook is called: by which port and path of which Service, trusting whom (PEM, maybe empty).

    `route` is None for an entry that is not ours; `path` may be empty and may hold a token.
    """

    namespace: str
    service: str
    port: int
    ca_bundle: bytes
    route: str | None = None
    path: str = field(default="", repr=False)


def callers(configuration: Object) -> list[Caller]:
    """Return how the webhooks of a configuration are called, those left out that are called by URL."""
    found = []
    for webhook in configuration.get("webhooks") or []:
        client = webhook.get("clientConfig") or {}
        if service := client.get("service"):
            found.append(
                Caller(
                    namespace=service["namespace"],
                    service=service["name"],
                    port=int(service.get("port") or 443),
                    ca_bundle=decoded(client.get("caBundle") or ""),
                    route=route_of(webhook),
                    path=path_of(webhook) or "",
                )
            )
    return found


def bare_routes(configurations: Iterable[Object]) -> set[str]:
    """Return the routes that a configuration calls without a token."""
    found = (caller for configuration in configurations for caller in callers(configuration))
    return {caller.route for caller in found if caller.route and caller.path == caller.route}


def patch_of(
    configuration: Object, *, service: tuple[str, str], bundle: bytes | None, path: Path | None
) -> list[dict[str, Any]]:
    """Return the JSON patch that gives every webhook this bundle, and each of ours its path; empty if all have them.

    `service` is (namespace, name) of ours: a path with a token is written into no entry that calls another. None for
    `bundle` or `path` leaves that field alone. The patch only applies to the very copy it was made from: what was
    decided on an older one, another replica may have decided better since.
    """
    written = encoded(bundle) if bundle is not None else None
    operations: list[dict[str, Any]] = []
    for index, webhook in enumerate(configuration.get("webhooks") or []):
        client = webhook.get("clientConfig") or {}
        called = client.get("service") or {}
        if written is not None and client.get("caBundle") != written:
            operations.append(_add(index, "caBundle", written))
        route = route_of(webhook)
        if path is None or route is None or (called.get("namespace"), called.get("name")) != service:
            continue
        if (wanted := path(route, path_of(webhook))) != path_of(webhook):
            operations.append(_add(index, "service/path", wanted))
    if not operations:
        return []
    version = configuration["metadata"]["resourceVersion"]
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": version}, *operations]


def _add(index: int, field_path: str, value: str) -> dict[str, Any]:
    return {"op": "add", "path": f"/webhooks/{index}/clientConfig/{field_path}", "value": value}
