"""Which path to register: the newest that every replica answers."""

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
        self._legacy_at = float("-inf")
        self._stale_at = float("-inf")
        self._stale: bytes | None = None

    def assume_legacy(self) -> None:
        """Take it that a replica without tokens was there a moment ago: the configurations carry a bare path."""
        self._legacy_at = self._clock()

    def choose(self, secrets: PathSecrets, ca_bundle: bytes) -> Choice:
        """Ask every replica, trusting this bundle. One that does not answer has no say."""
        now = self._clock()
        secret, certain = self._answered(secrets, ca_bundle)
        if secret is None:
            self._legacy_at = now
        elif secret != secrets.current:
            self._stale, self._stale_at = secret, now
        if now - self._legacy_at < LEAVING_SECONDS:
            return Choice(None)
        if now - self._stale_at < LEAVING_SECONDS and self._stale in secrets.former:
            return Choice(self._stale, certain)
        return Choice(secrets.current, certain)

    def _answered(self, secrets: PathSecrets, ca_bundle: bytes) -> tuple[bytes | None, bool]:
        """Return the newest secret whose tokens nobody refuses, None for none, and whether everybody has answered."""
        replicas = self._replicas.found()
        certain = True
        for secret in secrets.newest_first():
            path = path_with_token(secret, SERVICES)
            answers = {replica: self._replicas.answer(replica, path, ca_bundle) for replica in replicas}
            if Answer.LEGACY in answers.values():
                return None, True
            certain = not any(answer is Answer.SILENT and not replica.ready for replica, answer in answers.items())
            if Answer.STALE not in answers.values():
                return secret, certain
        return secrets.current, certain
