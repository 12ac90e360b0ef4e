"""Going before other programs of the node: the threads that must not be late, and the rest of the process."""

from __future__ import annotations

import os
import threading

from allocator.process.logs import EventLog

log = EventLog("realtime")

THREADS = ("heartbeats", "packets")
"""Who hears the other speakers, and who answers. Both sleep most of the time."""
NICE = -10
"""For all other threads: one of them may have the interpreter that those two wait for."""
_PRIORITY = 1
"""The lowest of the real-time ones: what the node's own real-time programs do comes first."""


def prefer_process() -> bool:
    """Have this thread, and all that it starts, go before most others; return whether the kernel allows it."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    except OSError as error:
        _refused(error)
        return False
    return True


def prefer_threads(names: tuple[str, ...] = THREADS) -> None:
    """Have the threads of these names go before all that is not real-time. What the kernel refuses is logged."""
    for thread in threading.enumerate():
        if thread.name in names and thread.native_id is not None:
            try:
                os.sched_setscheduler(thread.native_id, os.SCHED_RR, os.sched_param(_PRIORITY))
            except OSError as error:
                _refused(error)
                return
            log.info("realtime.thread", thread=thread.name, policy="SCHED_RR", priority=_PRIORITY)


def _refused(error: OSError) -> None:
    reason = "it needs the capability SYS_NICE (component realtime), and real-time processor time in its cgroup"
    log.error("realtime.refused", error=error, reason=reason)
