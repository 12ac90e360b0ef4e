"""Whoever logs waits for nobody: a full pipe, an end of the process, a crash, each with a real pipe."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from allocator.process.log_line import LogLine
from allocator.process.log_metrics import DroppedLines
from allocator.process.log_thread import FLUSH_SECONDS, LogThread

LIMIT = 100
MANY = 5000
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Pipe:
    """Both ends of a pipe that holds a page, and the log that writes to it."""

    reader: int
    thread: LogThread
    log: logging.Logger


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    thread = LogThread(writer, LogLine.text, limit=LIMIT)
    thread.start()
    log = logging.Logger("piped")
    log.addHandler(thread)
    yield Pipe(reader, thread, log)
    # The thread may wait for a reader: without one its write fails.
    os.close(reader)
    thread.flush()
    os.close(writer)


def read_lines(reader: int, last: str) -> list[str]:
    """Read until a line has `last` in it."""
    text = ""
    deadline = time.monotonic() + SECONDS
    while last not in text.rpartition("\n")[0]:
        assert time.monotonic() < deadline, f"{last!r} does not come; the latest is {text[-300:]!r}"
        text += os.read(reader, 65536).decode()
    return text.splitlines()


def numbers(lines: list[str]) -> list[int]:
    return [int(line.rpartition("event=")[2]) for line in lines if "logger=piped" in line]


def test_nobody_who_logs_waits_for_a_full_pipe(pipe: Pipe) -> None:
    done = threading.Event()

    def log_many() -> None:
        for number in range(MANY):
            pipe.log.info("%d", number)
        done.set()

    threading.Thread(target=log_many, daemon=True).start()
    assert done.wait(SECONDS), "logging waits for a reader"


def test_what_the_queue_has_no_room_for_is_counted_and_reported_where_it_is_missing(pipe: Pipe) -> None:
    for number in range(MANY):
        pipe.log.info("%d", number)
    (metric,) = DroppedLines(pipe.thread).collect()
    (sample,) = metric.samples
    assert sample.name == "admitlb_log_lines_dropped_total"
    assert sample.value == pipe.thread.dropped > MANY - 3 * LIMIT

    text = ""
    # Until there is room in the queue, one more line could be dropped as well.
    while "event=log.dropped" not in text or not pipe.thread._waiting.empty():
        text += os.read(pipe.reader, 65536).decode()
    pipe.log.info("%d", MANY)
    while f"event={MANY}\n" not in text:
        text += os.read(pipe.reader, 65536).decode()
    lines = text.splitlines()
    seen = numbers(lines)
    assert seen == sorted(seen), "in order"
    reports = [line for line in lines if "event=log.dropped" in line]
    told = sum(int(line.partition(" lines=")[2].split()[0]) for line in reports)
    assert told == pipe.thread.dropped == MANY + 1 - len(seen)


def test_a_flush_of_a_pipe_that_nobody_reads_ends(pipe: Pipe) -> None:
    for number in range(MANY):
        pipe.log.info("%d", number)
    begun = time.monotonic()
    pipe.thread.flush()
    assert FLUSH_SECONDS <= time.monotonic() - begun < FLUSH_SECONDS + SECONDS


def test_a_descriptor_that_somebody_made_non_blocking_gets_every_line(pipe: Pipe) -> None:
    os.set_blocking(pipe.thread._descriptor, False)
    sent = LIMIT // 2
    for number in range(sent):
        pipe.log.info("%d", number)
    assert numbers(read_lines(pipe.reader, f"event={sent - 1}")) == list(range(sent))


PROGRAM = """
import os, sys, threading
from allocator.process import logs
logs.configure("info")
thread = logs.write_in_background()
for number in range(3000):
    logs.EventLog("program").info("line", number=number)
"""


def run(*, ends: str) -> tuple[int, list[str]]:
    """Run a program that logs and ends so, its standard error being a pipe; return its code and lines."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + ends], capture_output=True, text=True, check=False, timeout=SECONDS
    )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("ends", "code"),
    [("", 0), ("sys.exit(3)", 3), ("logs.flush()\nos._exit(4)", 4), ("raise ValueError('broken')", 1)],
)
def test_what_was_logged_before_the_end_is_written_however_it_ends(ends: str, code: int) -> None:
    returned, lines = run(ends=ends)
    assert returned == code
    assert [line.rpartition("number=")[2] for line in lines[:3000]] == [str(number) for number in range(3000)]
    crash = [line for line in lines[3000:] if "event=process.failed" in line]
    assert len(crash) == len(lines) - 3000 == (1 if "raise" in ends else 0), "an exception is one line, too"
    assert all("ValueError: broken" in line for line in crash)


def test_an_exception_that_ends_a_thread_is_one_line_that_names_it() -> None:
    ends = "broken = threading.Thread(target=lambda: 1 / 0, name='part')\nbroken.start()\nbroken.join()"
    _, lines = run(ends=ends)
    (line,) = lines[3000:]
    assert "level=error" in line
    assert "event=thread.failed thread=part" in line
    assert "ZeroDivisionError" in line


@pytest.mark.parametrize("ends", ["", "raise ValueError('broken')", "sys.exit(0)"])
def test_a_process_whose_log_nobody_reads_ends_all_the_same(ends: str) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    try:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM + ends], stderr=writer)
        try:
            assert process.wait(SECONDS) == (1 if "raise" in ends else 0)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(reader)
        os.close(writer)
