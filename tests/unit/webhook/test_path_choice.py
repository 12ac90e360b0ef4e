"""Which path is registered while replicas of two releases, or with two secrets, are behind one Service."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.kube.client import ApiError, Cluster, NotFound, Object, Unavailable
from allocator.kube.resource import Resource
from webhook.path_choice import LEAVING_SECONDS, Choice, PathChoice
from webhook.path_token import PathSecrets, path_with_token
from webhook.replicas import Answer, Replica, Replicas, replicas_in
from webhook.routes import SERVICES

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CURRENT, FORMER, OLDEST = b"c" * 64, b"f" * 64, b"o" * 64
SECRETS = PathSecrets(CURRENT, NOW, (FORMER, OLDEST))
BUNDLE = b"whom to trust"
PATHS = {path_with_token(secret, SERVICES): secret for secret in SECRETS.newest_first()}
NEW, STALE, OLD_RELEASE, STARTING = "new", "stale", "old release", "starting"


@dataclass
class Behind:
    """The replicas behind the Service: what each of them is, and whether it is ready."""

    replicas: list[tuple[str, bool]] = field(default_factory=list)
    now: float = 100.0

    def clock(self) -> float:
        return self.now

    def found(self) -> tuple[Replica, ...]:
        return tuple(Replica("192.0.2.1", number, "", ready) for number, (_, ready) in enumerate(self.replicas))

    def answer(self, replica: Replica, path: str, ca_bundle: bytes) -> Answer:
        assert ca_bundle == BUNDLE
        kind = self.replicas[replica.port][0]
        if kind == STALE:
            return Answer.STALE if PATHS[path] == CURRENT else Answer.ACCEPTED
        return {NEW: Answer.ACCEPTED, OLD_RELEASE: Answer.LEGACY, STARTING: Answer.SILENT}[kind]


@pytest.mark.parametrize(
    ("replicas", "choice"),
    [
        ([], Choice(CURRENT)),
        ([(NEW, True), (NEW, False)], Choice(CURRENT)),
        ([(NEW, True), (STALE, True)], Choice(FORMER)),
        ([(STALE, False)], Choice(FORMER)),
        ([(NEW, True), (OLD_RELEASE, True)], Choice(None)),
        ([(NEW, True), (OLD_RELEASE, False)], Choice(None)),
        ([(STALE, True), (OLD_RELEASE, True)], Choice(None)),
        ([(NEW, True), (STARTING, False)], Choice(CURRENT, certain=False)),
        ([(NEW, True), (STARTING, True)], Choice(CURRENT)),
    ],
)
def test_the_newest_path_that_every_replica_answers(replicas: list[tuple[str, bool]], choice: Choice) -> None:
    behind = Behind(replicas)
    assert PathChoice(behind, clock=behind.clock).choose(SECRETS, BUNDLE) == choice


@pytest.mark.parametrize(("last", "kept"), [(STALE, Choice(FORMER)), (OLD_RELEASE, Choice(None))])
def test_a_replica_that_left_is_still_reckoned_with_for_a_while(last: str, kept: Choice) -> None:
    behind = Behind([(NEW, True), (last, True)])
    choice = PathChoice(behind, clock=behind.clock)
    choice.choose(SECRETS, BUNDLE)
    behind.replicas = [(NEW, True), (NEW, True)]
    behind.now += LEAVING_SECONDS - 0.1
    assert choice.choose(SECRETS, BUNDLE) == kept
    behind.now += 0.2
    assert choice.choose(SECRETS, BUNDLE) == Choice(CURRENT)


def test_a_former_secret_that_nobody_answers_any_more_is_not_kept_to() -> None:
    behind = Behind([(STALE, True)])
    choice = PathChoice(behind, clock=behind.clock)
    choice.choose(SECRETS, BUNDLE)
    behind.replicas = [(NEW, True)]
    assert choice.choose(PathSecrets(CURRENT, NOW), BUNDLE) == Choice(CURRENT)


def test_a_replica_that_finds_a_bare_path_reckons_with_one_that_leaves() -> None:
    behind = Behind([(NEW, True)])
    choice = PathChoice(behind, clock=behind.clock)
    choice.assume_legacy()
    assert choice.choose(SECRETS, BUNDLE) == Choice(None)
    behind.now += LEAVING_SECONDS
    assert choice.choose(SECRETS, BUNDLE) == Choice(CURRENT)


_KIND = st.tuples(st.sampled_from([NEW, STALE, OLD_RELEASE, STARTING]), st.booleans())


@given(st.lists(st.tuples(st.lists(_KIND, max_size=4), st.floats(0, 30)), max_size=20))
def test_no_replica_that_answered_a_moment_ago_is_called_at_a_path_it_refuses(
    states: list[tuple[list[tuple[str, bool]], float]],
) -> None:
    behind = Behind()
    choice = PathChoice(behind, clock=behind.clock)
    seen: dict[str, float] = {}
    for replicas, seconds in states:
        behind.replicas, behind.now = replicas, behind.now + seconds
        seen |= {kind: behind.now for kind, _ in replicas}
        chosen = choice.choose(SECRETS, BUNDLE).secret
        lately = {kind for kind, at in seen.items() if behind.now - at < LEAVING_SECONDS}
        assert (chosen is None) is (OLD_RELEASE in lately)
        assert chosen != CURRENT or STALE not in lately


def endpoint(address: str, uid: str = "", **conditions: bool) -> Object:
    return {"addresses": [address], "conditions": conditions, **({"targetRef": {"uid": uid}} if uid else {})}


SLICES: list[Object] = [
    {
        "endpoints": [
            endpoint("10.0.0.1", "a", ready=True),
            endpoint("10.0.0.2", "b", ready=False),
            endpoint("10.0.0.3", "c", ready=False, serving=True, terminating=True),
        ],
        "ports": [{"name": "metrics", "port": 9120}, {"name": "webhook", "port": 9443}],
    },
    {"endpoints": [endpoint("fd00::1")], "ports": [{"port": 8443}]},
    {"endpoints": [endpoint("10.0.0.4")], "ports": None},
    {"endpoints": None, "ports": [{"port": 8443}]},
]
REPLICAS = (
    Replica("10.0.0.1", 9443, "a", True),
    Replica("10.0.0.2", 9443, "b", False),
    Replica("fd00::1", 8443, "", True),
)


def test_endpoints_are_read_with_their_pods() -> None:
    assert replicas_in(SLICES) == REPLICAS
    assert replicas_in([]) == ()


class Api:
    """An API server that serves EndpointSlices in these versions."""

    def __init__(self, *versions: str, error: ApiError | None = None) -> None:
        self.versions = versions
        self.error = error

    def list(self, kind: Resource, namespace: str, *, label_selector: str) -> Object:
        assert (kind.plural, namespace) == ("endpointslices", "metallb-system")
        assert label_selector == "kubernetes.io/service-name=webhook"
        if self.error is not None:
            raise self.error
        if kind.version not in self.versions:
            raise NotFound(404, "NotFound", "the server could not find the requested resource")
        return {"items": SLICES}


@pytest.mark.parametrize(
    ("api", "found"),
    [
        (Api("v1"), REPLICAS),
        (Api("v1", "v1beta1"), REPLICAS),
        (Api("v1beta1"), REPLICAS),
        (Api(), ()),
        (Api("v1", error=ApiError(403, "Forbidden", "no")), ()),
        (Api("v1", error=Unavailable(0, "Timeout", "late")), ()),
    ],
)
def test_replicas_are_read_from_slices_of_the_version_that_is_served(api: Api, found: tuple[Replica, ...]) -> None:
    assert Replicas(cast(Cluster, api), namespace="metallb-system", service="webhook").found() == found
