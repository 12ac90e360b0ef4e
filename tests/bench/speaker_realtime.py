"""How late a thread of the speaker wakes on a saturated machine, with real-time scheduling and without.

`python -m tests.bench.speaker_realtime`. Four processes a processor compute all the time; the speaker's thread wakes
every 10 ms beside another thread of the same process that computes half of the time, as its decisions do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from speaker.membership.service import SWITCH_SECONDS
from speaker.realtime import prefer_process, prefer_threads
from tests.bench.figures import Figure

BURNERS_A_PROCESSOR = 4
SECONDS = 10.0
MODES = {"neither": (False, False), "SCHED_RR alone": (False, True), "both": (True, True)}
_WAKE_SECONDS = 0.01
_MODULE = "tests.bench.speaker_realtime"


def late_milliseconds(*, nice: bool, real_time: bool) -> dict[str, float]:
    """Return the median, the 99th of a hundred and the worst of how late the thread woke, in this process."""
    sys.setswitchinterval(SWITCH_SECONDS)
    if nice:
        prefer_process()
    late: list[float] = []
    done = threading.Event()

    def wake() -> None:
        due = time.monotonic() + _WAKE_SECONDS
        while not done.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            now = time.monotonic()
            late.append(now - due)
            due = max(due, now) + _WAKE_SECONDS

    def compute() -> None:
        while not done.is_set():
            end, number = time.thread_time() + 0.02, 1
            while time.thread_time() < end:
                number = number * 31 % 1_000_003
            time.sleep(0.02)

    threads = [threading.Thread(target=wake, name="packets"), threading.Thread(target=compute, name="controller")]
    for thread in threads:
        thread.start()
    if real_time:
        prefer_threads()
    time.sleep(SECONDS)
    done.set()
    for thread in threads:
        thread.join()
    late.sort()
    found = {"p50": late[len(late) // 2], "p99": late[len(late) * 99 // 100], "worst": late[-1]}
    return {name: 1000 * seconds for name, seconds in found.items()}


def measure() -> Iterator[Figure]:
    """Measure each mode beside burners."""
    count = BURNERS_A_PROCESSOR * (os.cpu_count() or 1)
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        found = {mode: _in_a_process(mode) for mode in MODES}
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    for mode in MODES:
        if mode == "neither":
            continue
        yield Figure(
            section="speaker",
            what=f"lateness of the answering thread beside {count} burners with {mode}, 99 of 100",
            value=found[mode]["p99"],
            unit="ms",
            baseline="without, same run",
            baseline_value=found["neither"]["p99"],
            remark=f"worst {found[mode]['worst']:.0f} ms, without {found['neither']['worst']:.0f} ms",
        )


def _in_a_process(mode: str) -> dict[str, float]:
    command = [sys.executable, "-m", _MODULE, mode]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10 * SECONDS)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measure and print, or measure one mode in this process."""
    if len(sys.argv) > 1:
        nice, real_time = MODES[sys.argv[1]]
        print(json.dumps(late_milliseconds(nice=nice, real_time=real_time)))
        return
    for figure in measure():
        print(figure, flush=True)


if __name__ == "__main__":
    main()
