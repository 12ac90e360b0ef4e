"""The token at the end of every admission path, and the secret that all tokens come from.

A path is its route and HMAC-SHA256(secret, route) as 64 lower-case hex digits: the API server demands that each
segment of a path is a DNS subdomain. A token opens its own route and no other, because the API server prints the
path of a failing webhook to whoever it refuses. Only `mend_path_secrets` draws random numbers; nothing reads a clock.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from webhook.secret_fields import decoded, encoded

PATH_SECRET_FIELD = "path-secret"  # noqa: S105  the field's name
FORMER_FIELD = "path-secret-former"
MADE_FIELD = "path-secret-made"

SECRET_LIFETIME = timedelta(days=90)
_SHORTEST_SECRET_BYTES = 32
_MOST_FORMER = 3
_CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PathSecrets:
    """The secret whose tokens are registered, and former ones whose tokens are still answered, newest first."""

    current: bytes = field(repr=False)
    made: datetime
    former: tuple[bytes, ...] = field(default=(), repr=False)

    def newest_first(self) -> tuple[bytes, ...]:
        """Return every secret whose tokens are answered."""
        return (self.current, *self.former)

    def secret_data(self) -> dict[str, str]:
        """Return these as fields of a Secret's `data`; a field that is empty is to be removed."""
        former = "\n".join(encoded(secret) for secret in self.former).encode()
        fields = {
            PATH_SECRET_FIELD: self.current,
            FORMER_FIELD: former,
            MADE_FIELD: f"{self.made:%Y-%m-%dT%H:%M:%SZ}".encode(),
        }
        return {name: encoded(value) for name, value in fields.items()}


def path_with_token(secret: bytes, route: str) -> str:
    """Return the path at which `route` is called by whoever knows the token."""
    return f"{route}/{hmac.new(secret, route.encode(), 'sha256').hexdigest()}"


def mend_path_secrets(
    stored: Mapping[str, str],
    *,
    now: datetime,
    lifetime: timedelta = SECRET_LIFETIME,
    settled: bool = False,
    known: PathSecrets | None = None,
) -> tuple[PathSecrets, str | None]:
    """Return the secrets that should stand in a Secret with this `data`, and why they differ (None: they do not).

    A secret that is missing or too old is replaced, and stays among the former ones until the new one has been
    registered and `settled`. `known` is what this replica answers to: where the Secret lost its secret, or somebody
    wrote another one, the known one becomes a former one.
    """
    now = now.replace(microsecond=0)
    former = _former(stored.get(FORMER_FIELD, ""))
    current = decoded(stored.get(PATH_SECRET_FIELD, ""))
    made = _time(decoded(stored.get(MADE_FIELD, "")), now)
    if len(current) < _SHORTEST_SECRET_BYTES:
        current = known.current if known is not None else b""
        why = f"{PATH_SECRET_FIELD}: missing, or shorter than {_SHORTEST_SECRET_BYTES} bytes"
        return _succeeding(current, (*former, *(known.former if known else ())), now), why
    if made is None:
        return PathSecrets(current, now, former), f"{MADE_FIELD}: no time of the past"
    if known is not None and made == known.made and known.current not in (current, *former):
        return PathSecrets(current, now, _fewest((known.current, *former))), f"{PATH_SECRET_FIELD}: was replaced"
    if former and settled:
        return PathSecrets(current, made), "no webhook is registered with a former path any more"
    if not former and now - made > lifetime:
        return _succeeding(current, (), now), f"{PATH_SECRET_FIELD}: made {made:%Y-%m-%d %H:%M}"
    return PathSecrets(current, made, former), None


def _succeeding(former: bytes, older: tuple[bytes, ...], now: datetime) -> PathSecrets:
    """Return a new secret that follows the ones given; `former` is empty where there was none."""
    kept = _fewest((*([former] if former else []), *older))
    return PathSecrets(secrets.token_hex(_SHORTEST_SECRET_BYTES).encode(), now, kept)


def _fewest(former: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(former))[:_MOST_FORMER]


def _former(value: str) -> tuple[bytes, ...]:
    found = (decoded(line.decode("latin-1")) for line in decoded(value).split(b"\n"))
    return _fewest(tuple(secret for secret in found if len(secret) >= _SHORTEST_SECRET_BYTES))


def _time(value: bytes, now: datetime) -> datetime | None:
    try:
        made = datetime.strptime(value.decode("ascii"), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return made if made <= now + _CLOCK_SKEW else None
