"""What thousands of addresses on one node cost: taking them over at once, asking for them all, and one more of them.

Run it in the lab's namespaces: `python -m tests.lab.enter -- python -m tests.bench.speaker_many`. The announcing half
runs here, on a host of its own; CPU is that of this process and its kernel work, so that nothing else counts.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from allocator.core.addresses import Address
from speaker.cluster.scope import EVERYWHERE
from tests.bench.figures import Figure
from tests.lab.network import Host, Network
from tests.wire.speaking import Speaking

FEW, MANY = 100, 5000
TARGET_SECONDS = 2.0
_PATIENCE_SECONDS = 60.0
_STEP = 3
"""Between two addresses: neighbours would fit one range of the socket's filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds until all was answered and announced once, and CPU seconds meanwhile."""

    seconds: float
    cpu_seconds: float


def addresses(family: str, count: int) -> list[Address]:
    """Return scattered addresses of a family, IPv4 or IPv6."""
    first = Address.parse("198.18.0.0" if family == "IPv4" else "2001:db8:5::")
    return [Address(first.family, first.value + number * _STEP) for number in range(count)]


def take_over(host: Host, family: str, count: int) -> Cost:
    """Take addresses that another of our nodes announced until now."""
    with Speaking(host) as speaking:
        wanted = dict.fromkeys(addresses(family, count), EVERYWHERE)
        return _cost(host, speaking, lambda: speaking.announcer.announce(wanted), count)


def ask_for_all(host: Host, family: str, count: int) -> Cost:
    """Take addresses that nobody announced: the LAN is asked for each."""
    with Speaking(host) as speaking:
        wanted = dict.fromkeys(addresses(family, count), EVERYWHERE)
        announce = lambda: speaking.announcer.announce(wanted, unheld=frozenset(wanted))  # noqa: E731
        return _cost(host, speaking, announce, count)


def one_more(host: Host, family: str, count: int, *, times: int = 20) -> float:
    """Return the CPU seconds of one more address beside so many, on average."""
    with Speaking(host) as speaking, host.inside():
        every = addresses(family, count + times)
        wanted = dict.fromkeys(every[:count], EVERYWHERE)
        speaking.announcer.announce(wanted)
        time.sleep(6.0)
        begun = _cpu_seconds()
        for address in every[count:]:
            wanted = {**wanted, address: EVERYWHERE}
            speaking.announcer.announce(wanted)
        return (_cpu_seconds() - begun) / times


def measure() -> Iterator[Figure]:
    """Measure many beside few, of both families."""
    with Network() as network:
        host = network.host("many-node")
        host.plug(network.lan("many"), "eth0", ["192.0.2.1/24", "2001:db8::1/64"])
        for family in ("IPv4", "IPv6"):
            few, many = take_over(host, family, FEW), take_over(host, family, MANY)
            yield _figure(
                f"{MANY} {family} addresses taken over by one node: answered and announced", many, few, TARGET_SECONDS
            )
            few, many = ask_for_all(host, family, FEW), ask_for_all(host, family, MANY)
            yield _figure(f"{MANY} new {family} addresses: asked for and answered", many, few, None)
            yield Figure(
                section="speaker",
                what=f"one more {family} address beside {MANY}, CPU of announcing it",
                value=1000 * one_more(host, family, MANY),
                unit="ms",
                baseline=f"beside {FEW}, same run",
                baseline_value=1000 * one_more(host, family, FEW),
            )


def _figure(what: str, many: Cost, few: Cost, target: float | None) -> Figure:
    return Figure(
        section="speaker",
        what=what,
        value=many.seconds,
        unit="s",
        baseline=f"{FEW}, same run",
        baseline_value=few.seconds,
        target=target,
        remark=f"CPU {many.cpu_seconds:.2f} s, of {FEW} {few.cpu_seconds:.2f} s",
    )


def _cost(host: Host, speaking: Speaking, announce: Callable[[], None], count: int) -> Cost:
    with host.inside():
        cpu, begun = _cpu_seconds(), time.monotonic()
        announce()
        while len(speaking.announcer.answered()) < count or speaking.announcements("taken") < count:
            if time.monotonic() > begun + _PATIENCE_SECONDS:
                raise AssertionError(f"{len(speaking.announcer.answered())} of {count} are answered")
            time.sleep(0.02)
        return Cost(seconds=time.monotonic() - begun, cpu_seconds=_cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and print."""
    for figure in measure():
        print(figure, flush=True)


if __name__ == "__main__":
    main()
