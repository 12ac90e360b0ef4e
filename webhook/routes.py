"""Which admission route each registered webhook calls.

The manifests leave the path out: registration writes it, with a token (see `path_token`). What an entry of a webhook
configuration is for is seen from the resources in its rules.
"""

from __future__ import annotations

import re
from typing import Any

from allocator.kube import resource
from allocator.rules.kinds import KINDS
from webhook.app import Handler
from webhook.review import AdmissionRequest, Answer, MalformedReview

SERVICES = "/mutate-v1-service"

_BY_RESOURCE = {
    (resource.SERVICES.group, resource.SERVICES.plural): SERVICES,
    **{(kind.resource.group, kind.resource.plural): kind.path for kind in KINDS},
}
ROUTES = tuple(dict.fromkeys(_BY_RESOURCE.values()))
_BY_KIND = {
    (resource.SERVICES.group, resource.SERVICES.kind): SERVICES,
    **{(kind.resource.group, kind.resource.kind): kind.path for kind in KINDS},
}

_TOKEN = re.compile(r"/[0-9a-f]{64}(?![0-9a-f])")


def route_of(webhook: dict[str, Any]) -> str | None:
    """Return the route that one entry of a webhook configuration is for; None for an entry that is not ours.

    An entry is ours if it asks about resources of one route and no others, whatever it is called: MetalLB's own, left
    behind in the configuration by a Helm release, are answered as well.
    """
    routes = {
        _BY_RESOURCE.get((group, plural.partition("/")[0]))
        for rule in webhook.get("rules") or []
        for group in rule.get("apiGroups") or []
        for plural in rule.get("resources") or []
    }
    return routes.pop() if len(routes) == 1 else None


def only_its_kinds(route: str, handler: Handler) -> Handler:
    """Return the handler of a route that answers reviews of the route's kinds: a token opens no other route, neither
    by path nor by what the body says. It raises MalformedReview for the rest."""

    def answer(request: AdmissionRequest) -> Answer:
        if _BY_KIND.get((request.group, request.kind)) != route:
            raise MalformedReview("request.kind", f"{request.group}/{request.kind} is not reviewed at {route}")
        return handler(request)

    return answer


def path_of(webhook: dict[str, Any]) -> str | None:
    """Return the path an entry is called at; None where it has none."""
    path = ((webhook.get("clientConfig") or {}).get("service") or {}).get("path")
    return path if isinstance(path, str) and path else None


def masked(text: str) -> str:
    """Return a text without any token in it, for logs and messages."""
    return _TOKEN.sub("/<token>", text)
