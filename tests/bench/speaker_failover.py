"""What a client notices when announcing moves: each function makes it happen once and returns what was seen.

By itself, `python -m tests.lab.enter -- python -m tests.bench.speaker_failover [RUNS]` measures everything and
prints a table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from rich.console import Console

from allocator.names import DEFAULT_NAMESPACE
from tests.bench.figures import Figure, Report
from tests.bench.speaker_site import SpeakerSite, speaker_site
from tests.lab.lab import Lab
from tests.lab.outage import Report as Outage
from tests.lab.workloads import DAEMON_SETS

ROLLOUT_RATE = 200.0
_METALLB = "MetalLB 0.16.1, same lab"


def node_killed(site: SpeakerSite) -> float:
    """Kill the announcing node; return the longest time without an answered request, in milliseconds."""
    announcer = site.announcer()
    with site.outage() as meter:
        site.let_it_run(0.5)
        announcer.kill()
        site.announcer(other_than=announcer)
        site.serves()
        site.let_it_run(0.5)
    announcer.revive()
    site.steady()
    return _gap(meter.report)


def node_killed_without_api(site: SpeakerSite) -> float:
    """The same while the API server is down."""
    announcer = site.announcer()
    site.lab.control_plane.pause_api()
    try:
        with site.outage() as meter:
            site.let_it_run(0.5)
            announcer.kill()
            site.announcer(other_than=announcer)
            site.serves()
            site.let_it_run(0.5)
    finally:
        site.lab.control_plane.resume_api()
    announcer.revive()
    site.steady()
    return _gap(meter.report)


def carrier_lost(site: SpeakerSite) -> float:
    """Pull the cable of the announcing interface, the node's other one stays; return the gap in milliseconds."""
    announcer = site.announcer()
    with site.outage() as meter:
        site.let_it_run(0.5)
        announcer.link("eth0").down()
        site.announcer(other_than=announcer)
        site.serves()
        site.let_it_run(0.5)
    announcer.link("eth0").up()
    site.steady()
    return _gap(meter.report)


def partition_healed(site: SpeakerSite) -> float:
    """Cut the announcing node off and heal the cut; return the milliseconds from then until one node answers again.

    The fault lies beyond the node's own cable: its interface keeps its carrier, so it goes on announcing.
    """
    announcer = site.announcer()
    site.isolate(announcer)
    try:
        site.announcer(other_than=announcer)
    finally:
        healed_at = site.rejoin(announcer)
    return site.milliseconds_until_single(healed_at)


def rollout(site: SpeakerSite) -> Outage:
    """Restart all speakers one after another under 200 requests a second; return what the requests met.

    A busy machine loses a SYN now and then with nothing going on, and a client sends the next a second later.
    """
    with site.outage(rate_per_second=ROLLOUT_RATE, patience_seconds=5.0) as meter:
        site.let_it_run(0.5)
        site.lab.kubectl("rollout", "restart", "daemonset/speaker", "-n", DEFAULT_NAMESPACE)
        site.lab.wait_rolled_out(DAEMON_SETS, "speaker", timeout_seconds=90)
        site.let_it_run(0.5)
    site.steady()
    return meter.report


def _gap(outage: Outage) -> float:
    if outage.longest_gap.ended >= outage.ended:
        raise AssertionError(f"requests were not answered again: {outage.summary()}")
    return outage.longest_gap_ms


_GAPS: tuple[tuple[str, Callable[[SpeakerSite], float], float, float | None], ...] = (
    ("node killed", node_killed, 1000.0, 7977.0),
    ("node killed while the API server is down", node_killed_without_api, 1200.0, None),
    ("announcing interface loses carrier", carrier_lost, 300.0, None),
    ("partition healed, until one announces", partition_healed, 600.0, None),
)


def measure(runs: int = 5) -> Iterator[Figure]:
    """Yield every figure, medians and worsts of `runs` runs each."""
    with Lab(nodes=3, clients=1) as lab, speaker_site(lab) as site:
        for what, happen, worst, baseline in _GAPS:
            gaps = [happen(site) for _ in range(runs)]
            for name, value, target in (("median", median(gaps), None), ("worst", max(gaps), worst)):
                yield Figure(
                    section="takeover, as a client sees it",
                    what=f"{what}: {name} of {runs}",
                    value=value,
                    unit="ms",
                    baseline=_METALLB if baseline else "",
                    baseline_value=baseline or 0.0,
                    target=target,
                )
        outages = [rollout(site) for _ in range(runs)]
        yield Figure(
            section="takeover, as a client sees it",
            what=f"requests failed in {runs} rollouts of all speakers",
            value=float(sum(len(outage.failures) for outage in outages)),
            unit="requests",
            baseline="of requests made",
            baseline_value=float(sum(outage.requests for outage in outages)),
            target=0.0,
            remark="; ".join(outage.summary() for outage in outages if outage.failures),
        )


if __name__ == "__main__":
    with Report.to(Path("bench-speaker.jsonl")) as report:
        for figure in measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
            report.add(figure)
    report.show(Console(width=160))
