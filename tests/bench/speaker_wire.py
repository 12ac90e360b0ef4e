"""What answering costs: the time to an ARP or NDP answer, and the CPU that traffic for others takes.

Run it inside the lab's namespaces: `python -m tests.lab.enter -- python -m tests.bench.speaker_wire`. The speaker's
real parts run here, on a node of their own; whoever asks or floods is another process, on another host, so that only
the speaker's own CPU time is counted.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.bench.figures import Figure
from tests.lab.network import Host, Network
from tests.wire.speaking import Speaking

VIP4, VIP6 = "192.0.2.100", "2001:db8::100"
_ASKER = "tests.bench.speaker_wire_traffic"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTimes:
    """From sending a question to having its answer, in microseconds, as a Python program on a veth sees it.

    `floor_us` is the median where a program answers that does nothing but turn each question round.
    """

    protocol: str
    floor_us: float
    questions: int
    p50_us: float
    p95_us: float
    p99_us: float
    worst_us: float
    unanswered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU time of the speaker's process in percent of one core, while that many frames a second reached its node."""

    frames_per_second: float
    seconds: float
    cpu_percent: float
    frames_woken_for: int


def measure_answer_times(*, questions: int = 5000) -> list[AnswerTimes]:
    """Ask one question after the other, by ARP and by NDP; one VIP, nothing else going on."""
    found = []
    floors = {protocol: _floor_us(protocol, vip, questions) for protocol, vip in (("arp", VIP4), ("ndp", VIP6))}
    with Network() as network, Speaking(_host(network, "node", 1)) as speaking:
        asker = _host(network, "asker", 2)
        speaking.announce(VIP4, VIP6)
        _let_the_burst_end()
        for protocol, vip in (("arp", VIP4), ("ndp", VIP6)):
            told = _ask(asker, vip, questions)
            times = sorted(told["microseconds"])
            cuts = statistics.quantiles(times, n=100)
            found.append(
                AnswerTimes(
                    protocol=protocol,
                    floor_us=floors[protocol],
                    questions=questions,
                    p50_us=cuts[49],
                    p95_us=cuts[94],
                    p99_us=cuts[98],
                    worst_us=times[-1],
                    unanswered=told["unanswered"],
                )
            )
    return found


def _floor_us(protocol: str, vip: str, questions: int) -> float:
    with Network() as network:
        node, asker = _host(network, "node", 1), _host(network, "asker", 2)
        argv = node.argv(sys.executable, "-m", _ASKER, "turn-round", protocol)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as turning:
            try:
                assert turning.stdout is not None
                turning.stdout.readline()
                return float(statistics.median(_ask(asker, vip, questions)["microseconds"]))
            finally:
                turning.kill()


def _ask(asker: Host, vip: str, questions: int) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(asker.run(sys.executable, "-m", _ASKER, "ask", vip, str(questions)).stdout)
    return told


def measure_idle(*, seconds: float = 5.0, addresses: int = 100) -> Cost:
    """Announce addresses, let their bursts end, and see what doing nothing costs."""
    with Network() as network, Speaking(_host(network, "node", 1), refresh_seconds=60) as speaking:
        speaking.announce(*(f"198.18.0.{index}" for index in range(addresses)))
        _let_the_burst_end()
        return _cost(speaking, seconds)


def measure_flood(*, frames_per_second: int = 50_000, seconds: float = 5.0, addresses: int = 100) -> Cost:
    """Send broadcast ARP requests for other addresses, and see what the speaker has of them."""
    with Network() as network, Speaking(_host(network, "node", 1), refresh_seconds=60) as speaking:
        flooder = _host(network, "flooder", 2)
        speaking.announce(*(f"198.18.0.{2 * index}" for index in range(addresses)), VIP6)
        _let_the_burst_end()
        argv = flooder.argv(sys.executable, "-m", _ASKER, "flood", str(frames_per_second), str(seconds + 2))
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as flood:
            assert flood.stdout is not None
            flood.stdout.readline()
            before = _frames_arrived(speaking.host)
            cost = _cost(speaking, seconds)
            arrived = _frames_arrived(speaking.host) - before
            flood.communicate()
        return replace(cost, frames_per_second=arrived / cost.seconds)


def _host(network: Network, name: str, number: int) -> Host:
    lan = network.lans.get("bench") or network.lan("bench")
    host = network.host(f"bench-{name}")
    host.plug(lan, "eth0", [f"192.0.2.{number}/24", f"2001:db8::{number}/64"])
    return host


def _frames_arrived(host: Host) -> int:
    statistics_of = host.ip_json("-statistics", "link", "show", "dev", "eth0")[0]["stats64"]
    return int(statistics_of["rx"]["packets"])


def _let_the_burst_end() -> None:
    threading.Event().wait(5.5)


def _cost(speaking: Speaking, seconds: float) -> Cost:
    woken, cpu, wall = speaking.frames_received(), time.process_time(), time.monotonic()
    threading.Event().wait(seconds)
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    return Cost(
        frames_per_second=0.0,
        seconds=wall,
        cpu_percent=100 * cpu / wall,
        frames_woken_for=speaking.frames_received() - woken,
    )


def measure() -> Iterator[Figure]:
    """Measure everything."""
    for times in measure_answer_times():
        yield Figure(
            section="speaker",
            what=f"time to an answer on a veth by {times.protocol.upper()}, p50",
            value=times.p50_us,
            unit="us",
            baseline="a program that only turns the question round, same run",
            baseline_value=times.floor_us,
            target=50.0,
            remark=f"p95 {times.p95_us:.0f}, p99 {times.p99_us:.0f}; {times.unanswered} unanswered",
        )
    idle = measure_idle()
    yield _cpu("CPU of the packet half with 100 addresses, idle", idle)
    flood = measure_flood()
    yield _cpu(f"the same during {flood.frames_per_second:.0f} foreign broadcasts a second", flood)


def _cpu(what: str, cost: Cost) -> Figure:
    return Figure(
        section="speaker",
        what=what,
        value=cost.cpu_percent,
        unit="% of a core",
        baseline="the budget of the whole speaker",
        baseline_value=1.0,
        target=1.0,
        remark=f"woken for {cost.frames_woken_for} frames in {cost.seconds:.0f} s",
    )


def main() -> None:
    """Measure and print."""
    for figure in measure():
        print(figure)


if __name__ == "__main__":
    main()
