"""One event, one line, and nothing in it that a terminal or a reader of lines would take for more."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.process import logs
from allocator.process.logs import EventLog


@pytest.fixture(scope="module")
def written() -> Iterator[io.StringIO]:
    """What the process logs, in the format of its lines."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("info")
    stream = io.StringIO()
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize("as_json", [False, True])
def test_no_value_makes_a_line_as_long_as_a_request(written: io.StringIO, *, as_json: bool) -> None:
    handler = logging.getLogger().handlers[0]
    before = handler.formatter
    logs.configure("info", as_json=as_json)
    handler.setFormatter(logging.getLogger().handlers[0].formatter)
    logging.getLogger().handlers[:] = [handler]
    written.seek(0)
    written.truncate()
    EventLog("test").info("admission.denied", service="x" * 1_000_000, code=422)
    handler.setFormatter(before)
    line = written.getvalue()
    assert "422" in line
    assert 2000 < len(line) < 2500


@given(st.text(max_size=20))
def test_whatever_a_value_holds_it_is_one_printable_field_of_one_line(written: io.StringIO, value: str) -> None:
    written.seek(0)
    written.truncate()
    EventLog("test").info("admission.denied", service=value, code=422)
    line = written.getvalue()
    assert line.endswith(" code=422\n")
    assert line[:-1].isprintable()
    shown = line.partition(" service=")[2].removesuffix(" code=422\n")
    assert (json.loads(shown) if shown.startswith('"') else shown) == value
