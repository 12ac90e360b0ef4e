"""Structured logs: one event, one line, `key=value`; every state change of an address can be grepped by it."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_LEVELS = {
    "all": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "none": logging.CRITICAL + 1,
}
_VALUE_CHARACTERS = 2000
LEVEL_NAMES = tuple(_LEVELS)
"""What `--log-level` takes: MetalLB's own names."""


def configure(level: str = "info", *, as_json: bool = False) -> None:
    """Send every log line of the process to standard error in one format, at `level` and above."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if as_json else _KeyValueFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    # The transport logs each retried connection; our own line says what it means for us.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


class EventLog:
    """A named log whose lines are events with fields: `log.info("address.bound", ip="192.0.2.1")`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, /, **fields: object) -> None:
        """An event only someone hunting a defect wants to see."""
        self._emit(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """A change of state; an idle cluster emits none."""
        self._emit(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Something that heals by itself or by the user's next change, but should be seen."""
        self._emit(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Something that will not heal without a person."""
        self._emit(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: object) -> None:
        """An unexpected exception, with its trace."""
        self._logger.error(event, extra={"fields": fields}, exc_info=True)

    def _emit(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields})


def _record_fields(record: logging.LogRecord) -> dict[str, Any]:
    stamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields: dict[str, Any] = {"ts": stamp.replace("+00:00", "Z"), "level": record.levelname.lower()}
    fields["logger"] = record.name
    fields["event"] = record.getMessage()
    fields.update({key: _cut(value) for key, value in getattr(record, "fields", {}).items() if value is not None})
    return fields


def _cut(value: object) -> object:
    """A name under admission is not validated yet and may be as long as a request."""
    text = str(value)
    return value if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}…"


class _KeyValueFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = " ".join(f"{key}={_quoted(value)}" for key, value in _record_fields(record).items())
        return f"{line} {_quoted(self.formatException(record.exc_info))}" if record.exc_info else line


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = _record_fields(record)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def _quoted(value: object) -> str:
    text = str(value)
    # A name under admission is not validated yet: what a terminal would act on is escaped.
    plain = text != "" and text.isprintable() and not any(character in text for character in ' "=')
    return text if plain else json.dumps(text)
