"""Ask a URL at a fixed rate, whatever happens to earlier requests: `python -m tests.lab.request_loop`.

Open loop: each request is a new connection with its own deadline, started on schedule however many still hang,
so one lost packet never hides what the next request would have met. Writes one JSON document on SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from pathlib import Path
from urllib.parse import urlsplit

Record = tuple[float, float, str | None]
"""When a request started and ended (CLOCK_MONOTONIC), and why it failed (None: HTTP 200)."""


class RequestLoop:
    """Runs on one event loop; `records` grows as requests end."""

    def __init__(self, url: str, *, rate_per_second: float, connect_seconds: float, read_seconds: float) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self._request = f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {shown}\r\n\r\n".encode()
        self._interval = 1 / rate_per_second
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self.records: list[Record] = []
        self.latest_start_seconds = 0.0

    async def run(self, stop: asyncio.Event, started: Path) -> None:
        """Send until `stop` is set, then wait for what is under way; touch `started` when the first is sent."""
        begun = time.monotonic()
        pending: set[asyncio.Task[None]] = set()
        number = 0
        while not stop.is_set():
            task = asyncio.create_task(self._ask())
            pending.add(task)
            task.add_done_callback(pending.discard)
            if number == 0:
                started.touch()
            number += 1
            due = begun + number * self._interval
            self.latest_start_seconds = max(self.latest_start_seconds, time.monotonic() - due)
            await _sleep_or_stop(stop, due - time.monotonic())
        if pending:
            await asyncio.wait(pending)

    async def _ask(self) -> None:
        started = time.monotonic()
        reason = await self._outcome()
        self.records.append((started, time.monotonic(), reason))

    async def _outcome(self) -> str | None:
        try:
            async with asyncio.timeout(self._connect_seconds):
                reader, writer = await asyncio.open_connection(self._host, self._port)
        except TimeoutError:
            return "connect timed out"
        except OSError as error:
            return f"connect: {error.strerror or error}"
        try:
            async with asyncio.timeout(self._read_seconds):
                writer.write(self._request)
                answer = await reader.read()
        except TimeoutError:
            return "read timed out"
        except OSError as error:
            return f"read: {error.strerror or error}"
        finally:
            writer.close()
        status_line = answer.split(b"\r\n", 1)[0]
        return None if b" 200 " in status_line else f"answered {status_line[:60]!r}"


async def _sleep_or_stop(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await stop.wait()
    except TimeoutError:
        return


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--connect-seconds", type=float, required=True)
    parser.add_argument("--read-seconds", type=float, required=True)
    parser.add_argument("--started", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    loop = RequestLoop(
        options.url,
        rate_per_second=options.rate,
        connect_seconds=options.connect_seconds,
        read_seconds=options.read_seconds,
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    begun = time.monotonic()
    running = asyncio.create_task(loop.run(stop, options.started))
    await stop.wait()
    ended = time.monotonic()
    await running
    report = {
        "begun": begun,
        "ended": ended,
        "latest_start_seconds": loop.latest_start_seconds,
        "records": loop.records,
    }
    options.report.write_text(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(_main())
