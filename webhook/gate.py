"""Whom the webhook answers: a request whose path ends in a token that is in force, decided from the path alone."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Collection

from webhook.path_token import PathSecrets, path_with_token
from webhook.routes import ROUTES


class Gate:
    """Turns a path into the route it opens, in a time that does not depend on how much of a token is right.

    The bare route, without a token, is the path of releases that had none. It opens a route only while the webhook
    configurations say it, and for `settle_seconds` after, until every API server has noticed.
    """

    def __init__(
        self,
        *,
        settle_seconds: float,
        routes: Collection[str] = ROUTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._routes = tuple(routes)
        self._settle_seconds = settle_seconds
        self._clock = clock
        # Replaced whole by the thread that reads the Secret; serving threads read it.
        self._paths: dict[str, tuple[bytes, ...]] = {}
        # `_lock` owns the two: which bare routes the configurations carry, and until when others are answered.
        self._lock = threading.Lock()
        self._bare: frozenset[str] = frozenset()
        self._bare_until: dict[str, float] = {}

    def use(self, secrets: PathSecrets) -> None:
        """Answer the tokens of these secrets, and no others, from now on."""
        self._paths = {
            route: tuple(path_with_token(secret, route).encode() for secret in secrets.newest_first())
            for route in self._routes
        }

    @property
    def has_tokens(self) -> bool:
        """Whether there is any token to compare with."""
        return bool(self._paths)

    def answer_bare(self, routes: Collection[str]) -> None:
        """Answer the bare paths of these routes: the ones that the configurations carry now."""
        with self._lock:
            ended = self._bare.difference(routes)
            self._bare = frozenset(routes)
            for route in ended:
                self._bare_until[route] = self._clock() + self._settle_seconds

    def route(self, path: str) -> str | None:
        """Return the route that this path opens, None where it opens none."""
        given = path.encode("utf-8", "surrogateescape")
        opened = None
        for route, paths in self._paths.items():
            for known in paths:
                if hmac.compare_digest(given, known):
                    opened = route
        if opened is None and path in self._routes and self._is_bare_answered(path):
            return path
        return opened

    def _is_bare_answered(self, route: str) -> bool:
        with self._lock:
            return route in self._bare or self._clock() < self._bare_until.get(route, 0.0)
