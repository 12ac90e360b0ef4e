"""One line of the log as a value, and its two forms: `key=value` and JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

_VALUE_CHARACTERS = 2000
_TRACE_CHARACTERS = 20_000
_TRACES = logging.Formatter()
_PLAIN = (int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """An event with its fields; `at` is in seconds since 1970, `trace` that of an exception.

    It holds numbers and text only: it may wait to be written, and what is logged may change meanwhile.
    """

    at: float
    level: str
    logger: str
    event: str
    fields: Mapping[str, object]
    trace: str | None = None

    @classmethod
    def of(cls, record: logging.LogRecord) -> Self:
        """Take all of a record that is written; a field that is None is left out."""
        fields = getattr(record, "fields", {})
        return cls(
            at=record.created,
            level=record.levelname.lower(),
            logger=record.name,
            event=_cut(record.getMessage(), _VALUE_CHARACTERS),
            fields={key: _value(value) for key, value in fields.items() if value is not None},
            trace=_cut(_TRACES.formatException(record.exc_info), _TRACE_CHARACTERS) if record.exc_info else None,
        )

    def text(self) -> str:
        """Return it as `key=value` pairs, without the end of line."""
        pairs = " ".join(f"{key}={_quoted(str(value))}" for key, value in self._all().items())
        return pairs if self.trace is None else f"{pairs} {_quoted(self.trace)}"

    def json(self) -> str:
        """Return it as one JSON object, without the end of line."""
        trace = {} if self.trace is None else {"exception": self.trace}
        return json.dumps({**self._all(), **trace})

    def _all(self) -> dict[str, object]:
        stamp = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"ts": stamp, "level": self.level, "logger": self.logger, "event": self.event, **self.fields}


def _value(value: object) -> object:
    return value if type(value) in _PLAIN else _cut(str(value), _VALUE_CHARACTERS)


def _cut(text: str, characters: int) -> str:
    """A name under admission is not validated yet and may be as long as a request."""
    return text if len(text) <= characters else f"{text[:characters]}…"


def _quoted(text: str) -> str:
    # A name under admission is not validated yet: what a terminal would act on is escaped.
    plain = text != "" and text.isprintable() and not any(character in text for character in ' "=')
    return text if plain else json.dumps(text)
