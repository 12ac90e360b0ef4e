"""Ready is whose paths and trust are registered; what is written, and when a writer gives way."""

from __future__ import annotations

import base64
import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from allocator.kube.client import Cluster, NotFound
from allocator.kube.reflector import Reflector
from allocator.kube.resource import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, Resource
from webhook.gate import Gate
from webhook.path_choice import PathChoice
from webhook.path_secret_manager import PathSecretManager
from webhook.path_token import PathSecrets, path_with_token
from webhook.registration import Registration
from webhook.replicas import Answer, Replica
from webhook.routes import ROUTES, SERVICES, path_of

NAME, OURS = "webhooks", ("metallb-system", "webhook")
SECRETS = PathSecrets(b"c" * 64, datetime(2026, 1, 1, tzinfo=UTC))
BUNDLE = base64.b64encode(b"whom to trust").decode()
POOLS = "/validate-metallb-io-v1beta1-ipaddresspool"


class Stored:
    """The two configurations, as API server and mirror have them, and the replicas behind the Service."""

    def __init__(self) -> None:
        self.objects: dict[Resource, Any] = {
            MUTATING_WEBHOOKS: self.configuration([""], "services"),
            VALIDATING_WEBHOOKS: self.configuration(["metallb.io"], "ipaddresspools"),
        }
        self.patches = 0
        self.legacy = False

    def configuration(self, groups: list[str], plural: str) -> dict[str, Any]:
        service = {"namespace": OURS[0], "name": OURS[1]}
        entry = {
            "clientConfig": {"service": service, "caBundle": BUNDLE},
            "rules": [{"apiGroups": groups, "resources": [plural]}],
        }
        return {"metadata": {"name": NAME, "resourceVersion": "1"}, "webhooks": [entry]}

    def paths(self) -> dict[Resource, str | None]:
        return {resource: path_of(obj["webhooks"][0]) for resource, obj in self.objects.items()}

    def set_path(self, resource: Resource, path: str | None) -> None:
        service = self.objects[resource]["webhooks"][0]["clientConfig"]["service"]
        service.pop("path", None)
        if path is not None:
            service["path"] = path

    def get(self, resource: Resource, _name: str) -> Any:
        if resource not in self.objects:
            raise NotFound(404, "NotFound", "")
        return copy.deepcopy(self.objects[resource])

    def patch(self, resource: Resource, _name: str, operations: list[dict[str, Any]], **_: Any) -> None:
        self.patches += 1
        for operation in operations:
            if operation["path"].endswith("/service/path"):
                self.set_path(resource, operation["value"])

    def secrets(self) -> PathSecrets:
        return SECRETS

    check = secrets

    def found(self) -> tuple[Replica, ...]:
        return (Replica("192.0.2.1", 9443, "", True),)

    def answer(self, *_: Any) -> Answer:
        return Answer.LEGACY if self.legacy else Answer.ACCEPTED


@dataclass
class Mirror:
    stored: Stored
    resource: Resource
    synced: bool = field(default=True)

    def get(self, _namespace: str, _name: str) -> Any:
        return self.stored.objects.get(self.resource)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stored() -> Stored:
    return Stored()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("webhook.registration.time.monotonic", clock)
    return clock


@pytest.fixture
def registration(stored: Stored, clock: Clock) -> Registration:
    gate = Gate(settle_seconds=300, clock=clock)
    gate.use(SECRETS)
    made = Registration(
        cast(Cluster, stored),
        name=NAME,
        service=OURS,
        authority=None,
        path_secrets=cast(PathSecretManager, stored),
        gate=gate,
        choice=PathChoice(stored, clock=clock),
        settle_seconds=300,
        on_change=lambda: None,
    )
    made._mirrors = {resource: cast(Reflector, Mirror(stored, resource)) for resource in stored.objects}
    return made


def tokens() -> dict[Resource, str | None]:
    return {
        MUTATING_WEBHOOKS: path_with_token(SECRETS.current, SERVICES),
        VALIDATING_WEBHOOKS: path_with_token(SECRETS.current, POOLS),
    }


def test_ready_is_whose_paths_are_registered(registration: Registration, stored: Stored) -> None:
    assert POOLS in ROUTES
    for resource, path in tokens().items():
        stored.set_path(resource, path)
    assert registration.problems() == []
    foreign = path_with_token(b"x" * 64, POOLS)
    for wrong in (None, foreign, POOLS, path_with_token(SECRETS.current, SERVICES)):
        stored.set_path(VALIDATING_WEBHOOKS, wrong)
        (problem,) = registration.problems()
        assert problem.endswith(f"has a path that is not answered here, for {POOLS}")
        assert foreign.rpartition("/")[2] not in problem


def test_ready_is_who_is_trusted(registration: Registration, stored: Stored) -> None:
    for resource, path in tokens().items():
        stored.set_path(resource, path)
    del stored.objects[MUTATING_WEBHOOKS]["webhooks"][0]["clientConfig"]["caBundle"]
    (problem,) = registration.problems()
    assert problem.endswith("carries no caBundle")


def test_a_configuration_that_is_missing_counts_until_it_has_been_right_once(
    registration: Registration, stored: Stored
) -> None:
    missing = stored.objects.pop(VALIDATING_WEBHOOKS)
    registration._register()
    assert [problem.partition(" webhooks ")[2] for problem in registration.problems()] == ["does not exist"]
    stored.objects[VALIDATING_WEBHOOKS] = missing
    registration._register()
    del stored.objects[VALIDATING_WEBHOOKS]
    assert registration.problems() == []


def test_both_get_their_tokens_once(registration: Registration, stored: Stored) -> None:
    registration._register()
    assert (stored.paths(), stored.patches) == (tokens(), 2)
    registration._register()
    assert stored.patches == 2


def test_beside_a_release_without_tokens_its_paths_are_written(
    registration: Registration, stored: Stored, clock: Clock
) -> None:
    stored.legacy = True
    registration._register()
    assert stored.paths() == {MUTATING_WEBHOOKS: SERVICES, VALIDATING_WEBHOOKS: POOLS}
    assert registration.problems() == []
    stored.legacy = False
    clock.now += 11
    registration._register()
    assert stored.paths() == tokens()


def test_nobody_is_fought_over_a_bare_path(registration: Registration, stored: Stored, clock: Clock) -> None:
    registration._register()
    for _ in range(100):
        if stored.paths() == tokens():
            stored.set_path(MUTATING_WEBHOOKS, SERVICES)
        registration._register()
        assert registration.problems() == []
        clock.now += 60
    assert stored.patches <= 2 + 100 * 60 / 300 + 1


def test_a_path_that_opens_nothing_is_put_right_though_somebody_insists_on_a_bare_one(
    registration: Registration, stored: Stored
) -> None:
    registration._register()
    for _ in range(3):
        stored.set_path(MUTATING_WEBHOOKS, SERVICES)
        registration._register()
    for wrong in (None, "/elsewhere", path_with_token(b"x" * 64, SERVICES)):
        stored.set_path(MUTATING_WEBHOOKS, wrong)
        registration._register()
        assert stored.paths() == tokens()
