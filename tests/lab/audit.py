"""What users asked of the API server, as its own audit log has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

import yaml

from allocator.kube.client import Object


@dataclass(frozen=True, slots=True)
class Request:
    """One kind of request: `name` is empty where the request names no object, `namespace` where it has none."""

    user: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str

    @property
    def path(self) -> str:
        """`resource` or `resource/subresource`, as a role has it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The log of one control plane: who asked for what, but not what was in it."""

    directory: Path

    def flags(self, users: Sequence[str]) -> list[str]:
        """Write the policy that records these users' requests; return the API server's flags for it."""
        rules = [{"level": "Metadata", "users": list(users)}, {"level": "None"}]
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "rules": rules,
        }
        self._policy.write_text(yaml.safe_dump(policy))
        return [f"--audit-policy-file={self._policy}", f"--audit-log-path={self._log}"]

    def mark(self) -> int:
        """Return where the log ends now, for `requests`; it begins with the first request of one of the users."""
        return self._log.stat().st_size if self._log.exists() else 0

    def requests(self, user: str, *, since: int = 0) -> set[Request]:
        """Return what the user has asked for since a mark, whatever the answer was, if it was for a resource."""
        # The last line may still be on its way.
        lines = self._log.read_bytes()[since:].rpartition(b"\n")[0].splitlines()
        events = [event for event in map(json.loads, lines) if event["user"]["username"] == user]
        asked = {_request(event) for event in events if "objectRef" in event}
        # An apply of what is not there is a patch that has to be granted a creation as well.
        created = {
            replace(_request(event), verb="create", name="")
            for event in events
            if event["verb"] == "patch" and event.get("responseStatus", {}).get("code") == HTTPStatus.CREATED
        }
        return asked | created

    @property
    def _policy(self) -> Path:
        return self.directory / "audit-policy.yaml"

    @property
    def _log(self) -> Path:
        return self.directory / "audit.jsonl"


def _request(event: Object) -> Request:
    reference = event["objectRef"]
    return Request(
        user=event["user"]["username"],
        verb=event["verb"],
        group=reference.get("apiGroup", ""),
        resource=reference["resource"],
        subresource=reference.get("subresource", ""),
        namespace=reference.get("namespace", ""),
        # A create's name is in its body, where authorization does not see it.
        name="" if event["verb"] == "create" else reference.get("name", ""),
    )
