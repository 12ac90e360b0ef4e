"""One event, one line, and nothing in it that a terminal or a reader of lines would take for more."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.process.log_line import LogLine
from allocator.process.logs import EventLog


def written(event: str, **fields: object) -> LogLine:
    """Log an event, and return the line it comes to."""
    lines: list[LogLine] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(LogLine.of(record))

    logger, keep = logging.getLogger("test"), Keep()
    logger.addHandler(keep)
    logger.setLevel(logging.INFO)
    try:
        EventLog("test").info(event, **fields)
    finally:
        logger.removeHandler(keep)
    (line,) = lines
    return line


@pytest.mark.parametrize("render", [LogLine.text, LogLine.json])
def test_no_value_makes_a_line_as_long_as_a_request(render: Callable[[LogLine], str]) -> None:
    line = written("admission.denied", service="x" * 1_000_000, code=422)
    rendered = render(line)
    assert "422" in rendered
    assert 2000 < len(rendered) < 2500
    assert len(str(line.fields["service"])) < 2500, "a line that waits holds no more than it writes"


def test_what_changes_after_it_was_logged_is_written_as_it_was() -> None:
    nodes = ["node-1"]
    line = written("peers", nodes=nodes)
    nodes.append("node-2")
    assert line.text().endswith(" event=peers nodes=['node-1']")


@given(st.text(max_size=20))
def test_whatever_a_value_holds_it_is_one_printable_field_of_one_line(value: str) -> None:
    line = written("admission.denied", service=value, code=422).text()
    assert line.endswith(" code=422")
    assert line.isprintable()
    shown = line.partition(" service=")[2].removesuffix(" code=422")
    assert (json.loads(shown) if shown.startswith('"') else shown) == value
