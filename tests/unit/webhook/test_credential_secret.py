"""Replicas agree on what the Secret holds: whoever loses a race judges what the winner wrote."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest

from allocator.kube.client import AlreadyExists, Cluster, Conflict, NotFound, Object
from webhook.credential_secret import CredentialSecret


@dataclass(frozen=True)
class Word:
    """What one field holds."""

    text: str

    def secret_data(self) -> Mapping[str, str]:
        return {"word": self.text}


class Api:
    """One Secret; before each of the next writes, somebody else makes it one of `others`."""

    def __init__(self, secret: Mapping[str, str] | None, *others: Mapping[str, str]) -> None:
        self.secret = self._of(secret, 1) if secret is not None else None
        self.others = list(others)
        self.version = 1

    @staticmethod
    def _of(data: Mapping[str, str], version: int) -> Object:
        return {"metadata": {"resourceVersion": str(version)}, "data": dict(data)}

    def _meanwhile(self) -> None:
        if self.others:
            self.version += 1
            self.secret = self._of(self.others.pop(0), self.version)

    def get(self, *_: Any) -> Object:
        if self.secret is None:
            raise NotFound(404, "NotFound", "no secret")
        return copy.deepcopy(self.secret)

    def create(self, _kind: object, secret: Object, _namespace: str) -> None:
        self._meanwhile()
        if self.secret is not None:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        self.secret = self._of(secret["data"], 1)

    def replace(self, _kind: object, secret: Object) -> None:
        self._meanwhile()
        assert self.secret is not None
        if secret["metadata"] != self.secret["metadata"]:
            raise Conflict(409, "Conflict", "version")
        self.secret = self._of(secret["data"], self.version + 1)

    @property
    def data(self) -> Mapping[str, str]:
        assert self.secret is not None
        return cast(Mapping[str, str], self.secret["data"])


def judge(stored: Mapping[str, str]) -> tuple[Word, str | None]:
    return (Word(stored["word"]), None) if stored.get("word") else (Word("made here"), "no word")


def mended(api: Api) -> tuple[Word, str | None]:
    others = {"other": "in use"}
    return CredentialSecret(cast(Cluster, api), namespace="n", others=lambda: others).mended(["word"], judge)


def test_what_is_sound_is_not_written() -> None:
    api = Api({"word": "kept", "foreign": "x"})
    assert mended(api) == (Word("kept"), None)
    assert api.data == {"word": "kept", "foreign": "x"}


def test_a_field_that_is_missing_is_added_and_those_of_others_stay() -> None:
    api = Api({"foreign": "x"})
    assert mended(api) == (Word("made here"), "no word")
    assert api.data == {"word": "made here", "foreign": "x"}


def test_a_secret_that_is_gone_is_made_with_whatever_is_in_use() -> None:
    api = Api(None)
    assert mended(api) == (Word("made here"), "there was none")
    assert api.data == {"word": "made here", "other": "in use"}


@pytest.mark.parametrize("before", [None, {}, {"foreign": "x"}])
def test_who_loses_a_race_takes_what_the_winner_wrote(before: Mapping[str, str] | None) -> None:
    api = Api(before, {"word": "the winner's"})
    assert mended(api) == (Word("the winner's"), None)
    assert api.data == {"word": "the winner's"}


def test_many_lost_races_are_left_for_later() -> None:
    with pytest.raises(Conflict, match="Secret n/metallb-webhook-cert"):
        mended(Api({}, *({"foreign": str(number)} for number in range(9))))
