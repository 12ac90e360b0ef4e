"""`python -m tests.wire.heartbeating NODE KEY NODE=ADDRESS[,ADDRESS]...`: a speaker reduced to its heartbeats.

Writes a line `{"at": CLOCK_MONOTONIC, "alive": [...], "shaken": bool, "fenced": bool}` for every report, and leaves
on SIGTERM.
"""

from __future__ import annotations

import json
import signal
import sys
import time

from prometheus_client import CollectorRegistry

from speaker.membership.liveness import Liveness
from speaker.membership.service import Heartbeats
from speaker.metrics import SpeakerMetrics

PORT = 7946


def _report(liveness: Liveness) -> None:
    line = {
        "at": time.monotonic(),
        "alive": sorted(liveness.alive),
        "shaken": liveness.shaken,
        "fenced": liveness.fenced,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(node: str, key: str, *peers: str) -> None:
    """Exchange heartbeats until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    heartbeats = Heartbeats(node=node, key=key.encode(), port=PORT, metrics=SpeakerMetrics(CollectorRegistry()))
    heartbeats.report_to(_report)
    heartbeats.start()
    addresses = (peer.split("=") for peer in peers)
    heartbeats.set_peers({name: known.split(",") for name, known in addresses})
    heartbeats.serve()
    signal.sigwait({signal.SIGTERM})
    heartbeats.leave()
    heartbeats.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
