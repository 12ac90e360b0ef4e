"""What tests commit: the users' part of a repository, and edits of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable

from allocator.kube.client import Object
from tests.cluster.gitops.objects import documents
from tests.cluster.gitops.site import Site
from tests.lab.waiting import wait_until
from webhook.routes import path_of, route_of

_REGISTRATIONS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")

_USERS_PART = """
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: production, namespace: metallb-system}
spec: {addresses: [192.0.2.10-192.0.2.19], reuseDelaySeconds: 30}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: production, namespace: metallb-system}
spec: {ipAddressPools: [production]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{name: http, port: 80, protocol: TCP}]}
---
apiVersion: v1
kind: Service
metadata:
  name: api
  namespace: shop
  annotations: {metallb.io/loadBalancerIPs: 192.0.2.15, metallb.io/address-pool: production}
spec: {type: LoadBalancer, selector: {app: api}, ports: [{name: https, port: 443, protocol: TCP}]}
"""

_GREEDY_POOL = """
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: greedy, namespace: metallb-system}
spec: {addresses: [192.0.2.19-192.0.2.40]}
"""

_MALFORMED_POOL = """
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: odd, namespace: metallb-system}
spec: {addresses: [192.0.2.40-192.0.2.31]}
"""

_LATE_SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: late, namespace: shop}
spec: {type: LoadBalancer, selector: {app: late}, ports: [{name: http, port: 80, protocol: TCP}]}
"""

_EARLY_PART = """
apiVersion: v1
kind: Namespace
metadata: {name: early}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: early, namespace: metallb-system}
spec: {addresses: [198.51.100.32-198.51.100.35], autoAssign: false}
"""


def late_service() -> list[Object]:
    """One more Service, which asks for nothing."""
    return documents(_LATE_SERVICE)


def early_part() -> list[Object]:
    """A pool and something else, synced before anybody knows pools."""
    return documents(_EARLY_PART)


def users_part() -> list[Object]:
    """A pool, its advertisement, and two Services: `web` takes 192.0.2.10, `api` asks for 192.0.2.15."""
    return documents(_USERS_PART)


def greedy_pool() -> list[Object]:
    """A pool that overlaps the first."""
    return documents(_GREEDY_POOL)


def malformed_pool() -> list[Object]:
    """A pool that is wrong whatever else there is."""
    return documents(_MALFORMED_POOL)


def open_another_port(service: Object) -> None:
    """The Service gets a second port."""
    service["spec"]["ports"].append({"name": "alt", "port": 8080, "protocol": "TCP"})


def ask_for_nothing(service: Object) -> None:
    """The annotations go."""
    del service["metadata"]["annotations"]


def ask_for_two_of_one_family(service: Object) -> None:
    """The Service contradicts itself."""
    service["metadata"]["annotations"]["metallb.io/loadBalancerIPs"] = "192.0.2.15,192.0.2.16"


def paths_in_git(objects: Iterable[Object]) -> list[Object]:
    """Return a commit as it was while manifests named the webhook's paths, without a token."""
    before = copy.deepcopy(list(objects))
    for obj in before:
        for webhook in obj.get("webhooks") or ():
            webhook["clientConfig"]["service"]["path"] = route_of(webhook)
    return before


def wait_tokens(site: Site, git: Iterable[Object]) -> None:
    """Wait for the paths with tokens in both webhook configurations: a second is all they may take."""

    def in_force() -> bool:
        live = [site.api.live(obj) for obj in git if obj["kind"] in _REGISTRATIONS]
        return all(_has_token(webhook) for obj in live if obj is not None for webhook in obj["webhooks"])

    wait_until(in_force, 1, "every path has a token", interval_seconds=0.05)


def _has_token(webhook: Object) -> bool:
    return re.fullmatch(rf"{route_of(webhook)}/[0-9a-f]{{64}}", path_of(webhook) or "") is not None
