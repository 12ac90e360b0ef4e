"""Whether junk on the heartbeats' port keeps a speaker from noticing that another one died.

Run it in the lab's namespaces: `python -m tests.lab.enter -- python -m tests.bench.speaker_junk`. Three speakers of
heartbeats alone on one LAN; the junk comes from a Pod's network behind one of them, or from a host on the LAN itself.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speaker.membership.datagrams import Datagrams, socket_address
from tests.bench.figures import Figure
from tests.lab.network import Host, Network
from tests.wire.heartbeating import PORT
from tests.wire.test_membership import EVERYONE, Member

PER_SECOND = 100_000
_JUNK_BYTES = 300
_BATCH = 256
_SETTLE_SECONDS = 2.0
_MODULE = "tests.bench.speaker_junk"


def flood(target: str, per_second: int) -> None:
    """Send junk until killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        datagrams = Datagrams(sock, longest_bytes=_JUNK_BYTES)
        batch = [(socket_address(target, PORT, socket.AF_INET), bytes(_JUNK_BYTES))] * _BATCH
        begun, sent = time.monotonic(), 0
        while True:
            datagrams.send(batch)
            sent += len(batch)
            time.sleep(max(0.0, begun + sent / per_second - time.monotonic()))


class Site:
    """Three speakers, a Pod behind the first of them, and a stranger on the LAN."""

    def __init__(self, network: Network, folder: Path) -> None:
        self._folder = folder
        lan, pods = network.lan("junk"), network.lan("pods")
        self.addresses = {f"node-{number}": f"192.0.2.{number}" for number in (1, 2, 3)}
        self.hosts = {name: network.host(f"junk-{name}", router=True) for name in self.addresses}
        for name, address in self.addresses.items():
            self.hosts[name].plug(lan, "eth0", [f"{address}/24"])
        self.hosts["node-1"].plug(pods, "cni0", ["10.244.1.1/24"])
        self.pod, self.stranger = network.host("junk-pod"), network.host("junk-stranger")
        self.pod.plug(pods, "eth0", ["10.244.1.2/24"])
        self.pod.run_ip("route add default via 10.244.1.1")
        self.stranger.plug(lan, "eth0", ["192.0.2.9/24"])

    @contextmanager
    def junk(self, source: Host | None) -> Iterator[None]:
        """Flood the first node while the block runs."""
        if source is None:
            yield
            return
        target = self.addresses["node-1"]
        with subprocess.Popen(source.argv(sys.executable, "-m", _MODULE, target, str(PER_SECOND))) as flooding:
            try:
                time.sleep(_SETTLE_SECONDS)
                yield
            finally:
                flooding.kill()

    def detection(self, source: Host | None) -> tuple[float, float, int]:
        """Kill a speaker under junk; return seconds until the first noticed, junk a second, and false alarms."""
        members = {name: Member(name, self.hosts[name], self._folder, self.addresses) for name in self.addresses}
        first = members["node-1"]
        try:
            for member in members.values():
                member.sees(*EVERYONE)
            reports = len(first.reports())
            with self.junk(source):
                before, begun = _arrived(self.hosts["node-1"]), time.monotonic()
                time.sleep(2 * _SETTLE_SECONDS)
                rate = (_arrived(self.hosts["node-1"]) - before) / (time.monotonic() - begun)
                alarms = sum(report["alive"] != EVERYONE for report in first.reports()[reports:])
                killed = time.monotonic()
                members["node-2"].process.sigkill()
                noticed = float(first.sees("node-1", "node-3", timeout_seconds=30)["at"])
            return noticed - killed, rate, alarms
        finally:
            for member in members.values():
                member.process.sigkill()


def _arrived(host: Host) -> int:
    """How many UDP datagrams the host's kernel has received, for whomever and whether kept or not."""
    lines = host.run("cat", "/proc/net/snmp").stdout.splitlines()
    names, values = (line.split() for line in lines if line.startswith("Udp:"))
    counters = dict(zip(names, values, strict=True))
    return int(counters["InDatagrams"]) + int(counters["InErrors"]) + int(counters["NoPorts"])


def measure() -> Iterator[Figure]:
    """Measure without junk, with junk from a Pod, and with junk from the nodes' own LAN."""
    with Network() as network, tempfile.TemporaryDirectory() as folder:
        site = Site(network, Path(folder))
        quiet, _, _ = site.detection(None)
        for what, source in (("a Pod's address", site.pod), ("the nodes' own LAN", site.stranger)):
            seconds, rate, alarms = site.detection(source)
            yield Figure(
                section="speaker",
                what=f"death of a speaker noticed under junk on its port from {what}",
                value=1000 * seconds,
                unit="ms",
                baseline="without junk, same run",
                baseline_value=1000 * quiet,
                target=750.0 if source is site.pod else None,
                remark=f"{rate:.0f} datagrams a second arrived, {alarms} false alarms",
            )


def main() -> None:
    """Measure and print, or flood the address given."""
    if len(sys.argv) > 1:
        flood(sys.argv[1], int(sys.argv[2]))
        return
    for figure in measure():
        print(figure, flush=True)


if __name__ == "__main__":
    main()
