"""What the runbook says is refused while no webhook runs is what the manifests have the API server refuse."""

from __future__ import annotations

import re

import pytest

from tests.unit.manifests.documents import shipped
from tests.unit.reference.kinds import ROOT

RUNBOOK = (ROOT / "docs" / "runbooks.md").read_text()
SECTION = RUNBOOK.partition("## AdmitLBWebhookDown")[2].partition("\n## ")[0]
SAID = {"Fail": "refused", "Ignore": "not checked", None: "never checked"}


def policies() -> dict[tuple[str, str], str]:
    """By resource and operation."""
    found = {}
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        for configuration in shipped(kind):
            for webhook in configuration["webhooks"]:
                for rule in webhook["rules"]:
                    for resource in rule["resources"]:
                        for operation in rule["operations"]:
                            found[resource, operation] = webhook["failurePolicy"]
    return found


def rows() -> dict[str, tuple[str, str]]:
    """What the table says of each resource: of creating and changing it, and of deleting it."""
    found: dict[str, tuple[str, str]] = {}
    for resources, change, delete in re.findall(r"^\| (`[^|]*) \| ([^|]*) \| ([^|]*) \|$", SECTION, re.M):
        found |= {resource: (change, delete) for resource in re.findall(r"`(\w+)`", resources)}
    return {resource: said for resource, said in found.items() if said[0] in SAID.values()}


POLICIES = policies()


@pytest.mark.parametrize("resource", sorted({resource for resource, _ in POLICIES}))
def test_the_runbook_says_what_is_refused(resource: str) -> None:
    change = {POLICIES.get((resource, operation)) for operation in ("CREATE", "UPDATE")}
    assert len(change) == 1
    assert rows()[resource] == (SAID[change.pop()], SAID[POLICIES.get((resource, "DELETE"))])


def test_the_runbook_has_no_other_resources() -> None:
    assert rows().keys() == {resource for resource, _ in POLICIES}
