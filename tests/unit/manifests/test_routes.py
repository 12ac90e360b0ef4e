"""The API server is told of exactly the paths that the webhook serves."""

from __future__ import annotations

import subprocess
import sys

from allocator.kube import resource
from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.rules.kinds import KINDS
from tests.unit.manifests.documents import ROOT, named, shipped
from webhook.routes import ROUTES, route_of

PATHS: dict[str, set[Resource]] = {"/mutate-v1-service": {resource.SERVICES}}
for kind in KINDS:
    PATHS.setdefault(kind.path, set()).add(kind.resource)


def test_every_path_is_served_and_every_served_path_is_registered() -> None:
    program = [sys.executable, "-m", "tests.unit.manifests.routes_program"]
    done = subprocess.run(program, check=True, cwd=ROOT, capture_output=True, text=True, timeout=60)

    registered = {
        route_of(webhook)
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        for obj in shipped(kind)
        for webhook in obj["webhooks"]
    }

    answered = dict(line.split() for line in done.stdout.splitlines())
    assert registered == set(answered) == set(PATHS) == set(ROUTES)
    assert set(answered.values()) == {"400"}, "a review of a kind that is another route's, or nobody's"


def test_a_path_gets_the_resources_that_its_handler_reads() -> None:
    found: dict[str, set[tuple[str, str, str]]] = {}
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        for webhook in named(kind, names.WEBHOOK_CONFIGURATION)["webhooks"]:
            path = route_of(webhook)
            assert path is not None
            for rule in webhook["rules"]:
                for version in rule["apiVersions"]:
                    for group in rule["apiGroups"]:
                        found.setdefault(path, set()).update((group, version, plural) for plural in rule["resources"])

    for path, resources in PATHS.items():
        assert {(one.group, one.version, one.plural) for one in resources} <= found[path]
        assert {plural for _, _, plural in found[path]} == {one.plural for one in resources}
