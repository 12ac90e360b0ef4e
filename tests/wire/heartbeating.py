"""`python -m tests.wire.heartbeating NODE KEY BURNERS NODE=ADDRESS[,ADDRESS]...`: a speaker of heartbeats alone.

So many threads of it compute all the time, as one that decides about very many addresses would. It writes a line
`{"at": CLOCK_MONOTONIC, "alive": [...], "shaken": bool, "fenced": bool}` for every report, and leaves on SIGTERM.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time

from prometheus_client import CollectorRegistry

from speaker.membership.liveness import Liveness
from speaker.membership.service import SWITCH_SECONDS, Heartbeats
from speaker.metrics import SpeakerMetrics
from speaker.netdev import filters

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


def _burn() -> None:
    number = 0
    while True:
        number = (number * 31 + 7) % 1_000_003


def main(node: str, key: str, burners: str, *peers: str) -> None:
    """Exchange heartbeats until SIGTERM."""
    sys.setswitchinterval(SWITCH_SECONDS)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    heartbeats = Heartbeats(
        node=node, key=key.encode(), port=PORT, metrics=SpeakerMetrics(CollectorRegistry()), restrict=filters.restrict
    )
    heartbeats.report_to(_report, on_port_held=lambda port, error: print(f"{port} is held: {error}", flush=True))
    heartbeats.start()
    addresses = (peer.split("=") for peer in peers)
    heartbeats.set_peers({name: known.split(",") for name, known in addresses})
    heartbeats.serve()
    for _ in range(int(burners)):
        threading.Thread(target=_burn, daemon=True).start()
    signal.sigwait({signal.SIGTERM})
    heartbeats.leave()
    heartbeats.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
