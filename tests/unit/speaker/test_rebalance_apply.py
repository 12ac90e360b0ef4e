"""Making moves: one after the other, whatever becomes of those before."""

from __future__ import annotations

from typing import Any

import pytest

from allocator.core.addresses import Address
from allocator.kube.client import NotFound, Object, Unavailable
from allocator.objects.names import MOVE_TO_NODE_ANNOTATION
from speaker.rebalance import command
from speaker.rebalance.spread import Move

FIRST, SECOND, THIRD = (Address.parse(f"192.0.2.{number}") for number in (1, 2, 3))


class Api:
    """IPAllocations by name; a request to move one is met when it is looked at for the second time."""

    def __init__(self, *addresses: Address) -> None:
        self.claims: dict[str, Object] = {address.claim_name: {"metadata": {}} for address in addresses}
        self.away = 0
        """How many of the next questions go unanswered."""

    def patch(self, _: Any, name: str, body: Object) -> Object:
        claim = self.get(None, name)
        claim["metadata"]["annotations"] = dict(body["metadata"]["annotations"])
        return claim

    def get(self, _: Any, name: str) -> Object:
        if name not in self.claims:
            raise NotFound(404, "NotFound", name)
        if self.away:
            self.away -= 1
            raise Unavailable(503, "ServiceUnavailable", "etcd has no leader")
        claim = self.claims[name]
        target = (claim["metadata"].get("annotations") or {}).get(MOVE_TO_NODE_ANNOTATION)
        if target and claim.setdefault("looked", False):
            claim["status"] = {"announcedBy": {"node": target}}
        claim["looked"] = bool(target)
        return claim


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_LOOK_SECONDS", 0.0)


def make(api: Any, *addresses: Address) -> bool:
    return command._make(api, [Move(addresses=(address,), source="node-a", target="node-b") for address in addresses])


def test_an_address_that_was_released_meanwhile_keeps_the_others_from_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    api = Api(FIRST, THIRD)
    assert not make(api, FIRST, SECOND, THIRD)
    told = capsys.readouterr().err.splitlines()
    assert [" moved in " in line for line in told] == [True, False, True]
    assert told[1].endswith("192.0.2.2: node-a -> node-b, not moved: it was released meanwhile")


def test_an_api_server_that_is_away_for_a_moment_ends_no_wait(capsys: pytest.CaptureFixture[str]) -> None:
    api = Api(FIRST)
    plain = api.patch

    def patched(*args: Any) -> Object:
        found = plain(*args)
        api.away = 3
        return found

    api.patch = patched  # type: ignore[method-assign, assignment]
    assert make(api, FIRST)
    assert "moved in" in capsys.readouterr().err


def test_one_that_stays_away_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "_LONGEST_SECONDS", 0.05)
    api = Api(FIRST)
    plain = api.patch

    def patched(*args: Any) -> Object:
        found = plain(*args)
        api.away = 10**9
        return found

    api.patch = patched  # type: ignore[method-assign, assignment]
    assert not make(api, FIRST)
    assert "does not announce it after 0.05 s; the API server says 503" in capsys.readouterr().err
