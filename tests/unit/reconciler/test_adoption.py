"""Adoption ends when all that Services show is claimed: a server in trouble is waited for, a refusal is not."""

from __future__ import annotations

import pytest

from allocator.allocation.claim_writer import LostRace
from allocator.kube.client import ApiError, Conflict, Object, Unavailable
from allocator.kube.lease import NotCurrent, NotLeading
from allocator.reconciler import adoption
from allocator.reconciler.adoption import Adoption

SERVICE: Object = {"metadata": {"namespace": "prod", "name": "web"}}
OTHER: Object = {"metadata": {"namespace": "prod", "name": "other"}}
LONG = 9


class Secure:
    """Fails so often, for the Service `web`."""

    def __init__(self, error: Exception, *, times: int) -> None:
        self.error, self.left = error, times
        self.secured: list[str] = []

    def __call__(self, service: Object) -> None:
        name = service["metadata"]["name"]
        if name == "web" and self.left:
            self.left -= 1
            raise self.error
        self.secured.append(name)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "_RETRY_SECONDS", (0.0,) * 4)


@pytest.mark.parametrize(
    "error",
    [
        LostRace("prod/web"),
        Unavailable(503, "ServiceUnavailable", "starting"),
        ApiError(500, "InternalError", "etcdserver: leader changed"),
        ApiError(500, "Unknown", "etcdserver: no leader"),
    ],
)
def test_what_passes_is_waited_for(error: Exception) -> None:
    secure = Secure(error, times=LONG)
    Adoption(secure).run([SERVICE, OTHER])
    assert sorted(secure.secured) == ["other", "web"]


@pytest.mark.parametrize("error", [ApiError(403, "Forbidden", "no"), ApiError(422, "Invalid", "no"), KeyError("x")])
def test_what_is_refused_keeps_nobody_else_waiting(error: Exception) -> None:
    secure = Secure(error, times=LONG)
    adopting = Adoption(secure)
    adopting.run([SERVICE, OTHER])
    assert secure.secured == ["other"]
    assert secure.left >= LONG - 4
    assert adopting.problems() == []


def test_leadership_that_ends_ends_it() -> None:
    with pytest.raises(NotLeading):
        Adoption(Secure(NotLeading("lost"), times=1)).run([SERVICE])


def test_a_conflict_of_another_kind_is_tried_again() -> None:
    secure = Secure(Conflict(409, "Conflict", "version"), times=3)
    Adoption(secure).run([SERVICE])
    assert secure.secured == ["web"]


def test_one_that_is_stopped_does_not_say_that_all_is_claimed() -> None:
    adopting = Adoption(lambda _: adopting.stop())
    with pytest.raises(NotLeading, match="before all"):
        adopting.run([SERVICE, OTHER])


def test_once_stopped_nothing_is_said_to_be_claimed() -> None:
    adopting = Adoption(Secure(KeyError("x"), times=0))
    adopting.stop()
    with pytest.raises(NotLeading, match="before all"):
        adopting.run([])


def test_an_adoption_waits_where_the_leader_has_to() -> None:
    secure = Secure(NotCurrent("services are not watched"), times=2)
    Adoption(secure).run([SERVICE])
    assert (secure.left, secure.secured) == (0, ["web"])
