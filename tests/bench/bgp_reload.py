"""What the changes of `bgp_wire.py` take MetalLB's way, on the same daemons: its debounce, frr-reload.py, its lists.

A reload takes ever longer for ever longer lists, so that there are fewer prefixes here: what ours takes for 10,000 is
compared with what MetalLB's takes for these.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from tests.bench.metallb_frr import DEBOUNCE_SECONDS, MetalLbFrr, MetalLbSession, find_reload, frr_conf
from tests.frr.driver.bed import BIRD_ADDRESS, NODE_ASN, ROUTER_ADDRESS, ROUTER_ASN, Bed
from tests.lab.route_monitor import RouteMonitor
from tests.lab.waiting import wait_until

MANY = 10_000
_PREFIXES = {"8.4": 300, "10.3": 2_000}
_SECONDS = 300.0

Baseline = tuple[str, float]
"""What it is, in words, and milliseconds."""


@dataclass(slots=True)
class Reloads:
    """One run of each; empty where frr-reload.py could not be fetched."""

    prefixes: int = 0
    fill: Baseline = ("", 0.0)
    one_more: Baseline = ("", 0.0)
    attributes: Baseline = ("", 0.0)
    memory: float = 0.0


def measure(release: str, site: Bed, folder: Path) -> Reloads:
    """Run each once; the node's FRR has MetalLB's configuration afterwards."""
    root = find_reload(release)
    if root is None:
        return Reloads()
    count = _PREFIXES[release]
    sessions = [
        MetalLbSession(address=address, own_asn=NODE_ASN, peer_asn=ROUTER_ASN, router_id="10.0.1.1")
        for address in (BIRD_ADDRESS, ROUTER_ADDRESS)
    ]
    metallb = MetalLbFrr(root, site.frr, netns=site.node.name, folder=folder)
    many = [f"{ip_address('10.128.0.0') + 2 * number}/32" for number in range(count)]
    # In the order of texts, which MetalLB sorts.
    first = "10.127.0.1/32"
    found = Reloads(prefixes=count)
    metallb.reload(frr_conf(sessions, ["10.200.0.1/32"]))
    _wait_for_routes(site, 1)

    def timed(what: str, wanted: list[str], community: str = "", marked: int = 0) -> Baseline:
        with RouteMonitor(site.bird_host) as monitor:
            started = time.monotonic()
            metallb.change(frr_conf(sessions, wanted, community=community))
            if community:
                wait_until(lambda: _marked(site) == marked, _SECONDS, "all are marked")
            _wait_for_routes(site, len(wanted))
            latest = max((change.at for change in monitor.changes), default=0.0)
            ended = time.monotonic() if community else max(latest, started)
            others = {change.prefix for change in monitor.changes if not change.added}
        remark = f", {len(others):,} other routes withdrawn meanwhile" if others else ""
        return f"{DEBOUNCE_SECONDS:.0f} s debounce and frr-reload.py, {what}{remark}", 1000 * (ended - started)

    found.fill = timed(f"{count:,} prefixes, one run", many)
    found.memory = sum(
        int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4 / 1024
        for process in site.frr.processes.values()
    )
    found.one_more = timed(f"one that sorts first onto {count:,}, one run", [first, *many])
    found.attributes = timed(f"{count:,} prefixes, one run", [first, *many], "64500:7", count + 1)
    return found


def _marked(site: Bed) -> int:
    answer = site.bird.ask("show route table master4 where (64500,7) ~ bgp_community count")
    return int(answer.split(" of ")[0].split()[-1].rpartition("-")[2])


def _wait_for_routes(site: Bed, count: int) -> None:
    wait_until(lambda: site.bird.route_count() == count, _SECONDS, f"BIRD has {count} routes", interval_seconds=0.1)
