"""Which path the API server should be told: the newest that every replica answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from webhook.path_token import PathSecrets, path_with_token
from webhook.replicas import Answer, Replica
from webhook.routes import SERVICES

LEAVING_SECONDS = 10.0
"""How long a replica that is no endpoint any more may still be asked, over a connection from before."""


class Asked(Protocol):
    """The replicas behind the Service."""

    def found(self) -> tuple[Replica, ...]:
        """Return the Service's endpoints."""

    def answer(self, replica: Replica, path: str, ca_bundle: bytes) -> Answer:
        """Return what one makes of a path."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Whose tokens to register: those of `secret`, or where it is None the bare routes of releases without tokens.

    `certain` unless a replica that starts has not said yet what it answers: then a path that works is to stay.
    """

    secret: bytes | None = field(repr=False)
    certain: bool = True

    def path(self, route: str) -> str:
        """Return the path to register for a route."""
        return route if self.secret is None else path_with_token(self.secret, route)


class PathChoice:
    """Chooses by what the replicas answer, and keeps to a former path until those that left are asked no more.

    Used by the registration's thread alone.
    """

    def __init__(self, replicas: Asked, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._replicas = replicas
        self._clock = clock
        self._behind: bytes | None = None
        self._behind_at = float("-inf")

    def assume_legacy(self) -> None:
        """Take it that a replica without tokens was there a moment ago: the configurations carry a bare path."""
        self._behind, self._behind_at = None, self._clock()

    def choose(self, secrets: PathSecrets, ca_bundle: bytes) -> Choice:
        """Ask every replica, trusting this bundle. One that does not answer has no say."""
        replicas = self._replicas.found()
        certain = True
        for secret in secrets.newest_first():
            path = path_with_token(secret, SERVICES)
            answers = {replica: self._replicas.answer(replica, path, ca_bundle) for replica in replicas}
            if Answer.LEGACY in answers.values():
                self._behind, self._behind_at = None, self._clock()
                return Choice(None)
            certain = not any(answer is Answer.SILENT and not replica.ready for replica, answer in answers.items())
            if Answer.STALE in answers.values():
                continue
            if secret != secrets.current:
                self._behind, self._behind_at = secret, self._clock()
                return Choice(secret, certain)
            break
        lately = self._clock() - self._behind_at < LEAVING_SECONDS
        if lately and (self._behind is None or self._behind in secrets.former):
            return Choice(self._behind, certain)
        return Choice(secrets.current, certain)
