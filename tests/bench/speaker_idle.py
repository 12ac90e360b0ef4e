"""What it costs a speaker to hear that nothing happens.

Run it in the lab's namespaces: `python -m tests.lab.enter -- python -m tests.bench.speaker_idle [PEERS]`.
One process runs a speaker's heartbeats, another those of its peers, each on a loopback address of its own.
"""

from __future__ import annotations

import multiprocessing
import resource
import secrets
import select
import socket
import sys
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event

from prometheus_client import CollectorRegistry

from speaker.membership.fence import clock
from speaker.membership.heartbeat import MAXIMUM_BYTES, Heartbeat, Phase
from speaker.membership.liveness import Liveness
from speaker.membership.membership import Membership
from speaker.membership.send_schedule import WANTED_SECONDS
from speaker.membership.service import Heartbeats
from speaker.metrics import SpeakerMetrics
from tests.bench.figures import Figure
from tests.lab.waiting import wait_until

_PORT = 17946
_KEY = b"bench"
_OWN = "node-0"


def cpu_percent_of_one_core(peers: int, *, seconds: float = 20.0) -> float:
    """Return the CPU time of one speaker's heartbeats, with all peers alive, in percent of one core."""
    nodes = {f"node-{number}": f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(peers + 1)}
    done = multiprocessing.Event()
    others = multiprocessing.Process(target=_be_the_others, args=(nodes, done), daemon=True)
    others.start()
    latest: list[Liveness] = []
    heartbeats = Heartbeats(
        node=_OWN, key=_KEY, port=_PORT, metrics=SpeakerMetrics(CollectorRegistry()), address=nodes[_OWN]
    )
    try:
        heartbeats.report_to(latest.append)
        heartbeats.start()
        heartbeats.set_peers({node: (address,) for node, address in nodes.items()})
        heartbeats.serve()
        wait_until(lambda: latest and len(latest[-1].alive) == peers + 1, 60, f"{peers} peers are alive")
        # Whoever began to watch this node while all of them joined asked for frequent heartbeats for a while.
        time.sleep(WANTED_SECONDS + 2)
        before, begun = _cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        return 100 * (_cpu_seconds() - before) / (time.monotonic() - begun)
    finally:
        heartbeats.stop()
        done.set()
        others.join(10)


def measure() -> Iterator[Figure]:
    """Measure with a hundred peers."""
    yield Figure(
        section="what a speaker costs",
        what="CPU of one speaker's heartbeats with 100 peers, all alive",
        value=cpu_percent_of_one_core(100),
        unit="% of a core",
        baseline="the budget of the whole speaker",
        baseline_value=1.0,
        target=1.0,
    )


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _be_the_others(nodes: dict[str, str], done: Event) -> None:
    poll = select.epoll()
    members: dict[int, tuple[socket.socket, Membership]] = {}
    for node, address in nodes.items():
        if node == _OWN:
            continue
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind((address, _PORT))
        membership = Membership(node=node, now=clock(), new_number=lambda: secrets.randbits(63) + 1)
        membership.set_peers(nodes, clock())
        # Among each other they are as good as dead: only what they do to the one that is measured counts.
        membership.enter(Phase.SERVING, clock())
        members[sock.fileno()] = (sock, membership)
        poll.register(sock.fileno(), select.EPOLLIN)
    while not done.is_set():
        for descriptor, _ in poll.poll(0.02):
            sock, membership = members[descriptor]
            while True:
                try:
                    datagram = sock.recv(MAXIMUM_BYTES)
                except BlockingIOError:
                    break
                membership.heard(Heartbeat.decode(datagram, _KEY), clock())
        now = clock()
        for sock, membership in members.values():
            membership.tick(now)
            for node, heartbeat in membership.outgoing(now):
                sock.sendto(heartbeat.encode(_KEY), (nodes[node], _PORT))


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print(f"{count} peers: {cpu_percent_of_one_core(count):.2f} % of one core")
