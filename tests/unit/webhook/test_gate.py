"""Which paths are answered: the one with a route's own token, and for a while those of before."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.gate import Gate
from webhook.path_token import PathSecrets, path_with_token
from webhook.routes import ROUTES, masked

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CURRENT, FORMER, FOREIGN = b"c" * 64, b"f" * 64, b"x" * 64
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    gate = Gate(settle_seconds=300, clock=clock)
    gate.use(PathSecrets(CURRENT, NOW, (FORMER,)))
    return gate


def test_a_token_is_the_hmac_of_its_route_in_hex() -> None:
    path = path_with_token(CURRENT, "/validate-v1-namespace")
    expected = hmac.new(CURRENT, b"/validate-v1-namespace", hashlib.sha256).hexdigest()
    assert path == f"/validate-v1-namespace/{expected}"
    # As the API server has it (validateWebhookService): a segment is a DNS subdomain, of labels of 63 at most... or
    # more, for a subdomain of one label is not held to a label's length.
    assert all(DNS_LABEL.fullmatch(segment) for segment in path.split("/")[1:])


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("secret", [CURRENT, FORMER])
def test_the_tokens_of_both_secrets_open_their_route(gate: Gate, route: str, secret: bytes) -> None:
    assert gate.route(path_with_token(secret, route)) == route


@pytest.mark.parametrize("route", ROUTES)
def test_no_other_path_opens_a_route(gate: Gate, route: str) -> None:
    own = path_with_token(CURRENT, route)
    others = [path_with_token(CURRENT, other).rpartition("/")[2] for other in ROUTES if other != route]
    refused = [
        *(f"{route}/{token}" for token in others),
        path_with_token(FOREIGN, route),
        route,
        f"{route}/",
        own.upper(),
        f"/{own}",
        f"{own}/",
        f"{own}0",
        own[:-1],
        f"{own}%00",
        "/",
        "",
    ]
    assert [path for path in refused if gate.route(path) is not None] == []


@given(st.text(max_size=200) | st.tuples(st.sampled_from(ROUTES), st.text(max_size=70)).map("/".join))
def test_whatever_is_guessed_opens_nothing(path: str) -> None:
    gate = Gate(settle_seconds=0)
    gate.use(PathSecrets(CURRENT, NOW, (FORMER,)))
    assert gate.route(path) is None


def test_before_the_secret_is_read_nothing_is_open() -> None:
    gate = Gate(settle_seconds=300)
    assert not gate.has_tokens
    assert [route for route in ROUTES if gate.route(path_with_token(b"", route)) or gate.route(route)] == []


def test_a_dropped_secret_opens_nothing_any_more(gate: Gate) -> None:
    gate.use(PathSecrets(CURRENT, NOW))
    assert [route for route in ROUTES if gate.route(path_with_token(FORMER, route))] == []


def test_a_bare_route_is_open_while_the_configuration_says_it_and_until_everybody_has_noticed(
    gate: Gate, clock: Clock
) -> None:
    route, other = ROUTES[:2]
    gate.answer_bare({route})
    assert (gate.route(route), gate.route(other)) == (route, None)
    clock.now += 1000
    assert gate.route(route) == route
    gate.answer_bare(set())
    clock.now += 299
    assert gate.route(route) == route
    clock.now += 1
    assert gate.route(route) is None


@pytest.mark.parametrize("route", ROUTES)
def test_a_masked_text_names_the_route_and_no_token(route: str) -> None:
    path = path_with_token(CURRENT, route)
    assert masked(f"POST {path}?timeout=3s failed") == f"POST {route}/<token>?timeout=3s failed"
